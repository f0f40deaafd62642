"""The world outside: whose an underlay address is, the way through the node's own stack, and what comes back by it.

A pod that calls the world is seen by its node's stack at an address of ``OUTWARD_SOURCES`` whose low bits are its ofport. So a
reply says by itself in whose zone its connection is, and pods with equal addresses and ports need nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.actions import Ct, DecTtl, Goto, InPort, Move, Nat, Output, Resubmit, SetField
from lace_sdn.openflow.fields import (
    ETH_DST,
    ETH_SRC,
    ICMP_TYPE,
    ICMPV6_TYPE,
    IN_PORT,
    IP_PROTO,
    UDP_DST,
    IpProto,
)
from lace_sdn.openflow.match import Match, ct_state, parse_mac, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import (
    GATEWAY_ETHER,
    GATEWAY_PORT,
    HOST_MAC,
    NODE_PORT_ADDRESS,
    OUTWARD_SOURCES,
    SECOND_ZONE,
    TUNNELS_UDP_PORT,
    Priority,
)
from lace_sdn.pipeline.cookies import Category, cookie
from lace_sdn.pipeline.fixed import ADMIT, IS_ADMITTED, IS_NOT_ADMITTED, NEW, ORIGINAL, OWNER, TRACKED
from lace_sdn.pipeline.packet import (
    ADDRESSES,
    FAMILIES,
    UNTAGGED,
    destination_in,
    destination_is,
    family,
    source_in,
)
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    DESTINATION_TYPE,
    DESTINATION_ZONE,
    ENTERED,
    FROM_OUTSIDE,
    INITIATOR,
    LIVE_SERVICE,
    LOOKUP,
    NODE_PORT,
    OUTPUT_ZONE,
    PERMITTED,
    PORT_OF_ZONE,
    RENEWED,
    RESPONDER,
    SERVICE_PORT,
    SOURCE_NETWORK,
    SOURCE_TYPE,
    SOURCE_ZONE,
    THROUGH,
    DestinationType,
    SourceType,
)
from lace_sdn.pipeline.registers import SECOND_ZONE as IN_SECOND_ZONE
from lace_sdn.pipeline.unit import Owner
from lace_sdn.pipeline.zone_rows import IS_IN_ZONE, ZonesOfPort, check_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Prefix
    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.fields import Term
    from lace_sdn.openflow.flow import Flow

HOST_ETHER: Final = parse_mac(HOST_MAC)
ZONE_BITS: Final = 15
"""Low bits of an address of ``OUTWARD_SOURCES``: an ofport."""

ERRORS: Final = {
    4: (IpProto.ICMP, ICMP_TYPE, (3, 11, 12)),
    6: (IpProto.ICMPV6, ICMPV6_TYPE, (1, 2, 3, 4)),
}
"""By IP version: ICMP errors, whose sender is a router on the way (RFC 792, RFC 4443 section 2.1)."""

OUT_BY_HOST: Final[tuple[Action, ...]] = (
    SetField(ETH_SRC, GATEWAY_ETHER),
    SetField(ETH_DST, HOST_ETHER),
    DESTINATION_TYPE.set(DestinationType.GATEWAY),
    Goto(tables.SOURCE_COMMIT.number),
)
"""Out of the bridge, to the node's own stack."""

FROM_HOST: Final = SOURCE_TYPE.equals(SourceType.GATEWAY)
TO_HOST: Final = DESTINATION_TYPE.equals(DestinationType.GATEWAY)


@dataclass(frozen=True, slots=True)
class Gateway:
    """No input: the ways between the bridge and the node's own stack, on every node where anything goes there."""

    def flows(self) -> Iterator[Flow]:
        yield OWNER.flow(
            tables.CLASSIFIER,
            Priority.LOW,
            Match(term(IN_PORT, GATEWAY_PORT), UNTAGGED),
            SOURCE_TYPE.set(SourceType.GATEWAY),
            SOURCE_ZONE.set(GATEWAY_PORT),
            Goto(tables.RETURN_ZONE.number),
        )
        yield from ZonesOfPort(OWNER, GATEWAY_PORT).flows()
        # By its address, which is looked up when conntrack is done: what it puts beside this packet has another one.
        yield OWNER.flow(
            tables.SOURCE_ZONE_CHECK,
            Priority.LOW,
            Match(TRACKED, FROM_HOST),
            *check_zone(SOURCE_ZONE),
            Goto(tables.OUTSIDE_SOURCE.number),
        )
        yield OWNER.flow(
            tables.COMMIT_ZONE_CHECK,
            Priority.LOW,
            Match(TRACKED, IS_ADMITTED, FROM_HOST, FROM_OUTSIDE.equals(1)),
            *check_zone(SOURCE_ZONE),
            Resubmit(tables.SENDER_OUTSIDE.number),
            LOOKUP.copy_to(SOURCE_NETWORK),
            Goto(tables.DISPATCH.number),
        )
        for version in (4, 6):
            yield from self._inward(version)
            yield from self._outward(version)
        yield from self._related()
        yield OWNER.flow(
            tables.DESTINATION_NETWORK,
            Priority.DEFAULT,
            Match(SOURCE_TYPE.equals(SourceType.POD)),
            Resubmit(tables.OUTSIDE.number),
            LOOKUP.copy_to(DESTINATION_NETWORK),
            Resubmit(tables.PERMIT_NEW.number),
            Goto(tables.SOURCE_GATE.number),
        )
        yield OWNER.flow(
            tables.OUTSIDE_SOURCE,
            Priority.DEFAULT,
            Match(),
            Resubmit(tables.SENDER_OUTSIDE.number),
            LOOKUP.copy_to(SOURCE_NETWORK),
            FROM_OUTSIDE.set(1),
            Goto(tables.SOURCE_STATE.number),
        )
        for table in (tables.OUTSIDE, tables.SENDER_OUTSIDE):
            yield OWNER.flow(table, Priority.DEFAULT, Match(), LOOKUP.set(0))
        yield OWNER.flow(tables.OUTSIDE_EXIT, Priority.LOW, Match(ENTERED.equals(0)), *OUT_BY_HOST)
        yield OWNER.flow(tables.OUTSIDE_EXIT, Priority.NORMAL, Match(RENEWED.equals(1)), *OUT_BY_HOST)
        yield OWNER.flow(tables.OUTPUT, Priority.NORMAL, Match(IS_IN_ZONE, TO_HOST), Output(GATEWAY_PORT))
        yield OWNER.flow(tables.OUTPUT, Priority.DROP, Match(IS_IN_ZONE, FROM_HOST, TO_HOST), InPort())

    def _inward(self, version: int) -> Iterator[Flow]:
        _, destination = ADDRESSES[version]
        yield OWNER.flow(
            tables.RETURN_ZONE,
            Priority.LOW,
            Match(FROM_HOST, *destination_in(OUTWARD_SOURCES[version])),
            Move(destination[0 : ZONE_BITS - 1], PORT_OF_ZONE.slice),
            IN_SECOND_ZONE.set(1),
            Goto(tables.SOURCE_CONNTRACK.number),
        )
        yield OWNER.flow(
            tables.RETURN_ZONE,
            Priority.NORMAL,
            Match(FROM_HOST, *destination_is(NODE_PORT_ADDRESS[version])),
            Goto(tables.SOURCE_CONNTRACK.number),
        )
        yield OWNER.flow(
            tables.NODE_ADDRESS,
            Priority.NORMAL,
            Match(FROM_HOST, *destination_is(NODE_PORT_ADDRESS[version])),
            NODE_PORT.set(1),
            Goto(tables.SERVICE_VIP.number),
        )

    def _related(self) -> Iterator[Flow]:
        """An ICMP error belongs to the end of the connection that its packet would have gone to."""
        for direction, sender, receiver in (("-rpl", INITIATOR, RESPONDER), ("+rpl", RESPONDER, INITIATOR)):
            yield OWNER.flow(
                tables.SOURCE_STATE,
                Priority.RELATED,
                Match(FROM_HOST, ct_state(f"+rel{direction}+trk"), IS_ADMITTED),
                sender.copy_to(SOURCE_NETWORK),
                receiver.copy_to(DESTINATION_NETWORK),
                THROUGH.copy_to(SERVICE_PORT),
                Resubmit(tables.PERMIT_ESTABLISHED.number),
                Goto(tables.SOURCE_GATE.number),
            )

    def _outward(self, version: int) -> Iterator[Flow]:
        ip = family(version)
        yield OWNER.flow(
            tables.OUTSIDE_EXIT,
            Priority.DROP,
            Match(ip, ct_state("-rpl+trk"), term(IP_PROTO, IpProto.UDP), term(UDP_DST, TUNNELS_UDP_PORT)),
        )
        yield OWNER.flow(
            tables.OUTSIDE_EXIT,
            Priority.OWN_ADDRESS,
            Match(ip, RENEWED.equals(1), term(IP_PROTO, IpProto.UDP), term(UDP_DST, TUNNELS_UDP_PORT)),
        )
        to_own = (PERMITTED.set(0), DESTINATION_ZONE.set(GATEWAY_PORT))
        to_second = (PERMITTED.set(0), SOURCE_ZONE.copy_to(DESTINATION_ZONE), OUTPUT_ZONE.set(1))
        ways: tuple[tuple[int, tuple[Term, ...], tuple[Action, ...]], ...] = (
            (Priority.NORMAL, (SOURCE_TYPE.equals(SourceType.TUNNEL),), to_own),
            (Priority.LOW, (ct_state("+rpl+trk"), IS_IN_ZONE), to_own),
            (Priority.LOW, (ct_state("-rpl+trk"), IS_IN_ZONE), to_second),
        )
        for priority, which, zone in ways:
            yield OWNER.flow(
                tables.DISPATCH,
                priority,
                Match(ip, TO_HOST, *which),
                *zone,
                Ct(DESTINATION_ZONE.slice, tables.DESTINATION_ZONE_CHECK.number, nat=Nat()),
            )
        # No pod's own address leaves the bridge for the node's stack.
        yield OWNER.flow(
            tables.DESTINATION_COMMIT, Priority.OWN_CONNECTION, Match(ip, TO_HOST, NEW, IS_NOT_ADMITTED)
        )


@dataclass(frozen=True, slots=True)
class OutwardPort:
    """Connections of a pod to the world, or of the world with itself through a VIP: by the address of the sender's ofport."""

    owner: Owner
    ofport: int

    def flows(self) -> Iterator[Flow]:
        for version, prefix in OUTWARD_SOURCES.items():
            address = ip_address(int(prefix.network_address) + self.ofport)
            yield self.owner.flow(
                tables.DESTINATION_COMMIT,
                Priority.OUTWARD,
                Match(
                    family(version),
                    NEW,
                    IS_NOT_ADMITTED,
                    TO_HOST,
                    DESTINATION_ZONE.equals(SECOND_ZONE | self.ofport),
                ),
                Ct(
                    DESTINATION_ZONE.slice,
                    tables.OUTPUT_ZONE_CHECK.number,
                    commit=True,
                    nat=Nat(is_source=True, address=address),
                    execute=ADMIT,
                ),
            )


@dataclass(frozen=True, slots=True)
class OutsidePrefix:
    """Underlay addresses of a prefix belong to the external Network ``name``, where no longer prefix matches; "": to none."""

    name: str
    key: int
    prefix: Prefix

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}") if self.name else OWNER
        priority = Priority.CLASS_PREFIX + self.prefix.prefixlen
        lookups = (
            (tables.SENDER_OUTSIDE, source_in(self.prefix)),
            (tables.OUTSIDE, destination_in(self.prefix)),
        )
        for table, packets in lookups:
            yield owner.flow(table, priority, Match(*packets), LOOKUP.set(self.key))


@dataclass(frozen=True, slots=True)
class OutsideNetwork:
    """Packets to an external Network leave, as far as their address is still one of it."""

    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}")
        for ip in FAMILIES:
            yield owner.flow(
                tables.ROUTE,
                Priority.LOW,
                Match(ip, DESTINATION_NETWORK.equals(self.key)),
                DecTtl(),
                Resubmit(tables.OUTSIDE.number),
                Goto(tables.OUTSIDE_ROUTE.number),
            )
        yield owner.flow(
            tables.OUTSIDE_ROUTE,
            Priority.LOW,
            Match(LOOKUP.equals(self.key), DESTINATION_NETWORK.equals(self.key)),
            Goto(tables.OUTSIDE_EXIT.number),
        )


@dataclass(frozen=True, slots=True)
class ErrorsFromTunnels:
    """ICMP errors that came in by another node: a router's address tells nothing, the connection that they quote does."""

    def flows(self) -> Iterator[Flow]:
        for version, (protocol, kind, errors) in ERRORS.items():
            for number in errors:
                yield OWNER.flow(
                    tables.TUNNEL_SOURCE,
                    Priority.NORMAL,
                    Match(family(version), term(IP_PROTO, protocol), term(kind, number)),
                    Goto(tables.ROUTE.number),
                )


@dataclass(frozen=True, slots=True)
class EnteredElsewhere:
    """Packets of an external Network that came in by another node: its word for whose they are is looked up once more."""

    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}")
        yield owner.flow(
            tables.TUNNEL_SOURCE,
            Priority.LOW,
            Match(SOURCE_NETWORK.equals(self.key)),
            Resubmit(tables.SENDER_OUTSIDE.number),
            Goto(tables.TUNNEL_IDENTITY.number),
        )
        yield owner.flow(
            tables.TUNNEL_IDENTITY,
            Priority.LOW,
            Match(LOOKUP.equals(self.key), SOURCE_NETWORK.equals(self.key)),
            FROM_OUTSIDE.set(1),
            Goto(tables.ROUTE.number),
        )


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Nobody outside is taken for a pod of the network that it calls, whatever address it writes as its own.

    An answer may bear such an address: to the pod it comes from the VIP that it called.

    ``has_services``: they may be called too, and refuse by themselves.
    """

    name: str
    key: int
    prefix: Prefix
    has_services: bool

    def flows(self) -> Iterator[Flow]:
        owner = Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}")
        gates = (tables.SERVICE_GATE, tables.SOURCE_GATE) if self.has_services else (tables.SOURCE_GATE,)
        for gate in gates:
            yield owner.flow(
                gate,
                Priority.NORMAL,
                Match(FROM_HOST, ORIGINAL, DESTINATION_NETWORK.equals(self.key), *source_in(self.prefix)),
            )


@dataclass(frozen=True, slots=True)
class OutsideServices:
    """Those of an external Network may use its own Services, by their VIPs alone."""

    name: str
    key: int

    def flows(self) -> Iterator[Flow]:
        yield Owner(cookie(Category.NETWORK, self.key), f"Network {self.name}").flow(
            tables.PERMIT,
            Priority.SELF,
            Match(
                SOURCE_NETWORK.equals(self.key), DESTINATION_NETWORK.equals(self.key), LIVE_SERVICE.equals(1)
            ),
            PERMITTED.set(1),
        )
