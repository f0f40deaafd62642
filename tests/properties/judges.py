"""Judges of the arena: each says, in sentences, what a compiler's tables do wrong there. A sound compiler gets none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arena import ARENA, NETWORKS, without_policy
from conversation import Stage, address_of, answer, opening
from states import TCP_PORT, UDP_PORT, connections

from lace_sdn.model import objects
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, IPV4_SRC, TUN_ID, TUN_SRC, Field
from lace_sdn.openflow.simulator import Packet, SimulationError, Tcp
from lace_sdn.openflow.simulator.packet import port_fields
from lace_sdn.pipeline.constants import GATEWAY_IPV4, TUNNEL_DESTINATION, TUNNEL_PORT, TUNNEL_SOURCE
from lace_sdn.policy.oracle import Connection, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conversation import Wires

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.openflow.simulator.fabric import Journey

    Compile = Callable[[ClusterState, ClusterState], Mapping[str, BridgeProgram]]

WHOLE = 4
"""Packets of a conversation that works."""
CLIENT = 33000
ADDRESSES = {node.name: node.addresses[0] for node in ARENA.nodes}


class Lab(Protocol):
    """Gives bridges with these programs, and no connections."""

    def __call__(self, installed: Mapping[str, BridgeProgram]) -> Wires: ...


def _stage(lab: Lab, compile_all: Compile) -> Stage:
    return Stage.of(ARENA, lab(compile_all(ARENA, ARENA)))


def tcp(source: str, destination: str, family: int = 4) -> Connection:
    return Connection(f"pods/{source}", f"pods/{destination}", objects.Protocol.TCP, TCP_PORT, family)


def udp(source: str, destination: str, family: int = 4) -> Connection:
    return Connection(f"pods/{source}", f"pods/{destination}", objects.Protocol.UDP, UDP_PORT, family)


def theorem(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Oracle and bridges agree about every connection, and nobody overhears one."""
    stage = _stage(lab, compile_all)
    chosen = [each for each in connections(ARENA) if each.protocol is objects.Protocol.TCP]
    for number, connection in enumerate(chosen):
        said = verdict(ARENA, connection).allowed
        sent = stage.converse(connection, 10000 + number)
        if all(each.received is not None for each in sent) != said:
            yield f"{connection}: {'allowed' if said else 'denied'}, but packet {len(sent)} says otherwise"
        yield from (f"{connection}: {other} overhears it" for other, _ in stage.leaks(connection, sent))


def twins(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Connections with equal addresses and ports, in different networks, do not know of each other."""
    stage = _stage(lab, compile_all)
    for one, other in (
        (tcp("ann0", "bob1"), tcp("fay0", "bot1")),
        (udp("ann0", "bob1"), udp("fay0", "bot1")),
    ):
        here = stage.converse(one, CLIENT)
        there = stage.converse(other, CLIENT)
        again = stage.send(one.source, one.destination, here[-1].packet if len(here) % 2 else here[0].packet)
        for connection, sent in ((one, here), (other, there), (one, (again,))):
            if any(each.received is None for each in sent):
                yield f"{connection}: lost beside its twin"


def pods_that_lie(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Forged frames of a pod reach nobody; honest ARP is answered."""
    stage = _stage(lab, compile_all)
    honest = opening(ARENA, udp("xen0", "xen2"), CLIENT)
    abroad = opening(ARENA, udp("xen0", "bob0"), CLIENT)
    forged: dict[str, tuple[Packet, Mapping[Field, int]]] = {
        "another address": (honest, {IPV4_SRC: honest.headers[IPV4_SRC] + 70}),
        "another MAC": (honest, {ETH_SRC: 0x020000000077}),
        "the MAC of a tunnel from ann": (abroad, {ETH_SRC: TUNNEL_SOURCE | NETWORKS["ann"].key}),
        "the MACs of a tunnel from ann": (
            abroad,
            {ETH_SRC: TUNNEL_SOURCE | NETWORKS["ann"].key, ETH_DST: TUNNEL_DESTINATION},
        ),
        "a frame past the gateway": (honest, {ETH_DST: stage.places["pods/xen2"].mac}),
    }
    for what, (packet, lie) in forged.items():
        journey = stage.send("pods/xen0", "pods/xen2", packet.with_headers(lie)).journey
        yield from _arrivals(journey, f"a pod's packet with {what}")
    yield from _arp(stage)


def _arp(stage: Stage) -> Iterator[str]:
    place, own = stage.places["pods/xen0"], address_of(ARENA.endpoint_by_id["pods/xen0"], 4)
    assert own.version == 4
    journey = stage.wires.inject(place.node, place.port, Packet.arp_request(place.mac, own, GATEWAY_IPV4))
    if [each[:2] for each in journey.deliveries] != [place[:2]]:
        yield "an honest ARP request for the gateway is not answered to who asks"
    lie = stage.wires.inject(place.node, place.port, Packet.arp_request(place.mac, own + 70, GATEWAY_IPV4))
    yield from _arrivals(lie, "an ARP request with another's address")


def tunnels_that_lie(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Forged tunnel packets reach nobody, and none is sent on."""
    stage = _stage(lab, compile_all)
    node1, bob = int(ADDRESSES["node1"]), NETWORKS["bob"].key
    good = _inner(opening(ARENA, udp("ann1", "bob0"), CLIENT), "ann")
    refused = _inner(opening(ARENA, udp("xen0", "bob0"), CLIENT), "xen")
    onward = _inner(opening(ARENA, udp("ann1", "cat2"), CLIENT), "ann")
    forged: dict[str, tuple[Packet, dict[Field, int]]] = {
        "a foreign source": (good, {TUN_SRC: node1 + 70, TUN_ID: bob}),
        "an unknown key": (good, {TUN_SRC: node1, TUN_ID: 0x999}),
        "the key of another network": (good, {TUN_SRC: node1, TUN_ID: NETWORKS["ann"].key}),
        "a network that may not": (refused, {TUN_SRC: node1, TUN_ID: bob}),
        "a pod's source MAC": (
            good.with_headers({ETH_SRC: 0x020000000000 | NETWORKS["ann"].key}),
            {TUN_SRC: node1, TUN_ID: bob},
        ),
        "a destination on a third node": (onward, {TUN_SRC: node1, TUN_ID: NETWORKS["cat"].key}),
    }
    for what, (packet, tunnel) in forged.items():
        journey = stage.wires.inject("node0", TUNNEL_PORT, packet, tunnel)
        yield from _arrivals(journey, f"a tunnel packet with {what}")
        if len(journey.passages) != 1:
            yield f"a tunnel packet with {what} is sent on to another node"
    honest = stage.wires.inject("node0", TUNNEL_PORT, good, {TUN_SRC: node1, TUN_ID: bob})
    if not honest.deliveries:
        yield "an honest tunnel packet is refused"


def _inner(packet: Packet, network: str) -> Packet:
    """The frame as an honest node would put it into a tunnel."""
    return packet.with_headers({ETH_SRC: TUNNEL_SOURCE | NETWORKS[network].key, ETH_DST: TUNNEL_DESTINATION})


def thieves(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Nobody enters a connection of others: not as its initiator, not with replies of another network."""
    stage = _stage(lab, compile_all)
    for make, server in ((tcp, "bob1"), (udp, "bob1"), (tcp, "bob0"), (udp, "bob0")):
        held = stage.converse(make("ann0", server), CLIENT)
        other = stage.send("pods/dan0", f"pods/{server}", opening(ARENA, make("dan0", server), CLIENT))
        if other.received is None:
            yield f"dan0, which has ann0's address and port, has no {make.__name__} connection to {server}"
        elif _source_port(other.received) == CLIENT:
            yield f"a packet of dan0 is one in ann0's {make.__name__} connection to {server}"
        if len(held) != WHOLE:
            yield f"ann0 has no whole {make.__name__} connection to {server}"
            continue
        ends = ("pods/ann0", f"pods/{server}")
        for (source, destination), sent in zip((ends, ends[::-1]), held[2:], strict=True):
            if stage.send(source, destination, sent.packet).received is None:
                yield f"ann0's {make.__name__} connection to {server} is disturbed by dan0"
    for make in (tcp, udp):
        request = opening(ARENA, make("ann0", "bob1"), CLIENT)
        tunnel = {TUN_SRC: int(ADDRESSES["node1"]), TUN_ID: NETWORKS["ann"].key}
        journey = stage.wires.inject("node0", TUNNEL_PORT, _inner(answer(request, Tcp.ACK), "cat"), tunnel)
        yield from _arrivals(
            journey, f"a {make.__name__} reply to ann0 that comes from another network than bob"
        )


def first_finding(judge: Callable[[Lab, Compile], Iterator[str]], lab: Lab, compile_all: Compile) -> str:
    """The first thing that ``judge`` says, "" for nothing. Tables that a switch or a kernel would refuse are found as well."""
    try:
        return next(judge(lab, compile_all), "")
    except SimulationError as error:
        return str(error)


def _source_port(packet: Packet) -> int:
    ports = port_fields(packet.protocol or 0)
    assert ports is not None
    return packet.headers[ports[0]]


def unasked(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Answers without a question pass nowhere, and a denied packet does not leave its node."""
    stage = _stage(lab, compile_all)
    for make, server in ((tcp, "bob1"), (udp, "bob1"), (tcp, "bob0"), (udp, "bob0")):
        packet = answer(opening(ARENA, make("ann0", server), CLIENT + 1))
        source = {ETH_SRC: stage.places[f"pods/{server}"].mac, ETH_DST: packet.headers[ETH_SRC]}
        sent = stage.send(f"pods/{server}", "pods/ann0", packet.with_headers(source))
        yield from _arrivals(sent.journey, f"an answer of {server} to no question of ann0")
    for number, connection in enumerate(_denied()):
        journey = stage.send(
            connection.source, connection.destination, opening(ARENA, connection, CLIENT + 100 + number)
        ).journey
        if len(journey.passages) != 1:
            yield f"{connection} is denied, and leaves its node"


def _denied() -> list[Connection]:
    """Whose address means nobody to the source."""
    pairs = (("xen0", "ann1"), ("bob0", "cat2"), ("bob1", "xen0"), ("dan0", "cat2"), ("fay0", "xen2"))
    return [tcp(*pair) for pair in pairs]


def revocation(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Without its policy a connection ends with its next packet, both ways, whichever end's node hears of it first."""
    removed = {
        "ann-to-bob": (tcp("ann0", "bob1"), udp("ann0b", "bob0"), udp("ann1", "bob0", 6)),
        "cat-to-bob": (tcp("cat2", "bob1"), udp("cat0", "bob0")),
    }
    for policy, affected in removed.items():
        old, new = compile_all(ARENA, ARENA), compile_all(without_policy(policy), ARENA)
        for node in ARENA.node_by_name:
            stage = Stage.of(ARENA, lab(old))
            live = [(each, stage.converse(each, CLIENT)) for each in affected]
            stage.wires.install(node, new[node])
            for connection, sent in live:
                ends = {stage.places[connection.source].node, stage.places[connection.destination].node}
                if node in ends and len(sent) == 4:
                    yield from _alive(stage, connection, (sent[2].packet, sent[3].packet))


def _alive(stage: Stage, connection: Connection, packets: tuple[Packet, Packet]) -> Iterator[str]:
    ends = (connection.source, connection.destination)
    for (source, destination), packet in zip((ends, ends[::-1]), packets, strict=True):
        if stage.send(source, destination, packet).received is not None:
            yield f"{connection}: {source} is still heard after the policy went"


def _arrivals(journey: Journey, what: str) -> Iterator[str]:
    for each in journey.deliveries:
        yield f"{what} arrives at port {each.port} of {each.node}"


JUDGES: tuple[Callable[[Lab, Compile], Iterator[str]], ...] = (
    theorem,
    twins,
    pods_that_lie,
    tunnels_that_lie,
    thieves,
    unasked,
    revocation,
)

__all__ = ["JUDGES", "Lab"]
