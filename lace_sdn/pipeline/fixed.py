"""The flows that every bridge has: conntrack, gates, the ARP responder, the ways between the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Action, Ct, Goto, InPort, Move, OutputTo, Resubmit, SetField
from lace_sdn.openflow.fields import ARP_OP, ARP_SHA, ARP_SPA, ARP_THA, ARP_TPA, ETH_DST, ETH_SRC
from lace_sdn.openflow.match import Match, ct_state, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import GATEWAY_ETHER, GATEWAY_IPV4, Priority
from lace_sdn.pipeline.cookies import Category, cookie
from lace_sdn.pipeline.packet import ARP, FAMILIES
from lace_sdn.pipeline.registers import (
    ADMITTED,
    DESTINATION_NETWORK,
    DESTINATION_TYPE,
    DESTINATION_ZONE,
    INITIATOR,
    INITIATOR_CLASS,
    LOOKUP,
    OUTPUT_PORT,
    PERMITTED,
    RESPONDER,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    SOURCE_ZONE,
    DestinationType,
    SourceType,
)
from lace_sdn.pipeline.relation_rows import ask_permit
from lace_sdn.pipeline.unit import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.openflow.flow import Flow
    from lace_sdn.pipeline.registers import RegField

ARP_REQUEST, ARP_REPLY = 1, 2

OWNER = Owner(cookie(Category.PIPELINE), "pipeline")

ADMIT = (ADMITTED.set(1), SOURCE_NETWORK.copy_to(INITIATOR), DESTINATION_NETWORK.copy_to(RESPONDER))
"""What a commit writes: the connection is admitted, and who started it to whom (ovs-actions(7), exec)."""

NEW, INVALID = ct_state("+new+trk"), ct_state("+inv+trk")
ORIGINAL, REPLY, TRACKED = ct_state("-rpl+trk"), ct_state("+rpl+trk"), ct_state("+trk")
IS_ADMITTED = ADMITTED.equals(1)


@dataclass(frozen=True, slots=True)
class Fixed:
    """No input: the same on every node."""

    def flows(self) -> Iterator[Flow]:
        yield _arp_responder()
        yield from _source_half()
        yield from _destination_half()
        yield from _subroutines()


def _arp_responder() -> Flow:
    """Requests for the gateway are turned round; pods have a permanent entry too and need not ask."""
    return OWNER.flow(
        tables.ARP_RESPONDER,
        Priority.LOW,
        Match(ARP, term(ARP_OP, ARP_REQUEST), term(ARP_TPA, int(GATEWAY_IPV4))),
        Move(ETH_SRC.whole, ETH_DST.whole),
        SetField(ETH_SRC, GATEWAY_ETHER),
        SetField(ARP_OP, ARP_REPLY),
        Move(ARP_SHA.whole, ARP_THA.whole),
        SetField(ARP_SHA, GATEWAY_ETHER),
        Move(ARP_SPA.whole, ARP_TPA.whole),
        SetField(ARP_SPA, int(GATEWAY_IPV4)),
        InPort(),
    )


def _source_half() -> Iterator[Flow]:
    for ip in FAMILIES:
        yield _track(tables.SOURCE_CONNTRACK, Match(ip), SOURCE_ZONE, tables.SOURCE_STATE)
    yield OWNER.flow(tables.SOURCE_STATE, Priority.DROP, Match(INVALID))
    for direction, other_end in ((ORIGINAL, RESPONDER), (REPLY, INITIATOR)):
        yield OWNER.flow(
            tables.SOURCE_STATE,
            Priority.ESTABLISHED,
            Match(direction, IS_ADMITTED),
            other_end.copy_to(DESTINATION_NETWORK),
            Resubmit(tables.PERMIT_ESTABLISHED.number),
            Goto(tables.SOURCE_GATE.number),
        )
    yield OWNER.flow(
        tables.SOURCE_STATE,
        Priority.NEW,
        Match(NEW),
        SOURCE_NETWORK.copy_to(LOOKUP),
        Resubmit(tables.POLICY_CLASS.number),
        Goto(tables.DESTINATION_NETWORK.number),
    )
    yield _gate(tables.SOURCE_GATE, tables.ROUTE)
    yield OWNER.flow(
        tables.SOURCE_COMMIT,
        Priority.NORMAL,
        Match(SOURCE_TYPE.equals(SourceType.TUNNEL)),
        Goto(tables.DISPATCH.number),
    )
    yield from _commit(tables.SOURCE_COMMIT, SOURCE_ZONE, tables.DISPATCH)
    for ip in FAMILIES:
        yield _track(
            tables.DISPATCH,
            Match(ip, DESTINATION_TYPE.equals(DestinationType.LOCAL)),
            DESTINATION_ZONE,
            tables.DESTINATION_STATE,
            PERMITTED.set(0),
        )
    yield OWNER.flow(
        tables.DISPATCH,
        Priority.LOW,
        Match(DESTINATION_TYPE.equals(DestinationType.TUNNEL)),
        Goto(tables.OUTPUT.number),
    )


def _destination_half() -> Iterator[Flow]:
    table = tables.DESTINATION_STATE
    gate = Goto(tables.DESTINATION_GATE.number)
    yield OWNER.flow(table, Priority.DROP, Match(INVALID))
    yield OWNER.flow(
        table,
        Priority.ESTABLISHED,
        Match(TRACKED, IS_ADMITTED),
        Resubmit(tables.PERMIT_ESTABLISHED.number),
        gate,
    )
    yield OWNER.flow(table, Priority.NEW, Match(NEW), Resubmit(tables.PERMIT_NEW.number), gate)
    yield _gate(tables.DESTINATION_GATE, tables.DESTINATION_COMMIT)
    yield from _commit(tables.DESTINATION_COMMIT, DESTINATION_ZONE, tables.OUTPUT)
    yield OWNER.flow(tables.OUTPUT, Priority.DEFAULT, Match(), OutputTo(OUTPUT_PORT.slice))


def _subroutines() -> Iterator[Flow]:
    yield OWNER.flow(
        tables.PERMIT_NEW, Priority.DEFAULT, Match(), *ask_permit(SOURCE_NETWORK, DESTINATION_NETWORK)
    )
    # A network without a class must not inherit the number that the register held before.
    yield OWNER.flow(tables.POLICY_CLASS, Priority.DEFAULT, Match(), INITIATOR_CLASS.set(0))


def _track(table: tables.Table, match: Match, zone: RegField, then: tables.Table, *before: Action) -> Flow:
    return OWNER.flow(table, Priority.LOW, match, *before, Ct(zone.slice, then.number))


def _gate(table: tables.Table, then: tables.Table) -> Flow:
    return OWNER.flow(table, Priority.LOW, Match(PERMITTED.equals(1)), Goto(then.number))


def _commit(table: tables.Table, zone: RegField, then: tables.Table) -> Iterator[Flow]:
    """New connections are admitted in ``zone``; what is not new goes on as it is."""
    for ip in FAMILIES:
        yield OWNER.flow(
            table,
            Priority.ESTABLISHED,
            Match(ip, NEW),
            Ct(zone.slice, then.number, commit=True, execute=ADMIT),
        )
    yield OWNER.flow(table, Priority.DEFAULT, Match(), Goto(then.number))
