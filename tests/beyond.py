"""Conversations with the world outside: pods, hosts and nodes' own processes, by whatever address is called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from conversation import Place, addresses_in, answer, places, simulated

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends, port_fields
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.pipeline.constants import (
    GATEWAY_ETHER,
    GATEWAY_PORT,
    HAIRPIN_SOURCE,
    HOST_MAC,
    NODE_PORT_ADDRESS,
    OUTWARD_SOURCES,
    TWIN_SOURCE,
)
from lace_sdn.pipeline.host import HostProgram, NodePort, host_program
from lace_sdn.policy.ends import NODE_PREFIX, addresses_of, entry_node, is_outside, name_of, underlay_names
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conversation import Wires

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.simulator import Delivery
    from lace_sdn.openflow.simulator.fabric import Journey
    from lace_sdn.policy.oracle import Connection

HOST_ETHER = parse_mac(HOST_MAC)
WHOLE = 4
"""Packets of a conversation: request, answer, and each once more."""
FLAGS = (Tcp.SYN | Tcp.ACK, Tcp.ACK, Tcp.ACK, Tcp.ACK)


class Way(NamedTuple):
    """Where the packets of who calls come into a bridge, from which address, and to which."""

    place: Place
    own: Address
    called: Address


@dataclass(frozen=True)
class Meeting:
    """``reached`` at ``there`` answered; ``passed``: so many packets arrived, each as it should look.

    ``sent``: the packets of both sides as they were sent; ``seen_by``: all known ends that a packet came to.
    """

    connection: Connection
    way: Way | None
    reached: str = ""
    there: Place | None = None
    passed: int = 0
    sent: tuple[Packet, ...] = ()
    journeys: tuple[Journey, ...] = ()
    seen_by: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        return self.passed == WHOLE

    @property
    def is_rejected(self) -> bool:
        return bool(self.journeys and self.journeys[0].to_controller)


def outward(port: int, version: int) -> Address:
    """The address that a node's stack sees of what came in by ``port``."""
    return ip_address(int(OUTWARD_SOURCES[version].network_address) + port)


@cache
def hosts_of(state: ClusterState) -> Mapping[str, HostProgram]:
    cluster = Cluster.of(state)
    return {node.name: host_program(cluster, node.name) for node in state.nodes}


def gateway(node: str) -> Place:
    return Place(node, GATEWAY_PORT, HOST_ETHER)


@dataclass(frozen=True)
class Beyond:
    """A state, the wires that carry its packets, and where its pods hang on them."""

    state: ClusterState
    wires: Wires
    places: Mapping[str, Place]

    @classmethod
    def of(cls, state: ClusterState, wires: Wires | None = None) -> Beyond:
        return cls(state, wires or simulated(state), places(state))

    def way(self, connection: Connection) -> Way | None:
        """None: the node's own stack leads it elsewhere than into the bridge."""
        state, source, family = self.state, connection.source, connection.family
        own, called = (_address(state, name, family) for name in (source, connection.destination))
        if not is_outside(source):
            return Way(self.places[source], own, called)
        if connection.destination.startswith(NODE_PREFIX):
            node = connection.destination.removeprefix(NODE_PREFIX)
            asked = NodePort(family, connection.protocol, connection.port)
            is_led = asked in hosts_of(state)[node].node_ports
            return Way(gateway(node), own, NODE_PORT_ADDRESS[family]) if is_led else None
        node = entry_node(state, source)
        return Way(gateway(node), own, called) if hosts_of(state)[node].leads_inward(called) else None

    def end_at(self, delivery: Delivery) -> str:
        """Who gets what comes out of a port: a pod, a host, a node, or ``ADDRESS:PORT`` that is nobody known."""
        if delivery.port != GATEWAY_PORT:
            ids = {place[:2]: endpoint for endpoint, place in self.places.items()}
            return ids.get(delivery[:2], f"{delivery.node} port {delivery.port}")
        _, destination = addresses_in(delivery.packet)
        nowhere = name_of(destination, _ports(delivery.packet)[1])
        if hosts_of(self.state)[delivery.node].leads_inward(destination):
            return nowhere  # the node's stack lets nothing out of the bridge come back into it
        return underlay_names(self.state).get(destination, nowhere)

    def send(self, place: Place, packet: Packet) -> tuple[Delivery | None, Journey]:
        """The one delivery, if there is one, to a MAC that takes it."""
        journey = self.wires.inject(place.node, place.port, packet)
        if len(journey.deliveries) != 1:
            return None, journey
        (found,) = journey.deliveries
        wanted = self._place(found)
        headers = found.packet.headers
        is_taken = wanted is not None and (headers[ETH_DST], headers[ETH_SRC]) == (wanted.mac, GATEWAY_ETHER)
        return found if is_taken else None, journey

    def _place(self, delivery: Delivery) -> Place | None:
        if delivery.port == GATEWAY_PORT:
            return gateway(delivery.node)
        return self.places.get(self.end_at(delivery))

    def meet(self, connection: Connection, client_port: int) -> Meeting:
        """Request, answer, and each once more, for as long as they arrive as they should."""
        way = self.way(connection)
        if way is None:
            return Meeting(connection, None)
        meeting = Meeting(connection, way)
        packet, here = opening(way, connection, client_port), way.place
        for number, flags in enumerate(FLAGS):
            found, journey = self.send(here, packet)
            meeting = self._with(meeting, packet, journey)
            if found is None or not self._fits(meeting, number % 2 == 1, found, client_port):
                break
            place = self._place(found)
            assert place is not None
            reached, there = meeting.reached or self.end_at(found), meeting.there or place
            meeting = replace(meeting, reached=reached, there=there, passed=number + 1)
            packet, here = answer(found.packet, flags), place
        return meeting

    def _with(self, meeting: Meeting, packet: Packet, journey: Journey) -> Meeting:
        ends = {self.end_at(each) for each in journey.deliveries}
        seen = {end for end in ends if "/" in end or is_outside(end) or " port " in end}
        return replace(
            meeting,
            sent=(*meeting.sent, packet),
            journeys=(*meeting.journeys, journey),
            seen_by=meeting.seen_by | seen,
        )

    def _fits(self, meeting: Meeting, is_answer: bool, found: Delivery, client_port: int) -> bool:
        """Whether the packet came where it belongs, between the addresses and ports that its receiver should see."""
        way, connection = meeting.way, meeting.connection
        assert way is not None
        ends, ports = addresses_in(found.packet), _ports(found.packet)
        if is_answer:
            wanted = (connection.port, client_port) if connection.port else ports
            return found[:2] == way.place[:2] and (ends, ports) == ((way.called, way.own), wanted)
        if meeting.there is not None and found[:2] != meeting.there[:2]:
            return False
        if found.port == GATEWAY_PORT:
            source = outward(way.place.port, connection.family)
            return found.node == way.place.node and ends[0] == source
        return ends[0] == self._seen_as(way, connection, found)

    def _seen_as(self, way: Way, connection: Connection, found: Delivery) -> Address:
        """The address of who calls, as the pod that is reached sees it."""
        if addresses_in(found.packet)[1] != way.own:
            return way.own
        is_itself = self.end_at(found) == connection.source
        return (HAIRPIN_SOURCE if is_itself else TWIN_SOURCE)[connection.family]

    def goes_on(self, meeting: Meeting) -> tuple[bool, bool]:
        """Whether the next packet of the one who called, and of the other, arrives there now, and nowhere else."""
        assert meeting.is_whole, meeting.connection
        assert meeting.way is not None
        assert meeting.there is not None
        there, back = (
            self.send(place, packet)[0]
            for place, packet in zip((meeting.way.place, meeting.there), meeting.sent[2:], strict=True)
        )
        return (
            there is not None and there[:2] == meeting.there[:2],
            back is not None and back[:2] == meeting.way.place[:2],
        )

    def heard(self, meeting: Meeting, now: ClusterState) -> Iterator[str]:
        """Who gets the next packets of both sides; but for what starts another connection, as the state that is in force ``now`` allows."""
        assert meeting.is_whole, meeting.connection
        assert meeting.way is not None
        assert meeting.there is not None
        for place, packet in zip((meeting.way.place, meeting.there), meeting.sent[2:], strict=True):
            for each in self.wires.inject(place.node, place.port, packet).deliveries:
                if place is meeting.way.place or not self._is_another(meeting, each, now):
                    yield f"port {each.port} of {each.node}"

    def _is_another(self, meeting: Meeting, found: Delivery, now: ClusterState) -> bool:
        """Whether what a pod answered is a datagram of its own to the world outside, as which it then looks."""
        was, there = meeting.connection, meeting.there
        assert there is not None
        started = replace(was, source=meeting.reached, destination=was.source)
        return (
            was.protocol is Protocol.UDP
            and found[:2] == (there.node, GATEWAY_PORT)
            and addresses_in(found.packet)[0] == outward(there.port, was.family)
            and verdict(now, started).allowed
        )

    def strangers(self, meeting: Meeting, backends: tuple[str, ...]) -> list[str]:
        """Who heard of it and should not: neither of its ends, nor a pod that the called address means as well."""
        connection = meeting.connection
        called = set(addresses_of(self.state, connection.destination))
        return sorted(
            each
            for each in meeting.seen_by - {connection.source, *backends}
            if not (
                each in self.state.endpoint_by_id
                and called & set(self.state.endpoint_by_id[each].addresses)
                and verdict(self.state, replace(connection, destination=each)).allowed
            )
        )


def opening(way: Way, connection: Connection, client_port: int) -> Packet:
    """The first packet, as it comes into the bridge."""
    ends = Ends(way.place.mac, GATEWAY_ETHER, way.own, way.called)
    match connection.protocol:
        case Protocol.UDP:
            return Packet.udp(ends, (client_port, connection.port), b"datagram")
        case Protocol.ICMP:
            return Packet.echo(ends, client_port, b"echo")
    return Packet.tcp(ends, (client_port, connection.port), Tcp.SYN)


def _address(state: ClusterState, name: str, family: int) -> Address:
    return next(each for each in addresses_of(state, name) if each.version == family)


def _ports(packet: Packet) -> tuple[int, int]:
    """Source and destination; of an echo its identifier, twice."""
    ports = port_fields(packet.protocol or 0)
    if ports is None:
        return packet.icmp_id, packet.icmp_id
    return packet.headers[ports[0]], packet.headers[ports[1]]
