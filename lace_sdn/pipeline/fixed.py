"""The flows that every bridge has: conntrack, gates, the ARP responder, the ways between the tables.

Over 400 lines: these are read as one, in the order in which a packet meets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import (
    Action,
    Controller,
    Ct,
    DecTtl,
    Goto,
    InPort,
    Move,
    Nat,
    OutputTo,
    Resubmit,
    SetField,
)
from lace_sdn.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    ETH_DST,
    ETH_SRC,
    IP_PROTO,
    IpProto,
)
from lace_sdn.openflow.match import Match, ct_state, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import (
    DEFAULT_MTU,
    GATEWAY_ETHER,
    GATEWAY_IPV4,
    HAIRPIN_SOURCE,
    REJECTED_OCTETS,
    Priority,
)
from lace_sdn.pipeline.cookies import Category, cookie
from lace_sdn.pipeline.limits import others_told_limit, others_told_meter
from lace_sdn.pipeline.packet import ARP, FAMILIES, destination_is
from lace_sdn.pipeline.registers import (
    ADMITTED,
    DESTINATION_NETWORK,
    DESTINATION_TYPE,
    DESTINATION_ZONE,
    ENTERED,
    ENTRY,
    FRAME_PORT,
    FRAME_SERVICE,
    HAIRPIN,
    INITIATOR,
    INITIATOR_CLASS,
    KNOWN_SENDER,
    LIVE_SERVICE,
    LOOKUP,
    LOOPED,
    OUTPUT_PORT,
    OUTPUT_ZONE,
    PERMITTED,
    RENEWED,
    RESPONDER,
    SECOND_ZONE,
    SERVICE_CLASS,
    SERVICE_PORT,
    SERVICE_SCOPE,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    SOURCE_ZONE,
    THROUGH,
    TRANSLATED,
    DestinationType,
    SourceType,
)
from lace_sdn.pipeline.relation_rows import SCOPE_OF_CONNECTION, ask_permit
from lace_sdn.pipeline.renewal_rows import destination_renewal, renew, source_renewal
from lace_sdn.pipeline.size_rows import size_flows
from lace_sdn.pipeline.unit import Owner
from lace_sdn.pipeline.zone_rows import IS_IN_ZONE, check_zone, not_in_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import Flow, Meter
    from lace_sdn.pipeline.registers import RegField

ARP_REQUEST, ARP_REPLY = 1, 2

OWNER = Owner(cookie(Category.PIPELINE), "pipeline")

PARTIES = (
    SOURCE_NETWORK.copy_to(INITIATOR),
    DESTINATION_NETWORK.copy_to(RESPONDER),
    SERVICE_PORT.copy_to(THROUGH),
    ENTRY.copy_to(ENTERED),
)
ADMIT = (ADMITTED.set(1), *PARTIES)
"""What a commit writes: it is admitted, who started it to whom, by which Service, by which node (ovs-actions(7), exec)."""

NEW, INVALID = ct_state("+new+trk"), ct_state("+inv+trk")
ORIGINAL, REPLY, TRACKED = ct_state("-rpl+trk"), ct_state("+rpl+trk"), ct_state("+trk")
IS_UDP = term(IP_PROTO, IpProto.UDP)
IS_ADMITTED, IS_NOT_ADMITTED = ADMITTED.equals(1), ADMITTED.equals(0)
IS_DIRECT = (IS_NOT_ADMITTED, TRANSLATED.equals(0))
IS_TRANSLATED = (IS_NOT_ADMITTED, TRANSLATED.equals(1))
"""Translated and not admitted: the first packets through a VIP, also when an earlier one ended between the two."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same on every node. ``mtu``: octets of the largest IP packet of a pod.

    Whatever follows a ``ct`` asks whether it was this packet that was tracked there (``zone_rows``): Open vSwitch's own
    conntrack puts fragments of others beside it, and they would go on as the registers say of this one.
    """

    mtu: int = DEFAULT_MTU

    def flows(self) -> Iterator[Flow]:
        yield _arp_responder()
        yield from size_flows(OWNER, self.mtu)
        yield from _source_half()
        yield from _services()
        yield from _destination_half()
        yield from _subroutines()
        yield others_told_limit(OWNER)

    def meters(self) -> Iterator[Meter]:
        yield others_told_meter(OWNER)


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
    yield from _return_zone()
    for ip in FAMILIES:
        yield _track(tables.SOURCE_CONNTRACK, Match(ip), SOURCE_ZONE, tables.SOURCE_ZONE_CHECK)
    yield _checked(tables.SOURCE_ZONE_CHECK, SOURCE_ZONE, tables.SOURCE_STATE)
    yield from _source_state()
    yield from source_renewal(OWNER)
    yield _gate(tables.SOURCE_GATE, tables.ROUTE)
    yield _onward(tables.TUNNEL_SOURCE, tables.ROUTE)
    yield from _hairpin()
    yield OWNER.flow(
        tables.SOURCE_COMMIT,
        Priority.NORMAL,
        Match(SOURCE_TYPE.equals(SourceType.TUNNEL)),
        Goto(tables.DISPATCH.number),
    )
    # Without nat, where it would change nothing: Open vSwitch's own conntrack before 3.3 does not survive that (decision 0015).
    yield from _commit(tables.SOURCE_COMMIT, Match(NEW, *IS_DIRECT), SOURCE_ZONE, tables.COMMIT_ZONE_CHECK)
    yield from renew(OWNER, tables.SOURCE_COMMIT, SOURCE_ZONE, tables.COMMIT_ZONE_CHECK, ADMIT)
    for ip in FAMILIES:
        yield OWNER.flow(
            tables.SOURCE_COMMIT,
            Priority.ESTABLISHED,
            Match(ip, ORIGINAL, *IS_TRANSLATED),
            Ct(
                SOURCE_ZONE.slice,
                tables.COMMIT_ZONE_CHECK.number,
                commit=True,
                execute=(*ADMIT, HAIRPIN.copy_to(LOOPED)),
            ),
        )
    yield _onward(tables.SOURCE_COMMIT, tables.DISPATCH)
    yield _committed(tables.COMMIT_ZONE_CHECK, SOURCE_ZONE, tables.DISPATCH)
    for ip in FAMILIES:
        for ways in (IS_IN_ZONE, SOURCE_TYPE.equals(SourceType.TUNNEL)):
            yield _track(
                tables.DISPATCH,
                Match(ip, DESTINATION_TYPE.equals(DestinationType.LOCAL), ways),
                DESTINATION_ZONE,
                tables.DESTINATION_ZONE_CHECK,
                PERMITTED.set(0),
            )
    yield OWNER.flow(
        tables.DISPATCH,
        Priority.LOW,
        Match(DESTINATION_TYPE.equals(DestinationType.TUNNEL), IS_IN_ZONE),
        Goto(tables.OUTPUT.number),
    )


def _return_zone() -> Iterator[Flow]:
    """A pod that called itself answers to the address it saw; as the server it has a zone of its own."""
    for source in HAIRPIN_SOURCE.values():
        yield OWNER.flow(
            tables.RETURN_ZONE,
            Priority.LOW,
            Match(SOURCE_TYPE.equals(SourceType.POD), *destination_is(source)),
            SECOND_ZONE.set(1),
            HAIRPIN.set(1),
            Goto(tables.SOURCE_CONNTRACK.number),
        )
    yield _onward(tables.RETURN_ZONE, tables.SOURCE_CONNTRACK)


def _hairpin() -> Iterator[Flow]:
    """A pod that calls itself goes on to, whatever has become of the Service; its first packet came by a row of the pod."""
    for ip in FAMILIES:
        yield OWNER.flow(
            tables.ROUTE,
            Priority.OWN_CONNECTION,
            Match(ip, ORIGINAL, LOOPED.equals(1)),
            Move(ETH_SRC.whole, ETH_DST.whole),
            SetField(ETH_SRC, GATEWAY_ETHER),
            DecTtl(),
            OUTPUT_PORT.set(0),
            SOURCE_ZONE.copy_to(DESTINATION_ZONE),
            OUTPUT_ZONE.set(1),
            DESTINATION_TYPE.set(DestinationType.LOCAL),
            HAIRPIN.set(1),
            Goto(tables.SOURCE_COMMIT.number),
        )


def _source_state() -> Iterator[Flow]:
    table = tables.SOURCE_STATE
    yield OWNER.flow(table, Priority.DROP, Match(INVALID))
    for direction, other_end in ((ORIGINAL, RESPONDER), (REPLY, INITIATOR)):
        yield OWNER.flow(
            table,
            Priority.ESTABLISHED,
            Match(direction, IS_ADMITTED),
            other_end.copy_to(DESTINATION_NETWORK),
            THROUGH.copy_to(SERVICE_PORT),
            Resubmit(tables.PERMIT_ESTABLISHED.number),
            Goto(tables.SOURCE_RENEWAL.number),
        )
    yield OWNER.flow(
        table,
        Priority.TRANSLATED,
        Match(ORIGINAL, *IS_TRANSLATED),
        RESPONDER.copy_to(DESTINATION_NETWORK),
        THROUGH.copy_to(SERVICE_PORT),
        Goto(tables.SERVICE_ADMIT.number),
    )
    yield OWNER.flow(
        table,
        Priority.NEW,
        Match(NEW),
        SOURCE_NETWORK.copy_to(LOOKUP),
        Resubmit(tables.POLICY_CLASS.number),
        Goto(tables.NODE_ADDRESS.number),
    )


def _services() -> Iterator[Flow]:
    """The ways between the tables of Services; who and where is in rows of their own."""
    yield _onward(tables.NODE_ADDRESS, tables.SERVICE_VIP)
    yield _onward(tables.SERVICE_VIP, tables.DESTINATION_NETWORK)
    yield OWNER.flow(
        tables.SERVICE_GATE,
        Priority.LOW,
        Match(PERMITTED.equals(1), IS_IN_ZONE),
        PERMITTED.set(0),
        Goto(tables.SERVICE_PORT.number),
    )
    yield _onward(tables.SERVICE_PORT, tables.REJECT)
    yield OWNER.flow(
        tables.SERVICE_ADMIT,
        Priority.DEFAULT,
        Match(ct_state("-inv+trk")),
        *check_zone(SOURCE_ZONE),
        DESTINATION_NETWORK.copy_to(LOOKUP),
        SCOPE_OF_CONNECTION,
        Resubmit(tables.PERMIT_NEW.number),
        Goto(tables.SOURCE_GATE.number),
    )
    for ip in FAMILIES:
        for protocol in (IpProto.TCP, IpProto.UDP):
            yield OWNER.flow(
                tables.REJECT,
                Priority.LOW,
                Match(ip, term(IP_PROTO, protocol)),
                Resubmit(tables.CONTROLLER_LIMIT.number),
                Controller(REJECTED_OCTETS),
            )


def _destination_half() -> Iterator[Flow]:
    table = tables.DESTINATION_STATE
    gate = Goto(tables.DESTINATION_GATE.number)
    renewal = Goto(tables.DESTINATION_RENEWAL.number)
    yield _checked(
        tables.DESTINATION_ZONE_CHECK,
        DESTINATION_ZONE,
        tables.TUPLE_CHECK,
        RENEWED.set(0),
        KNOWN_SENDER.set(0),
        SERVICE_PORT.copy_to(FRAME_PORT),
    )
    yield OWNER.flow(table, Priority.DROP, Match(INVALID))
    # The Service is that of this zone's connection: what a frame says of it counts for the first packet only. UDP has no first
    # packet: a client whose connection was forgotten goes on by another Service, and here the old one is still known.
    for ip in FAMILIES:
        yield OWNER.flow(
            table,
            Priority.DATAGRAM,
            Match(ip, IS_UDP, ORIGINAL, IS_ADMITTED),
            Resubmit(tables.LOCAL_BACKEND.number),
            Goto(tables.DATAGRAM_SERVICE.number),
        )
    yield OWNER.flow(
        tables.DATAGRAM_SERVICE,
        Priority.LOW,
        Match(LIVE_SERVICE.equals(1)),
        FRAME_SERVICE.set(1),
        Resubmit(tables.PERMIT_ESTABLISHED.number),
        renewal,
    )
    yield OWNER.flow(
        tables.DATAGRAM_SERVICE,
        Priority.DEFAULT,
        Match(),
        THROUGH.copy_to(SERVICE_PORT),
        Resubmit(tables.PERMIT_ESTABLISHED.number),
        renewal,
    )
    yield OWNER.flow(
        table,
        Priority.ESTABLISHED,
        Match(TRACKED, IS_ADMITTED),
        THROUGH.copy_to(SERVICE_PORT),
        Resubmit(tables.PERMIT_ESTABLISHED.number),
        renewal,
    )
    yield OWNER.flow(
        table,
        Priority.NEW,
        Match(NEW),
        Resubmit(tables.LOCAL_BACKEND.number),
        Resubmit(tables.PERMIT_NEW.number),
        gate,
    )
    yield _onward(tables.TUPLE_CHECK, table)
    yield from destination_renewal(OWNER)
    yield _gate(tables.DESTINATION_GATE, tables.DESTINATION_COMMIT)
    for ip, version in zip(FAMILIES, (4, 6), strict=True):
        yield OWNER.flow(
            tables.DESTINATION_COMMIT,
            Priority.OWN_ADDRESS,
            Match(ip, NEW, IS_NOT_ADMITTED, HAIRPIN.equals(1)),
            admit_as(HAIRPIN_SOURCE[version]),
        )
    yield from _commit(
        tables.DESTINATION_COMMIT, Match(NEW, IS_NOT_ADMITTED), DESTINATION_ZONE, tables.OUTPUT_ZONE_CHECK
    )
    yield from renew(OWNER, tables.DESTINATION_COMMIT, DESTINATION_ZONE, tables.OUTPUT_ZONE_CHECK, ADMIT)
    # Never fragments, which have no ports (table 105): of IPv6 ones only the first is UDP, and conntrack would keep it, waiting for
    # the others.
    for ip in FAMILIES:
        yield OWNER.flow(
            tables.DESTINATION_COMMIT,
            Priority.DATAGRAM,
            Match(ip, IS_UDP, ORIGINAL, IS_ADMITTED, LIVE_SERVICE.equals(1), FRAME_SERVICE.equals(1)),
            Ct(
                DESTINATION_ZONE.slice,
                tables.OUTPUT_ZONE_CHECK.number,
                commit=True,
                execute=(SERVICE_PORT.copy_to(THROUGH),),
            ),
        )
    yield _onward(tables.DESTINATION_COMMIT, tables.OUTPUT)
    yield _committed(tables.OUTPUT_ZONE_CHECK, DESTINATION_ZONE, tables.OUTPUT)
    yield OWNER.flow(tables.OUTPUT, Priority.LOW, Match(IS_IN_ZONE, HAIRPIN.equals(1)), InPort())
    yield OWNER.flow(tables.OUTPUT, Priority.DEFAULT, Match(IS_IN_ZONE), OutputTo(OUTPUT_PORT.slice))


def _subroutines() -> Iterator[Flow]:
    yield OWNER.flow(
        tables.PERMIT_NEW, Priority.DEFAULT, Match(), *ask_permit(SOURCE_NETWORK, DESTINATION_NETWORK)
    )
    # A network without a class, and a packet without a Service, must not inherit what a register held before.
    yield OWNER.flow(
        tables.POLICY_CLASS, Priority.DEFAULT, Match(), INITIATOR_CLASS.set(0), SERVICE_CLASS.set(0)
    )
    yield not_in_zone(OWNER)
    for table in (tables.SERVICE_SCOPE, tables.LOCAL_BACKEND):
        yield OWNER.flow(table, Priority.DEFAULT, Match(), SERVICE_SCOPE.set(0))


def _track(table: tables.Table, match: Match, zone: RegField, then: tables.Table, *before: Action) -> Flow:
    return OWNER.flow(table, Priority.LOW, match, *before, Ct(zone.slice, then.number, nat=Nat()))


def _checked(table: tables.Table, zone: RegField, then: tables.Table, *more: Action) -> Flow:
    return OWNER.flow(table, Priority.DEFAULT, Match(TRACKED), *check_zone(zone), *more, Goto(then.number))


def _committed(table: tables.Table, zone: RegField, then: tables.Table) -> Flow:
    """Beyond the limit of a zone conntrack commits nothing and says nothing: such a packet has no mark, and ends."""
    return OWNER.flow(
        table, Priority.DEFAULT, Match(TRACKED, IS_ADMITTED), *check_zone(zone), Goto(then.number)
    )


def _gate(table: tables.Table, then: tables.Table) -> Flow:
    return OWNER.flow(table, Priority.LOW, Match(PERMITTED.equals(1), IS_IN_ZONE), Goto(then.number))


def _onward(table: tables.Table, then: tables.Table) -> Flow:
    return OWNER.flow(table, Priority.DEFAULT, Match(), Goto(then.number))


def _commit(table: tables.Table, match: Match, zone: RegField, then: tables.Table) -> Iterator[Flow]:
    """What matches is admitted in ``zone``."""
    for ip in FAMILIES:
        yield OWNER.flow(
            table,
            Priority.ESTABLISHED,
            Match(ip) & match,
            Ct(zone.slice, then.number, commit=True, execute=ADMIT),
        )


def admit_as(source: Address) -> Ct:
    """Admit in the zone of the receiver's port, which then sees ``source`` as the client."""
    nat = Nat(is_source=True, address=source)
    return Ct(DESTINATION_ZONE.slice, tables.OUTPUT_ZONE_CHECK.number, commit=True, nat=nat, execute=ADMIT)
