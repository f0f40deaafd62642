"""Conversations through VIPs: a pod calls a Service, whichever endpoint is reached answers, and so on."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from conversation import address_of, answer

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, ETH_TYPE
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends, address_fields, port_fields
from lace_sdn.pipeline.constants import GATEWAY_ETHER, GATEWAY_PORT

if TYPE_CHECKING:
    from conversation import Stage

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.simulator import Delivery
    from lace_sdn.openflow.simulator.fabric import Journey
    from lace_sdn.policy.oracle import Connection

WHOLE = 4
"""Packets of a conversation: request, answer, and each once more."""


def vip_of(state: ClusterState, connection: Connection) -> Address:
    vips = state.service_by_id[connection.service].vips
    return next(each for each in vips if each.version == connection.family)


def call(state: ClusterState, connection: Connection, client_port: int) -> Packet:
    """The first packet to a Service's VIP, as the source's pod sends it to its gateway."""
    source = state.endpoint_by_id[connection.source]
    own = address_of(source, connection.family)
    ends = Ends(parse_mac(source.mac), GATEWAY_ETHER, own, vip_of(state, connection))
    ports = (client_port, connection.port)
    if connection.protocol is Protocol.TCP:
        return Packet.tcp(ends, ports, Tcp.SYN)
    return Packet.udp(ends, ports, b"datagram")


@dataclass(frozen=True)
class Talk:
    """``reached``: the endpoint that the request came to, "" for none. ``passed``: how many packets arrived, in turn.

    ``forward`` and ``backward``: the next packets of both sides of a whole conversation. ``seen_by``: everybody whom any packet
    reached; ``is_rejected``: the request was handed to the controller.
    """

    reached: str
    passed: int
    seen_by: frozenset[str]
    is_rejected: bool
    journeys: tuple[Journey, ...]
    forward: Packet | None = None
    backward: Packet | None = None

    @property
    def is_whole(self) -> bool:
        return self.passed == WHOLE


def endpoint_at(stage: Stage, delivery: Delivery) -> str:
    """Its id; ``NODE port N`` where no endpoint is."""
    ids = {place[:2]: endpoint for endpoint, place in stage.places.items()}
    return ids.get(delivery[:2], f"{delivery.node} port {delivery.port}")


def sent_by(stage: Stage, source: str, packet: Packet) -> tuple[str, Packet | None, Journey]:
    """Who gets a packet of ``source``, how, and its journey; "" and None if not exactly one pod that would take it."""
    entry = stage.places[source]
    journey = stage.wires.inject(entry.node, entry.port, packet)
    if len(journey.deliveries) != 1:
        return "", None, journey
    (delivery,) = journey.deliveries
    reached = endpoint_at(stage, delivery)
    headers = delivery.packet.headers
    if reached not in stage.places:
        return "", None, journey
    if (headers[ETH_DST], headers[ETH_SRC]) != (stage.places[reached].mac, GATEWAY_ETHER):
        return "", None, journey
    return reached, delivery.packet, journey


def from_vip(packet: Packet, vip: Address, port: int) -> bool:
    """Whether the packet's source is the VIP and its port."""
    source, _ = address_fields(packet.headers[ETH_TYPE])
    number = packet.headers[source]
    address = IPv6Address(number) if packet.is_ipv6 else IPv4Address(number)
    ports = port_fields(packet.protocol or 0)
    return address == vip and ports is not None and packet.headers[ports[0]] == port


def talk(stage: Stage, connection: Connection, client_port: int) -> Talk:
    """For as long as packets arrive where they should: at one endpoint, and back at the client as from the VIP."""
    state, client = stage.state, connection.source
    vip = vip_of(state, connection)
    packet, here, reached = call(state, connection, client_port), client, ""
    journeys: list[Journey] = []
    arrived: list[Packet] = []
    for flags in (Tcp.SYN | Tcp.ACK, Tcp.ACK, Tcp.ACK, Tcp.ACK):
        at, received, journey = sent_by(stage, here, packet)
        journeys.append(journey)
        is_answer = len(journeys) % 2 == 0
        reached = reached or at
        if received is None or at != (client if is_answer else reached):
            break
        if is_answer and not from_vip(received, vip, connection.port):
            break
        arrived.append(packet)
        packet, here = answer(received, flags), at
    seen = frozenset(
        endpoint_at(stage, each)
        for journey in journeys
        for each in journey.deliveries
        # To a network that may not use it a VIP is an address like any other, which the world outside may have.
        if each.port != GATEWAY_PORT or not stage.may_leave(client, each.packet)
    )
    whole = len(arrived) == WHOLE
    return Talk(
        reached,
        len(arrived),
        seen,
        bool(journeys[0].to_controller),
        tuple(journeys),
        arrived[2] if whole else None,
        arrived[3] if whole else None,
    )


def passes(stage: Stage, client: str, server: str, packets: tuple[Packet, Packet]) -> tuple[bool, bool]:
    """Whether the next packet of the client, and of the server, arrives at the other now."""
    forward, backward = packets
    return sent_by(stage, client, forward)[0] == server, sent_by(stage, server, backward)[0] == client


def refused(stage: Stage, connection: Connection, client_port: int) -> tuple[Journey, ...]:
    """A datagram through a VIP, and the ICMP error of the endpoint that does not listen, if one was reached."""
    reached, received, there = sent_by(stage, connection.source, call(stage.state, connection, client_port))
    if received is None:
        return (there,)
    source, destination = (received.headers[each] for each in address_fields(received.headers[ETH_TYPE]))
    address = IPv6Address if received.is_ipv6 else IPv4Address
    ends = Ends(stage.places[reached].mac, GATEWAY_ETHER, address(destination), address(source))
    _, _, back = sent_by(stage, reached, Packet.unreachable(ends, received))
    return there, back


def is_told_by_vip(stage: Stage, connection: Connection, journeys: tuple[Journey, ...]) -> bool:
    """Whether the client, and it alone, hears of the error, as from the VIP and about what it had sent there."""
    vip = vip_of(stage.state, connection)
    arrived = journeys[-1].deliveries
    if [endpoint_at(stage, each) for each in arrived] != [connection.source]:
        return False
    (error,) = (each.packet for each in arrived)
    if error.quoted is None:
        return False
    source, destination = address_fields(error.headers[ETH_TYPE])
    ports = port_fields(error.quoted.protocol or 0)
    return (
        error.headers[source] == int(vip) == error.quoted.headers[destination]
        and ports is not None
        and error.quoted.headers[ports[1]] == connection.port
    )
