"""Conversations between the pods of a state, over simulated bridges or real ones: what is sent, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lace_sdn.model import objects
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, ETH_TYPE, EthType, Field
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Fabric, Packet, Tcp, Tracker
from lace_sdn.openflow.simulator.packet import Ends, address_fields, icmp_form, port_fields
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, offline_ports
from lace_sdn.pipeline.constants import GATEWAY_ETHER, GATEWAY_PORT, TUNNEL_PORT
from lace_sdn.policy.oracle import Connection, external_network, network_verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Endpoint
    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.openflow.simulator import Delivery
    from lace_sdn.openflow.simulator.fabric import Journey

CLIENT_PORT = 40000
"""The source port of a connection, and the identifier of an echo, unless said otherwise."""


class Place(NamedTuple):
    """Where an endpoint is: its node, the number of its port there, and its MAC."""

    node: str
    port: int
    mac: int


class Wires(Protocol):
    """Anything that packets can be put into."""

    def inject(
        self, node: str, port: int, packet: Packet, tunnel: Mapping[Field, int] | None = None
    ) -> Journey: ...

    def install(self, node: str, program: BridgeProgram) -> None: ...


class Sent(NamedTuple):
    """A packet of a conversation, where it should come out, and what came of it."""

    packet: Packet
    goal: Place
    journey: Journey

    @property
    def received(self) -> Packet | None:
        """The packet as the goal got it; None if it did not, or in a frame that a pod would not take."""
        return next(
            (
                each.packet
                for each in self.journey.deliveries
                if each[:2] == self.goal[:2]
                and each.packet.headers[ETH_DST] == self.goal.mac
                and each.packet.headers[ETH_SRC] == GATEWAY_ETHER
            ),
            None,
        )


def programs(state: ClusterState, wired: ClusterState | None = None) -> dict[str, BridgeProgram]:
    """Every node's program. Ports are numbered as if all pods of ``wired`` (``state``) were there."""
    cluster = Cluster.of(state)
    return {
        node.name: NodeCompiler(node.name).compile(cluster, offline_ports(wired or state, node.name))
        for node in state.nodes
    }


def places(state: ClusterState) -> dict[str, Place]:
    """Where each endpoint (by id) hangs."""
    return {
        endpoint: Place(node.name, port, parse_mac(state.endpoint_by_id[endpoint].mac))
        for node in state.nodes
        for endpoint, port in offline_ports(state, node.name).items()
    }


def simulated(
    state: ClusterState,
    installed: Mapping[str, BridgeProgram] | None = None,
    tracker: Tracker = Tracker.USERSPACE,
) -> Fabric:
    """Simulated bridges of all nodes, with ``installed`` or what ``state`` compiles to."""
    made = Fabric(TUNNEL_PORT, tracker)
    for node, program in (installed or programs(state)).items():
        made.add(node, state.node_by_name[node].addresses, program)
    return made


def address_of(endpoint: Endpoint, version: int) -> Address:
    return next(address for address in endpoint.addresses if address.version == version)


def ends_of(state: ClusterState, source: str, destination: str, version: int) -> Ends:
    """MACs and addresses of a packet that ``source`` sends to ``destination``, as it leaves the pod."""
    one, other = state.endpoint_by_id[source], state.endpoint_by_id[destination]
    return Ends(parse_mac(one.mac), GATEWAY_ETHER, address_of(one, version), address_of(other, version))


def opening(state: ClusterState, connection: Connection, client_port: int = CLIENT_PORT) -> Packet:
    """The first packet, as the source's pod sends it to its gateway."""
    ends = ends_of(state, connection.source, connection.destination, connection.family)
    match connection.protocol:
        case objects.Protocol.TCP:
            return Packet.tcp(ends, (client_port, connection.port), Tcp.SYN)
        case objects.Protocol.UDP:
            return Packet.udp(ends, (client_port, connection.port), b"datagram")
        case objects.Protocol.ICMP:
            return Packet.echo(ends, client_port, b"echo")


def answer(received: Packet, tcp_flags: int = Tcp.SYN | Tcp.ACK) -> Packet:
    """What the receiver of a packet sends back: everything turned round."""
    pairs = [(ETH_SRC, ETH_DST), address_fields(received.headers[ETH_TYPE])]
    ports = port_fields(received.protocol or 0)
    if ports is not None:
        pairs.append(ports)
    changed: dict[Field, int] = {}
    for one, other in pairs:
        changed |= {one: received.headers[other], other: received.headers[one]}
    form = icmp_form(4 if received.headers[ETH_TYPE] == EthType.IPV4 else 6)
    if form.type in received.headers:
        changed[form.type] = form.echo_reply if received.headers[form.type] == form.echo else form.echo
    flags = tcp_flags if received.tcp_flags else 0
    return replace(received.with_headers(changed), tcp_flags=flags, ttl=64)


@dataclass(frozen=True)
class Stage:
    """A state, the wires that carry its packets, and where its endpoints hang on them."""

    state: ClusterState
    wires: Wires
    places: Mapping[str, Place]

    @classmethod
    def of(cls, state: ClusterState, wires: Wires | None = None) -> Stage:
        """On simulated bridges, all up to date, unless ``wires`` are given."""
        return cls(state, wires or simulated(state), places(state))

    def send(self, source: str, destination: str, packet: Packet) -> Sent:
        """``packet`` from one endpoint (by id), meant for another."""
        entry, goal = self.places[source], self.places[destination]
        return Sent(packet, goal, self.wires.inject(entry.node, entry.port, packet))

    def converse(self, connection: Connection, client_port: int = CLIENT_PORT) -> tuple[Sent, ...]:
        """Request, answer, and each once more, for as long as they arrive: four packets when the connection works."""
        here, there = connection.source, connection.destination
        packet = opening(self.state, connection, client_port)
        sent: list[Sent] = []
        for flags in (Tcp.SYN | Tcp.ACK, Tcp.ACK, Tcp.ACK, Tcp.ACK):
            sent.append(self.send(here, there, packet))
            received = sent[-1].received
            if received is None:
                break
            packet, here, there = answer(received, flags), there, here
        return tuple(sent)

    def works(self, connection: Connection, client_port: int = CLIENT_PORT) -> bool:
        """Whether the conversation takes place, both ways."""
        return all(each.received is not None for each in self.converse(connection, client_port))

    def leaks(self, connection: Connection, sent: tuple[Sent, ...]) -> Iterator[tuple[str, Delivery]]:
        """Who else heard of it without right: not the meant one, nor one of the same address that may be reached.

        Where prefixes overlap, an address means another pod to this source: that is no leak if it may talk to it.
        """
        wanted = address_of(self.state.endpoint_by_id[connection.destination], connection.family)
        ids = {place[:2]: endpoint for endpoint, place in self.places.items()}
        for each in sent:
            for delivery in each.journey.deliveries:
                if delivery[:2] == each.goal[:2]:
                    continue
                if delivery.port == GATEWAY_PORT:
                    if not self.may_leave(connection.source, delivery.packet):
                        yield f"{delivery.node}'s own stack", delivery
                    continue
                other = ids[delivery[:2]]
                meant = replace(connection, destination=other)
                has_address = wanted in self.state.endpoint_by_id[other].addresses
                if not has_address or not verdict(self.state, meant).allowed:
                    yield other, delivery

    def may_leave(self, source: str, packet: Packet) -> bool:
        """Whether the world outside may get it: its address belongs to an external Network that the pod reaches."""
        _, destination = addresses_in(packet)
        network = external_network(self.state, destination)
        own = self.state.endpoint_by_id[source].network
        return bool(network) and network_verdict(self.state, own, network).allowed


def addresses_in(packet: Packet) -> tuple[Address, Address]:
    """Source and destination."""
    kind = IPv6Address if packet.is_ipv6 else IPv4Address
    source, destination = (packet.headers[field] for field in address_fields(packet.headers[ETH_TYPE]))
    return kind(source), kind(destination)
