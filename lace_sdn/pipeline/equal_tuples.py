"""Connections of equal addresses and ports to one pod: from networks that overlap, or from outside by several nodes.

At the pod's node conntrack would take them for one. The first is tracked as it comes. Another one is looked up at a destination
that stands for its sender's network, or for the node that it came in by, and is committed with the pod's address in its place;
conntrack then gives it a port of its own, for the replies of the first have this one. A packet from outside that belongs to no
connection and starts none is of one that a router has moved to another node: its replies go that way from now on
(docs/decisions/0029).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.actions import Ct, CtClear, Goto, Move, Nat, Resubmit, SetField
from lace_sdn.openflow.fields import IP_PROTO, IpProto
from lace_sdn.openflow.match import Match, ct_state, tcp_flags, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import PSEUDO_DESTINATION, Priority
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.fixed import ADMIT, IS_ADMITTED, NEW, ORIGINAL, OWNER, TRACKED
from lace_sdn.pipeline.packet import ADDRESSES, destination_in, family
from lace_sdn.pipeline.registers import (
    DESTINATION_TYPE,
    DESTINATION_ZONE,
    ENTERED,
    ENTRY,
    FROM_OUTSIDE,
    INITIATOR,
    OWN_PORT,
    PERMITTED,
    SERVICE_PORT,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    SOURCE_ZONE,
    THROUGH,
    DestinationType,
    SourceType,
)
from lace_sdn.pipeline.unit import Owner
from lace_sdn.pipeline.zone_rows import IS_IN_ZONE, check_zone, zone_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import Flow

_BITS: Final = {4: 28, 6: 32}
"""By IP version: of a node's number, in the address that stands for it."""
KEY_BITS: Final = 24
_OF_NETWORK: Final = 0xF << KEY_BITS
"""In an address that stands for a network: above its key."""
_KNOWN: Final = (ct_state("-rel-rpl+trk"), IS_ADMITTED, DESTINATION_TYPE.equals(DestinationType.LOCAL))
_INSIDE, _OUTSIDE = FROM_OUTSIDE.equals(0), FROM_OUTSIDE.equals(1)


@dataclass(frozen=True, slots=True)
class OtherConnections:
    """No input: what is done with a packet that has the addresses and ports of another connection."""

    def flows(self) -> Iterator[Flow]:
        for version in (4, 6):
            for whence in (_INSIDE, _OUTSIDE):
                yield OWNER.flow(
                    tables.OTHER_CONNECTION,
                    Priority.LOW,
                    Match(family(version), whence),
                    PERMITTED.set(0),
                    Resubmit(tables.LOCAL_BACKEND.number),
                    Resubmit(tables.PERMIT_NEW.number),
                    *_stands_for_sender(version, is_outside=whence is _OUTSIDE),
                    CtClear(),
                    Ct(DESTINATION_ZONE.slice, tables.OTHER_CONNECTION_ZONE_CHECK.number, nat=Nat()),
                )
        yield OWNER.flow(
            tables.OTHER_CONNECTION_ZONE_CHECK,
            Priority.DEFAULT,
            Match(TRACKED),
            *check_zone(DESTINATION_ZONE),
            Goto(tables.OTHER_CONNECTION_STATE.number),
        )
        yield OWNER.flow(
            tables.OTHER_CONNECTION_STATE,
            Priority.NORMAL,
            Match(ORIGINAL, IS_ADMITTED),
            PERMITTED.set(0),
            THROUGH.copy_to(SERVICE_PORT),
            Resubmit(tables.PERMIT_ESTABLISHED.number),
            Goto(tables.DESTINATION_GATE.number),
        )


def _stands_for_sender(version: int, *, is_outside: bool) -> tuple[SetField | Move, ...]:
    """In place of the pod's address: one that is nobody's, with the number of the sender's network or of the node it came in by."""
    _, destination = ADDRESSES[version]
    base = int(PSEUDO_DESTINATION[version].network_address)
    if is_outside:
        bits = _BITS[version]
        return (
            SetField(destination, base),
            Move(ENTRY.field[0 : bits - 1], destination[0 : bits - 1]),
        )
    return (
        SetField(destination, base | _OF_NETWORK),
        Move(SOURCE_NETWORK.field[0 : KEY_BITS - 1], destination[0 : KEY_BITS - 1]),
    )


@dataclass(frozen=True, slots=True)
class ContestedInitiator:
    """A network that may start connections to pods here and shares addresses with another that may, or that they may call."""

    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}")
        mine = (_INSIDE, SOURCE_NETWORK.equals(self.key))
        # A reset would end the other one's stream, as far as conntrack goes, before anybody asks whose it is.
        for version in (4, 6):
            yield owner.flow(
                tables.DISPATCH,
                Priority.DROP,
                Match(
                    family(version),
                    term(IP_PROTO, IpProto.TCP),
                    tcp_flags("+rst"),
                    DESTINATION_TYPE.equals(DestinationType.LOCAL),
                    *mine,
                ),
            )
        yield owner.flow(
            tables.TUPLE_CHECK, Priority.LOW, Match(*_KNOWN, *mine), Goto(tables.OTHER_CONNECTION.number)
        )
        yield owner.flow(
            tables.TUPLE_CHECK,
            Priority.NORMAL,
            Match(TRACKED, *mine, INITIATOR.equals(self.key)),
            Goto(tables.DESTINATION_STATE.number),
        )


@dataclass(frozen=True, slots=True)
class OutsideEntries:
    """No input: connections from outside are told apart by the node that they came in by. This one is number 0 to itself."""

    def flows(self) -> Iterator[Flow]:
        yield OWNER.flow(
            tables.TUPLE_CHECK, Priority.LOW, Match(*_KNOWN, _OUTSIDE), Goto(tables.OTHER_CONNECTION.number)
        )
        yield _same_entry(OWNER, 0)


def _same_entry(owner: Owner, number: int) -> Flow:
    return owner.flow(
        tables.TUPLE_CHECK,
        Priority.NORMAL,
        Match(TRACKED, _OUTSIDE, ENTRY.equals(number), ENTERED.equals(number)),
        Goto(tables.DESTINATION_STATE.number),
    )


@dataclass(frozen=True, slots=True)
class SameEntry:
    """Another node that the world outside enters by."""

    node: str
    number: int

    def flows(self) -> Iterator[Flow]:
        yield _same_entry(Owner(cookie(Category.NODE, name_id(self.node)), f"Node {self.node}"), self.number)


@dataclass(frozen=True, slots=True)
class SharedPod:
    """A pod here that several may call from equal addresses and ports: its ``address`` in place of what stands for them."""

    owner: Owner
    ofport: int
    address: Address

    def flows(self) -> Iterator[Flow]:
        ip = family(self.address.version)
        source, destination = ADDRESSES[self.address.version]
        zone = DESTINATION_ZONE.equals(self.ofport)
        own = Match(ip, zone, NEW, IS_IN_ZONE, PERMITTED.equals(1))
        tcp = term(IP_PROTO, IpProto.TCP)
        translated = Ct(
            DESTINATION_ZONE.slice,
            tables.OUTPUT_ZONE_CHECK.number,
            commit=True,
            nat=Nat(is_source=False, address=self.address),
            execute=(OWN_PORT.set(1), *ADMIT),
        )
        moved = (
            SetField(destination, int(self.address)),
            CtClear(),
            Ct(DESTINATION_ZONE.slice, tables.OUTPUT_ZONE_CHECK.number, commit=True, execute=ADMIT),
        )
        state = tables.OTHER_CONNECTION_STATE
        yield zone_row(self.owner, self.ofport, 0, *destination_in(PSEUDO_DESTINATION[self.address.version]))
        yield self.owner.flow(state, Priority.NEW, own, translated)
        yield self.owner.flow(state, Priority.TRANSLATED, own & Match(tcp, _OUTSIDE), *moved)
        yield self.owner.flow(
            state, Priority.ESTABLISHED, own & Match(tcp, tcp_flags("+syn-ack")), translated
        )
        yield self.owner.flow(
            tables.SOURCE_ZONE_CHECK,
            Priority.LOW,
            Match(
                ip,
                ct_state("+rpl+trk"),
                OWN_PORT.equals(1),
                SOURCE_TYPE.equals(SourceType.POD),
                SOURCE_ZONE.equals(self.ofport),
            ),
            SetField(source, int(self.address)),
            *check_zone(SOURCE_ZONE),
            Goto(tables.SOURCE_STATE.number),
        )
