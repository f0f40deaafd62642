"""A connection rehearsed: its first packet and the answer, run through the simulated bridges of a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, ETH_TYPE, IP_PROTO, IpProto
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Fabric, Packet, Tcp
from lace_sdn.openflow.simulator.fabric import Journey
from lace_sdn.openflow.simulator.packet import Ends, address_fields, icmp_form, port_fields
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, offline_ports
from lace_sdn.pipeline.constants import (
    GATEWAY_ETHER,
    GATEWAY_PORT,
    HOST_MAC,
    NODE_PORT_ADDRESS,
    OUTWARD_SOURCES,
    TUNNEL_PORT,
)
from lace_sdn.pipeline.host import HostProgram, NodePort, host_program
from lace_sdn.policy.ends import NODE_PREFIX, addresses_of, entry_node, is_outside, name_of, underlay_names
from lace_sdn.policy.oracle import node_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import Bucket, Group
    from lace_sdn.openflow.simulator import Delivery
    from lace_sdn.policy.oracle import Connection, Verdict

CLIENT_PORT = 40000
"""Source port of a rehearsed connection, and the identifier of a rehearsed echo."""
_NOBODY = " (nobody)"
MOST_CHOICES = 64
"""Of a Service's endpoints so many are rehearsed, evenly among all."""


@dataclass(frozen=True)
class Rehearsal:
    """``request`` and ``answer`` of one choice of endpoint; ``answer``: None if the packet reached nobody meant.

    ``seen_by``: the endpoints that first packets reached, over all choices; ``is_answered``: each choice reached one endpoint,
    whose answer came back as from the destination that was called. ``is_rejected``: refused with an answer.
    """

    request: Journey
    answer: Journey | None
    seen_by: tuple[str, ...]
    is_answered: bool
    is_rejected: bool = False
    reached: str = ""
    """The endpoint that ``request`` reached."""

    def agrees_with(self, connection: Connection, verdict: Verdict) -> bool:
        """Allowed: exactly the meant ends saw it and answered. Denied: the meant one did not, and was refused or not as meant.

        What a Service of a pod network names by an address instead of a pod is nowhere here and cannot answer.
        """
        if self.is_rejected != verdict.is_rejected:
            return False
        if not verdict.allowed:
            known = [each for each in self.seen_by if "/" in each or is_outside(each)]
            return not known if connection.service else connection.destination not in known
        here = tuple(
            each for each in verdict.backends if "/" in each or is_outside(each) or each in self.seen_by
        )
        return self.seen_by == here and (self.is_answered or here != verdict.backends)


@dataclass
class _Choosing:
    """Chooses buckets by a place between 0 and 1 among all the endpoints behind nested groups."""

    place: float
    choices: int = 1
    _rest: float = field(init=False)

    def __post_init__(self) -> None:
        self._rest = self.place

    def __call__(self, group: Group, _packet: Packet) -> Bucket:
        count = len(group.buckets)
        self.choices *= count
        index = min(int(self._rest * count), count - 1)
        self._rest = self._rest * count - index
        return group.buckets[index]


@dataclass(frozen=True)
class _Way:
    """Where a packet comes into a bridge, with which MAC, from which address and to which."""

    node: str
    port: int
    ether: int
    own: Address
    called: Address


@dataclass(frozen=True)
class Stage:
    """The bridges of a cluster as the compiler means them, with the ports that pods get when nobody has asked a switch.

    A node's own stack is only what it sends into its bridge, and whom it would hand what comes out.
    """

    state: ClusterState
    fabric: Fabric
    ports: Mapping[str, int]
    hosts: Mapping[str, HostProgram]

    @classmethod
    def of(cls, state: ClusterState, *, sctp: bool = True) -> Stage:
        """Nodes without an underlay address have no bridge. ``sctp``: whether datapaths track it by its ports."""
        cluster, fabric, ports = Cluster.of(state), Fabric(TUNNEL_PORT), {}
        for node in state.nodes:
            own = offline_ports(state, node.name)
            ports.update(own)
            if node.addresses:
                fabric.add(
                    node.name, node.addresses, NodeCompiler(node.name, sctp=sctp).compile(cluster, own)
                )
        return cls(
            state, fabric, ports, {node.name: host_program(cluster, node.name) for node in state.nodes}
        )

    def rehearse(self, connection: Connection) -> Rehearsal:
        """Nothing is remembered: every rehearsal starts without connections.

        Raises KeyError for an unknown end or Service, ValueError if one has no address of the connection's family.
        """
        way = self._way(connection)
        if way is None:
            return Rehearsal(Journey((), ()), None, (), is_answered=False)
        first, choices = self._try(connection, way, 0.0)
        count = min(choices, MOST_CHOICES)
        others = [self._try(connection, way, (index + 0.5) / count)[0] for index in range(1, count)]
        every = [first, *others]
        return Rehearsal(
            first.request,
            first.answer,
            tuple(sorted({seen for each in every for seen in each.seen_by})),
            all(each.is_answered for each in every),
            first.is_rejected,
            first.reached,
        )

    def _way(self, connection: Connection) -> _Way | None:
        """None: the node's own stack does not lead it into the bridge."""
        source, family = connection.source, connection.family
        own = _of_family(addresses_of(self.state, source), family, source)
        called = _of_family(addresses_of(self.state, connection.destination), family, connection.destination)
        if not is_outside(source):
            endpoint = self.state.endpoint_by_id[source]
            return _Way(endpoint.node, self.ports[source], parse_mac(endpoint.mac), own, called)
        if connection.destination.startswith(NODE_PREFIX):
            node = connection.destination.removeprefix(NODE_PREFIX)
            asked = NodePort(family, connection.protocol, connection.port)
            is_led = asked in self.hosts[node].node_ports
            called = NODE_PORT_ADDRESS[family]
        else:
            node = entry_node(self.state, source)
            is_led = self.hosts[node].leads_inward(called)
        return _Way(node, GATEWAY_PORT, parse_mac(HOST_MAC), own, called) if is_led else None

    def _try(self, connection: Connection, way: _Way, place: float) -> tuple[Rehearsal, int]:
        """With the endpoint at ``place`` among all of a Service; how many there are to choose from."""
        chooser = _Choosing(place)
        fabric = self.fabric.copy(chooser)
        request = fabric.inject(way.node, way.port, _request(way, connection))
        seen_by = tuple(self._end(each, way) for each in request.deliveries)
        is_rejected = bool(request.to_controller)
        found = next(
            (each for each in request.deliveries if self._is_meant(self._end(each, way), connection)), None
        )
        if found is None:
            return Rehearsal(
                request, None, seen_by, is_answered=False, is_rejected=is_rejected
            ), chooser.choices
        answerer = self._end(found, way)
        ether = HOST_MAC if found.port == GATEWAY_PORT else self.state.endpoint_by_id[answerer].mac
        answer = fabric.inject(found.node, found.port, answer_to(found.packet, parse_mac(ether)))
        returned = [(each.node, each.port, *_parties(each.packet)) for each in answer.deliveries]
        is_answered = returned == [(way.node, way.port, way.called, way.own)] and len(seen_by) == 1
        return Rehearsal(request, answer, seen_by, is_answered, is_rejected, answerer), chooser.choices

    def _is_meant(self, reached: str, connection: Connection) -> bool:
        is_service = bool(connection.service) or node_port(self.state, connection) is not None
        if is_service:
            return not reached.endswith(_NOBODY)
        return reached == connection.destination

    def _end(self, delivery: Delivery, way: _Way) -> str:
        """The end that gets what comes out of a port; ``NODE port N`` for a port without one."""
        nobody = f"{delivery.node} port {delivery.port}{_NOBODY}"
        if delivery.port != GATEWAY_PORT:
            return self._endpoints.get(delivery[:2], nobody)
        source, destination = _parties(delivery.packet)
        # Anything else than the address of the sender's port would not find back.
        expected = int(OUTWARD_SOURCES[source.version].network_address) + way.port
        if int(source) != expected or delivery.node != way.node:
            return nobody
        nowhere = name_of(destination, _called_port(delivery.packet))
        if self.hosts[delivery.node].leads_inward(destination):
            return nowhere  # the node's stack lets nothing out of the bridge come back into it
        return self._underlay.get(destination, nowhere)

    @cached_property
    def _endpoints(self) -> Mapping[tuple[str, int], str]:
        return {(each.node, self.ports[each.id]): each.id for each in self.state.endpoints}

    @cached_property
    def _underlay(self) -> Mapping[Address, str]:
        return underlay_names(self.state)


def _of_family(addresses: Iterable[Address], family: int, whose: str) -> Address:
    found = next((address for address in addresses if address.version == family), None)
    if found is None:
        raise ValueError(f"{whose} has no IPv{family} address")
    return found


def _request(way: _Way, connection: Connection) -> Packet:
    ends = Ends(way.ether, GATEWAY_ETHER, way.own, way.called)
    match connection.protocol:
        case Protocol.TCP:
            return Packet.tcp(ends, (CLIENT_PORT, connection.port), Tcp.SYN)
        case Protocol.UDP:
            return Packet.udp(ends, (CLIENT_PORT, connection.port))
        case Protocol.SCTP:
            return Packet.sctp(ends, (CLIENT_PORT, connection.port))
        case Protocol.ICMP:
            return Packet.echo(ends, CLIENT_PORT)


def answer_to(received: Packet, ether: int) -> Packet:
    """What the stack of the receiver, whose MAC is ``ether``, would send back for the packet it received."""
    source, destination = address_fields(received.headers[ETH_TYPE])
    headers = received.headers
    changed = {
        ETH_SRC: ether,
        ETH_DST: GATEWAY_ETHER,
        source: headers[destination],
        destination: headers[source],
    }
    ports = port_fields(headers[IP_PROTO])
    if ports is None:
        form = icmp_form(6 if received.is_ipv6 else 4)
        return received.with_headers({**changed, form.type: form.echo_reply})
    changed |= {ports[0]: headers[ports[1]], ports[1]: headers[ports[0]]}
    flags = Tcp.SYN | Tcp.ACK if headers[IP_PROTO] == IpProto.TCP else 0
    return replace(received.with_headers(changed), tcp_flags=flags)


def _parties(packet: Packet) -> tuple[Address, Address]:
    """Source and destination."""
    source, destination = (packet.headers[field] for field in address_fields(packet.headers[ETH_TYPE]))
    kind = IPv6Address if packet.is_ipv6 else IPv4Address
    return kind(source), kind(destination)


def _called_port(packet: Packet) -> int:
    ports = port_fields(packet.headers[IP_PROTO])
    return packet.headers[ports[1]] if ports else 0
