"""Judges of thieves with an end outside: who has no part in a connection does not get any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beyond import Beyond, gateway, outward
from judges import ADDRESSES
from outside_arena import HTTP, NETWORKS, OUTER
from outside_liars import framed, of
from outside_revocation import tcp, udp
from states import TCP_PORT, UDP_PORT

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_SRC, ETH_TYPE, TUN_ID, TUN_SRC
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends, address_fields
from lace_sdn.pipeline.constants import GATEWAY_ETHER, GATEWAY_PORT, TUNNEL_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beyond import Meeting
    from judges import Compile, Lab

CLIENT = 37000


def thieves_outside(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Equal tuples from other networks, from other gateways, and answers to another pod's or node's address."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    for family in (4, 6):
        for make, port in ((tcp, HTTP), (udp, UDP_PORT)):
            held = stage.meet(make("pods/ann0", "host corp0", port, family), CLIENT)
            yield from _in_an_outward_one(stage, held)
        for protocol in (tcp, udp):
            port = TCP_PORT if protocol is tcp else UDP_PORT
            for pod in ("bob0", "bob1"):
                held = stage.meet(protocol("host corp0", f"pods/{pod}", port, family), CLIENT)
                yield from _in_an_inward_one(stage, held)
        yield from _behind_a_vip(stage, family)
        yield from _in_a_probe(stage, family)


def _heard(stage: Beyond, place: tuple[str, int], packet: Packet, what: str) -> Iterator[str]:
    for each in stage.wires.inject(*place, packet).deliveries:
        yield f"{what} arrives at port {each.port} of {each.node}"


def _lives(stage: Beyond, held: Meeting) -> Iterator[str]:
    if stage.goes_on(held) != (True, True):
        yield f"{held.connection}: disturbed by thieves"


def _in_an_outward_one(stage: Beyond, held: Meeting) -> Iterator[str]:
    """dan0 has ann0's address, and may not call corp."""
    connection = held.connection
    if not held.is_whole or held.way is None:
        yield f"{connection}: never made"
        return
    twin, family, what = stage.places["pods/dan0"], connection.family, f"in {connection}: "
    for packet in held.sent[::2]:
        frame = packet.with_headers({ETH_SRC: twin.mac})
        yield from _heard(stage, twin[:2], frame, f"{what}dan0's packet")
    back = held.sent[3]
    source, destination = address_fields(back.headers[ETH_TYPE])
    others = {
        "an answer to dan0's port": (gateway("node0"), outward(twin.port, family)),
        "an answer to ann0 itself": (gateway("node0"), of("ann0", family)),
        "an answer by another node": (gateway("node1"), outward(held.way.place.port, family)),
    }
    for kind, (entry, address) in others.items():
        yield from _heard(stage, entry[:2], back.with_headers({destination: int(address)}), what + kind)
    another = back.with_headers({source: int(of("host net", family))})
    yield from _heard(stage, gateway("node0")[:2], another, f"{what}an answer of another host")
    yield from _lives(stage, held)


def _in_an_inward_one(stage: Beyond, held: Meeting) -> Iterator[str]:
    """Answers come from the pod that was called, by its own port or by a tunnel from its node."""
    connection = held.connection
    if not held.is_whole or held.way is None or held.there is None:
        yield f"{connection}: never made"
        return
    back = held.sent[3]
    for node in ("node0", "node1", "node2"):
        yield from _heard(
            stage,
            gateway(node)[:2],
            back.with_headers({ETH_SRC: gateway(node).mac}),
            f"{connection}: its answer by a gateway",
        )
    for what, source, outer in (
        ("of another Network", "eve", "node1"),
        ("of a Network outside", "corp", "node1"),
        ("from a stranger", "bob", "nobody"),
    ):
        tunnel = {TUN_SRC: int(ADDRESSES.get(outer, ADDRESSES["node0"] + 76)), TUN_ID: NETWORKS["corp"].key}
        frame = framed(back, source, 0)
        for each in stage.wires.inject("node0", TUNNEL_PORT, frame, tunnel).deliveries:
            yield f"{connection}: its answer in a frame {what} arrives at port {each.port} of {each.node}"
    yield from _lives(stage, held)


def _behind_a_vip(stage: Beyond, family: int) -> Iterator[str]:
    """Who may use a VIP does not reach the endpoint itself, not even with the addresses and ports of its connection."""
    connection = tcp("host net", "service pods/web", 80, family)
    met = stage.meet(connection, CLIENT)
    if not met.is_whole or met.there is None:
        yield f"{connection}: never made"
        return
    for node in ("node0", "node1", "node2"):
        entry = gateway(node)
        for flags in (Tcp.SYN, Tcp.ACK):
            ends = Ends(
                entry.mac,
                GATEWAY_ETHER,
                of("host net", family),
                of(met.reached.removeprefix("pods/"), family),
            )
            packet = Packet.tcp(ends, (CLIENT, TCP_PORT), flags)
            yield from _heard(stage, entry[:2], packet, f"{connection}: past the VIP by {node}, a packet")
    yield from _lives(stage, met)


def _in_a_probe(stage: Beyond, family: int) -> Iterator[str]:
    """The node's probe is its own: the same packet by another node's gateway is none."""
    connection = tcp("node node0", "pods/bob0", TCP_PORT, family)
    held = stage.meet(connection, CLIENT)
    if not held.is_whole:
        yield f"{connection}: never made"
        return
    for node in ("node1", "node2"):
        for packet in held.sent[::2]:
            yield from _heard(stage, gateway(node)[:2], packet, f"{connection}: a probe by {node}")
    frame = framed(held.sent[0], "base", 0)
    tunnel = {TUN_SRC: int(ADDRESSES["node1"]), TUN_ID: NETWORKS["bob"].key}
    for each in stage.wires.inject("node0", TUNNEL_PORT, frame, tunnel).deliveries:
        yield f"{connection}: a frame with it arrives at port {each.port} of {each.node}"
    yield from _lives(stage, held)


def who_enters_elsewhere(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Another node sends a packet of a connection: a stream is followed there, a datagram is another connection and disturbs none."""
    stage = Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))
    for number, (connection, entry) in enumerate(
        (each, entry)
        for family in (4, 6)
        for each, entry in (
            (tcp("host corp2", "pods/bob0", TCP_PORT, family), "node1"),
            (udp("host corp2", "pods/bob0", UDP_PORT, family), "node1"),
            (udp("host lan", "service pods/dns", 53, family), "node0"),
        )
    ):
        held = stage.meet(connection, CLIENT + number)
        if not held.is_whole or held.there is None:
            yield f"{connection}: never made"
            continue
        stage.wires.inject(entry, GATEWAY_PORT, held.sent[2])
        (answered,) = stage.wires.inject(held.there.node, held.there.port, held.sent[3]).deliveries
        assert held.way is not None
        expected = entry if connection.protocol is Protocol.TCP else held.way.place.node
        if answered[:2] != (expected, GATEWAY_PORT):
            yield f"{connection}: its answers go to {answered.node} when {entry} sends a packet of it"
