"""A connection rehearsed: its first packet and the answer, run through the simulated bridges of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import IPV4_DST, IPV4_SRC, IPV6_DST, IPV6_SRC
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Fabric, Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends, icmp_form
from lace_sdn.pipeline.compiler import compile_node, offline_ports, underlay_address
from lace_sdn.pipeline.constants import GATEWAY_ETHER, TUNNEL_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Endpoint
    from lace_sdn.openflow.simulator import Delivery
    from lace_sdn.openflow.simulator.fabric import Journey
    from lace_sdn.policy.oracle import Connection

CLIENT_PORT = 40000
"""Source port of a rehearsed connection, and the identifier of a rehearsed echo."""


@dataclass(frozen=True)
class Rehearsal:
    """``seen_by``: the endpoints that the first packet reached. ``answer``: None if it did not reach the meant one."""

    request: Journey
    answer: Journey | None
    seen_by: tuple[str, ...]
    is_answered: bool

    def agrees_with(self, connection: Connection, *, allowed: bool) -> bool:
        """Allowed: only the meant endpoint saw it, and its answer returned. Denied: the meant one did not see it."""
        if allowed:
            return self.seen_by == (connection.destination,) and self.is_answered
        return connection.destination not in self.seen_by


@dataclass(frozen=True)
class Stage:
    """The bridges of a cluster as the compiler means them, with the ports that pods get when nobody has asked a switch."""

    state: ClusterState
    fabric: Fabric
    ports: Mapping[str, int]

    @classmethod
    def of(cls, state: ClusterState) -> Stage:
        """Nodes without an underlay address have no bridge."""
        fabric, ports = Fabric(TUNNEL_PORT), {}
        for node in state.nodes:
            address = underlay_address(state, node.name)
            own = offline_ports(state, node.name)
            ports.update(own)
            if address is not None:
                fabric.add(node.name, address, compile_node(state, node.name, own))
        return cls(state, fabric, ports)

    def rehearse(self, connection: Connection) -> Rehearsal:
        """Nothing is remembered: every rehearsal starts without connections.

        Raises KeyError for an unknown endpoint, ValueError if one has no address of the connection's family.
        """
        fabric = self.fabric.copy()
        source = self.state.endpoint_by_id[connection.source]
        destination = self.state.endpoint_by_id[connection.destination]
        request = fabric.inject(source.node, self.ports[source.id], _request(source, destination, connection))
        seen_by = tuple(sorted(self._endpoint(each) for each in request.deliveries))
        arrived = [each for each in request.deliveries if self._endpoint(each) == destination.id]
        if not arrived:
            return Rehearsal(request, None, seen_by, is_answered=False)
        answer = fabric.inject(
            destination.node, self.ports[destination.id], _answer(arrived[0].packet, destination, connection)
        )
        returned = [self._endpoint(each) for each in answer.deliveries]
        return Rehearsal(request, answer, seen_by, is_answered=returned == [source.id])

    def _endpoint(self, delivery: Delivery) -> str:
        """The endpoint behind a port; ``NODE port N`` for a port without one."""
        for endpoint in self.state.endpoints:
            if endpoint.node == delivery.node and self.ports[endpoint.id] == delivery.port:
                return endpoint.id
        return f"{delivery.node} port {delivery.port}"


def _address(endpoint: Endpoint, family: int) -> Address:
    found = next((address for address in endpoint.addresses if address.version == family), None)
    if found is None:
        raise ValueError(f"{endpoint.id} has no IPv{family} address")
    return found


def _request(source: Endpoint, destination: Endpoint, connection: Connection) -> Packet:
    ends = Ends(
        parse_mac(source.mac),
        GATEWAY_ETHER,
        _address(source, connection.family),
        _address(destination, connection.family),
    )
    match connection.protocol:
        case Protocol.TCP:
            return Packet.tcp(ends, (CLIENT_PORT, connection.port), Tcp.SYN)
        case Protocol.UDP:
            return Packet.udp(ends, (CLIENT_PORT, connection.port))
        case Protocol.ICMP:
            return Packet.echo(ends, CLIENT_PORT)


def _answer(received: Packet, sender: Endpoint, connection: Connection) -> Packet:
    """What the pod's own stack would send back for the packet it received."""
    version = connection.family
    client, own = (
        received.headers[each] for each in ((IPV4_SRC, IPV4_DST) if version == 4 else (IPV6_SRC, IPV6_DST))
    )
    as_address = IPv4Address if version == 4 else IPv6Address
    ends = Ends(parse_mac(sender.mac), GATEWAY_ETHER, as_address(own), as_address(client))
    match connection.protocol:
        case Protocol.TCP:
            return Packet.tcp(ends, (connection.port, CLIENT_PORT), Tcp.SYN | Tcp.ACK)
        case Protocol.UDP:
            return Packet.udp(ends, (connection.port, CLIENT_PORT))
        case Protocol.ICMP:
            form = icmp_form(connection.family)
            return Packet.echo(ends, CLIENT_PORT).with_headers({form.type: form.echo_reply})
