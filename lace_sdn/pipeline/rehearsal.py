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
from lace_sdn.openflow.simulator.packet import Ends, address_fields, icmp_form, port_fields
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, offline_ports, underlay_address
from lace_sdn.pipeline.constants import GATEWAY_ETHER, TUNNEL_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Endpoint
    from lace_sdn.openflow.flow import Bucket, Group
    from lace_sdn.openflow.simulator import Delivery
    from lace_sdn.openflow.simulator.fabric import Journey
    from lace_sdn.policy.oracle import Connection, Verdict

CLIENT_PORT = 40000
"""Source port of a rehearsed connection, and the identifier of a rehearsed echo."""
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
        """Allowed: exactly the meant endpoints saw it and answered. Denied: the meant one did not, and was refused or not as meant.

        What a Service names by an address instead of a pod is nowhere here and cannot answer.
        """
        if self.is_rejected != verdict.is_rejected:
            return False
        if not verdict.allowed:
            return not self.seen_by if connection.service else connection.destination not in self.seen_by
        here = tuple(each for each in verdict.backends if "/" in each)
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
class Stage:
    """The bridges of a cluster as the compiler means them, with the ports that pods get when nobody has asked a switch."""

    state: ClusterState
    fabric: Fabric
    ports: Mapping[str, int]

    @classmethod
    def of(cls, state: ClusterState, *, sctp: bool = True) -> Stage:
        """Nodes without an underlay address have no bridge. ``sctp``: whether datapaths track it by its ports."""
        cluster, fabric, ports = Cluster.of(state), Fabric(TUNNEL_PORT), {}
        for node in state.nodes:
            address = underlay_address(state, node.name)
            own = offline_ports(state, node.name)
            ports.update(own)
            if address is not None:
                fabric.add(node.name, address, NodeCompiler(node.name, sctp=sctp).compile(cluster, own))
        return cls(state, fabric, ports)

    def rehearse(self, connection: Connection) -> Rehearsal:
        """Nothing is remembered: every rehearsal starts without connections.

        Raises KeyError for an unknown endpoint or Service, ValueError if one has no address of the connection's family.
        """
        first, choices = self._try(connection, 0.0)
        count = min(choices, MOST_CHOICES)
        others = [self._try(connection, (index + 0.5) / count)[0] for index in range(1, count)]
        every = [first, *others]
        return Rehearsal(
            first.request,
            first.answer,
            tuple(sorted({seen for each in every for seen in each.seen_by})),
            all(each.is_answered for each in every),
            first.is_rejected,
            first.reached,
        )

    def _try(self, connection: Connection, place: float) -> tuple[Rehearsal, int]:
        """With the endpoint at ``place`` among all of a Service; how many there are to choose from."""
        chooser = _Choosing(place)
        fabric = self.fabric.copy(chooser)
        source = self.state.endpoint_by_id[connection.source]
        called = self._address(connection)
        request = fabric.inject(source.node, self.ports[source.id], _request(source, called, connection))
        seen_by = tuple(self._endpoint(each) for each in request.deliveries)
        is_rejected = bool(request.to_controller)
        found = next((each for each in request.deliveries if self._is_meant(each, connection)), None)
        if found is None:
            return Rehearsal(
                request, None, seen_by, is_answered=False, is_rejected=is_rejected
            ), chooser.choices
        sender = self.state.endpoint_by_id[self._endpoint(found)]
        answer = fabric.inject(sender.node, self.ports[sender.id], answer_to(found.packet, sender))
        returned = [(self._endpoint(each), _sender_of(each.packet)) for each in answer.deliveries]
        is_answered = returned == [(source.id, called)] and len(seen_by) == 1
        return Rehearsal(request, answer, seen_by, is_answered, is_rejected, sender.id), chooser.choices

    def _address(self, connection: Connection) -> Address:
        """What the source calls."""
        if connection.service:
            service = self.state.service_by_id[connection.service]
            return _of_family(service.vips, connection.family, f"Service {service.id}")
        destination = self.state.endpoint_by_id[connection.destination]
        return _of_family(destination.addresses, connection.family, destination.id)

    def _is_meant(self, delivery: Delivery, connection: Connection) -> bool:
        reached = self._endpoint(delivery)
        return (
            reached == connection.destination
            if not connection.service
            else (reached in self.state.endpoint_by_id)
        )

    def _endpoint(self, delivery: Delivery) -> str:
        """The endpoint behind a port; ``NODE port N`` for a port without one."""
        return self._endpoints.get(delivery[:2], f"{delivery.node} port {delivery.port}")

    @cached_property
    def _endpoints(self) -> Mapping[tuple[str, int], str]:
        return {(each.node, self.ports[each.id]): each.id for each in self.state.endpoints}


def _of_family(addresses: Iterable[Address], family: int, whose: str) -> Address:
    found = next((address for address in addresses if address.version == family), None)
    if found is None:
        raise ValueError(f"{whose} has no IPv{family} address")
    return found


def _request(source: Endpoint, called: Address, connection: Connection) -> Packet:
    own = _of_family(source.addresses, connection.family, source.id)
    ends = Ends(parse_mac(source.mac), GATEWAY_ETHER, own, called)
    match connection.protocol:
        case Protocol.TCP:
            return Packet.tcp(ends, (CLIENT_PORT, connection.port), Tcp.SYN)
        case Protocol.UDP:
            return Packet.udp(ends, (CLIENT_PORT, connection.port))
        case Protocol.SCTP:
            return Packet.sctp(ends, (CLIENT_PORT, connection.port))
        case Protocol.ICMP:
            return Packet.echo(ends, CLIENT_PORT)


def answer_to(received: Packet, sender: Endpoint) -> Packet:
    """What the pod's own stack would send back for the packet it received."""
    source, destination = address_fields(received.headers[ETH_TYPE])
    headers = received.headers
    changed = {
        ETH_SRC: parse_mac(sender.mac),
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


def _sender_of(packet: Packet) -> Address:
    source, _ = address_fields(packet.headers[ETH_TYPE])
    number = packet.headers[source]
    return IPv6Address(number) if packet.is_ipv6 else IPv4Address(number)
