"""Judges of the arena with Services: each says, in sentences, what a compiler's tables do wrong there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arena import NETWORKS
from conversation import Stage, address_of, ends_of, opening
from judges import ADDRESSES
from service_arena import (
    SERVED,
    rebound,
    unlabelled,
    with_endpoints,
    without_admission,
    without_port,
    without_service,
    without_ways,
)
from service_states import service_connections
from states import TCP_PORT, UDP_PORT
from vips import call, from_vip, passes, sent_by, talk

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, ETH_TYPE, TUN_ID, TUN_SRC
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import address_fields
from lace_sdn.pipeline.constants import TUNNEL_DESTINATION, TUNNEL_PORT, TUNNEL_SOURCE
from lace_sdn.policy.ends import SERVICE_PREFIX
from lace_sdn.policy.numbers import numbers
from lace_sdn.policy.oracle import Connection, verdict
from lace_sdn.policy.services import port_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from judges import Compile, Lab
    from vips import Talk

    from lace_sdn.model.cluster import ClusterState

CLIENT = 33000
IDS = numbers(port_name(service, port) for service in SERVED.services for port in service.ports)


def _stage(lab: Lab, compile_all: Compile) -> Stage:
    return Stage.of(SERVED, lab(compile_all(SERVED, SERVED)))


def to(source: str, service: str, protocol: Protocol, port: int, family: int = 4) -> Connection:
    return Connection(f"pods/{source}", SERVICE_PREFIX + service, protocol, port, family)


def theorem_of_services(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Oracle and bridges agree about every connection to a Service: who answers, as whom, and who hears of it."""
    stage = _stage(lab, compile_all)
    unknown = [
        to(client, "pods/bob-all", protocol, 443)
        for client in ("xen0", "ann0", "dan0")
        for protocol in (Protocol.TCP, Protocol.UDP)
    ]
    for number, connection in enumerate((*service_connections(SERVED), *unknown)):
        said = verdict(SERVED, connection)
        held = talk(stage, connection, 10000 + number)
        if held.is_whole != said.allowed:
            yield f"{connection}: {said.reason}; but {held.passed} packets pass"
        strangers = held.seen_by - {connection.source, *said.backends}
        yield from (f"{connection}: {each} hears of it" for each in sorted(strangers))
        if said.is_rejected != held.is_rejected:
            yield f"{connection}: {said.reason}; refused: {held.is_rejected}"
        if any(_is_from_itself(each.packet) for each in held.journeys[0].deliveries):
            yield f"{connection}: the endpoint sees itself as the client"
        if said.allowed and held.forward is not None and held.backward is not None:
            ends = (connection.source, held.reached)
            if passes(stage, *ends, (held.forward, held.backward)) != (True, True):
                yield f"{connection}: ends after four packets"


def _is_from_itself(packet: Packet) -> bool:
    source, destination = address_fields(packet.headers[ETH_TYPE])
    return packet.headers[source] == packet.headers[destination]


def pods_behind_vips(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """A client that was admitted to services reaches no pod behind them, also while it talks to that very pod."""
    stage = _stage(lab, compile_all)
    for client, service, protocol, port in (
        ("xen0", "pods/bob-all", Protocol.TCP, 80),
        ("xen2", "pods/bob-all", Protocol.UDP, 53),
    ):
        held = talk(stage, to(client, service, protocol, port), CLIENT)
        for server in ("pods/bob0", "pods/bob1"):
            for asked, number in ((Protocol.TCP, TCP_PORT), (Protocol.UDP, UDP_PORT), (Protocol.ICMP, 0)):
                direct = Connection(f"pods/{client}", server, asked, number)
                for source_port in (CLIENT, CLIENT + 1):
                    if stage.converse(direct, source_port)[0].received is not None:
                        yield f"{direct}: passes, and only the VIP is open"
        if held.forward and held.backward:
            ends = (f"pods/{client}", held.reached)
            if passes(stage, *ends, (held.forward, held.backward)) != (True, True):
                yield f"{client}: its connection to {service} is disturbed by what it may not"


def frames_that_claim_a_vip(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """A tunnelled frame opens only the endpoint of the Service's port that it names, if its network may use that."""
    stage = _stage(lab, compile_all)
    dns, http, inner = (
        IDS[name] for name in ("pods/bob-all UDP 53", "pods/bob-all TCP 80", "inner/bob-inner TCP 81")
    )
    udp = opening(SERVED, Connection("pods/xen2", "pods/bob1", Protocol.UDP, UDP_PORT), CLIENT)
    tcp = opening(SERVED, Connection("pods/xen2", "pods/bob0", Protocol.TCP, TCP_PORT), CLIENT)
    other_port = Packet.tcp(ends_of(SERVED, "pods/xen2", "pods/bob0", 4), (CLIENT, 22), Tcp.SYN)
    to_bystander = Packet.tcp(ends_of(SERVED, "pods/xen2", "pods/bystander", 4), (CLIENT, TCP_PORT), Tcp.SYN)
    bob1, bob0 = "node1", "node0"
    forged: dict[str, tuple[str, Packet, int]] = {
        "no Service": (bob0, tcp, 0),
        "an unknown Service": (bob0, tcp, 0x123),
        "the Service's other port": (bob0, tcp, dns),
        "a Service of a Namespace that is not admitted": (bob0, tcp, inner),
        "another port of the endpoint": (bob0, other_port, http),
        "a pod that is no endpoint of it": (bob0, to_bystander, http),
    }
    for what, (node, packet, number) in forged.items():
        for each in _tunnelled(stage, node, packet, number):
            yield f"a frame that claims {what} arrives at {each}"
    if not list(_tunnelled(stage, bob1, udp, dns)):
        yield "an honest frame through a VIP is refused"


def _tunnelled(stage: Stage, node: str, packet: Packet, number: int) -> Iterator[str]:
    """Where a frame of xen2 arrives that says it came by the Service's port ``number``."""
    frame = packet.with_headers(
        {ETH_SRC: TUNNEL_SOURCE | NETWORKS["xen"].key, ETH_DST: TUNNEL_DESTINATION | number}
    )
    tunnel = {TUN_SRC: int(ADDRESSES["node2"]), TUN_ID: NETWORKS["bob"].key}
    for each in stage.wires.inject(node, TUNNEL_PORT, frame, tunnel).deliveries:
        yield f"port {each.port} of {each.node}"


def datagrams_before_an_answer(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """They are all translated, to one endpoint."""
    stage = _stage(lab, compile_all)
    for client in ("xen0", "xen2", "ann0", "bob0", "bob1"):
        connection = to(client, "pods/bob-all", Protocol.UDP, 53)
        packet = call(SERVED, connection, CLIENT)
        reached = [sent_by(stage, connection.source, packet)[0] for _ in range(4)]
        if reached != ["pods/bob1"] * 4:
            yield f"{connection}: four datagrams without an answer reach {reached}"


def half_made_connections(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """What was translated and then went nowhere is admitted when the client tries again, if its node still lets it; and only then."""
    asked = (
        to("xen0", "pods/bob-all", Protocol.UDP, 53),
        to("fay99", "pods/dan-far", Protocol.TCP, 80),
        to("ann0", "inner/bob-inner", Protocol.TCP, 81),
        to("ann1", "inner/bob-inner", Protocol.TCP, 81),
    )
    early = compile_all(without_ways(), SERVED)
    for connection in asked:
        packet = call(SERVED, connection, CLIENT)
        for state, what in ((SERVED, "is lost"), (without_admission("xen-uses-bob"), "passes without right")):
            stage = Stage.of(SERVED, lab(early))
            if sent_by(stage, connection.source, packet)[0]:
                yield f"{connection}: reaches somebody where there is no way"
            for node, program in compile_all(SERVED, SERVED).items():
                stage.wires.install(node, program)
            near = stage.places[connection.source].node
            stage.wires.install(near, compile_all(state, SERVED)[near])
            if bool(sent_by(stage, connection.source, packet)[0]) != verdict(state, connection).allowed:
                yield f"{connection}: tried again, {what}"


def one_port_for_vip_and_endpoint(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """In any order, also of two VIPs, all connections live, and answers come from whom was called."""
    for is_turned in (False, True):
        stage = _stage(lab, compile_all)
        for client, family in (("ann0", 4), ("ann1", 4), ("cat0", 4), ("ann0", 6), ("ann1", 6)):
            for called in (
                [
                    to(client, "pods/bob-all", Protocol.UDP, 53, family),
                    Connection(f"pods/{client}", "pods/bob1", Protocol.UDP, UDP_PORT, family),
                ],
                [
                    to(client, "inner/bob-inner", Protocol.TCP, 81, family),
                    Connection(f"pods/{client}", "pods/bob0", Protocol.TCP, TCP_PORT, family),
                    to(client, "pods/bob-zero", Protocol.TCP, 82, family),
                ],
            ):
                for each in called[::-1] if is_turned else called:
                    if not (
                        talk(stage, each, CLIENT).is_whole if each.service else _is_answered(stage, each)
                    ):
                        yield f"{each}: lost beside another one of the same port"


def _is_answered(stage: Stage, connection: Connection) -> bool:
    """By the address that was called."""
    sent = stage.converse(connection, CLIENT)
    answers = [each.received for each in sent[1::2]]
    called = address_of(SERVED.endpoint_by_id[connection.destination], connection.family)
    return len(sent) == 4 and all(
        each is not None and from_vip(each, called, connection.port) for each in answers
    )


def affinity_of_clients(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """A client keeps its endpoint while it is one."""
    stage = _stage(lab, compile_all)
    asked = to("xen0", "pods/cat-sticky", Protocol.TCP, 80)
    reached = {talk(stage, asked, CLIENT + number).reached for number in range(4)}
    if len(reached) != 1 or reached == {""}:
        yield f"one client with affinity reaches {sorted(reached)}"
        return
    (first,) = reached
    (other,) = {"pods/cat0", "pods/cat2"} - reached
    _install(stage, compile_all, with_endpoints("cat-sticky", other.removeprefix("pods/")))
    now = {talk(stage, asked, CLIENT + 10 + number).reached for number in range(3)}
    if now != {other}:
        yield f"{first} is no endpoint any more, and a client of it reaches {sorted(now)}"


def affinity_of_networks(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """What is remembered of a client does not count for another network's client with the same address."""
    stage = _stage(lab, compile_all)
    reached = {}
    for client, only in (("ann0", "bob0"), ("dan0", "bob1")):
        _install(stage, compile_all, with_endpoints("bob-sticky", only))
        asked = to(client, "pods/bob-sticky", Protocol.TCP, 80)
        reached[asked] = talk(stage, asked, CLIENT).reached
    _install(stage, compile_all, SERVED)
    for number, (asked, first) in enumerate(reached.items(), start=1):
        now = talk(stage, asked, CLIENT + number).reached
        if now != first:
            yield f"{asked}: {first} was remembered and is an endpoint again, and {now} is reached"


def _install(stage: Stage, compile_all: Compile, state: ClusterState) -> None:
    for node, program in compile_all(state, SERVED).items():
        stage.wires.install(node, program)


def endpoints_that_leave(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Their connections live on, also of clients elsewhere that may use VIPs only, and of a pod with itself."""
    asked = (
        to("fay99", "pods/dan-far", Protocol.TCP, 80),
        to("dan99", "pods/dan-far", Protocol.TCP, 80),
        to("dan0", "pods/dan-far", Protocol.TCP, 80),
    )
    stage = _stage(lab, compile_all)
    held = {each: talk(stage, each, CLIENT) for each in asked}
    new = compile_all(with_endpoints("dan-far"), SERVED)
    for node in SERVED.node_by_name:
        stage.wires.install(node, new[node])
        for connection in asked:
            if _passing(stage, connection, held[connection]) != (True, True):
                yield f"{connection}: ends when its endpoint leaves the Service and {node} hears of it"


def revocation_of_services(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """What a policy, a label, a binding, a port or a Service had given ends with the next packet, whichever node hears first."""
    tcp, udp = (
        to("xen0", "pods/bob-all", Protocol.TCP, 80),
        to("xen2", "pods/bob-all", Protocol.UDP, 53),
    )
    untouched = (to("fay0", "pods/dan-web", Protocol.TCP, 80), to("ann0", "pods/bob-all", Protocol.TCP, 80))
    for what, state, cut in (
        ("the policy", without_admission("xen-uses-bob"), (tcp, udp)),
        ("the label of its Namespace", unlabelled(), (tcp, udp)),
        ("its binding", rebound("bob-all", "cat"), (tcp, udp)),
        ("itself", without_service("bob-all"), (tcp, udp)),
        ("its TCP port", without_port("bob-all", Protocol.TCP), (tcp,)),
        ("its UDP port", without_port("bob-all", Protocol.UDP), (udp,)),
    ):
        live = tuple(each for each in (tcp, udp, *untouched) if each not in cut)
        yield from _revoked(lab, compile_all, (state, what), (cut, live))


def revocation_of_relations(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Without the NetworkRoutingPolicy its clients lose the VIPs too."""
    cut = (
        to("cat2", "pods/bob-all", Protocol.UDP, 53),
        to("cat2", "inner/bob-inner", Protocol.TCP, 81),
        to("cat0", "inner/bob-inner", Protocol.TCP, 81),
    )
    live = (to("ann0", "pods/bob-all", Protocol.TCP, 80), to("xen2", "pods/bob-all", Protocol.UDP, 53))
    kept = tuple(each for each in SERVED.routing_policies if each.name != "cat-to-bob")
    yield from _revoked(
        lab, compile_all, (replace(SERVED, routing_policies=kept), "the relation"), (cut, live)
    )


def _revoked(
    lab: Lab,
    compile_all: Compile,
    change: tuple[ClusterState, str],
    connections: tuple[tuple[Connection, ...], tuple[Connection, ...]],
) -> Iterator[str]:
    """The first of ``connections`` end when the node of either end has the new state, the others never."""
    (state, what), (cut, live) = change, connections
    old, new = compile_all(SERVED, SERVED), compile_all(state, SERVED)
    for node in SERVED.node_by_name:
        stage = Stage.of(SERVED, lab(old))
        held = {each: talk(stage, each, CLIENT) for each in (*cut, *live)}
        stage.wires.install(node, new[node])
        for connection in cut:
            if node in _nodes(stage, connection, held[connection]):
                yield from _alive(stage, connection, held[connection], what)
        for connection in live:
            if _passing(stage, connection, held[connection]) != (True, True):
                yield f"{connection}: cut when a Service lost {what}"


def _nodes(stage: Stage, connection: Connection, held: Talk) -> set[str]:
    return {stage.places[each].node for each in (connection.source, held.reached) if each}


def _passing(stage: Stage, connection: Connection, held: Talk) -> tuple[bool, bool]:
    if held.forward is None or held.backward is None:
        return True, True
    return passes(stage, connection.source, held.reached, (held.forward, held.backward))


def _alive(stage: Stage, connection: Connection, held: Talk, what: str) -> Iterator[str]:
    if held.is_whole and _passing(stage, connection, held) != (False, False):
        yield f"{connection}: lives on when its Service lost {what}"


SERVICE_JUDGES: tuple[Callable[[Lab, Compile], Iterator[str]], ...] = (
    theorem_of_services,
    pods_behind_vips,
    frames_that_claim_a_vip,
    datagrams_before_an_answer,
    affinity_of_clients,
    affinity_of_networks,
    endpoints_that_leave,
    half_made_connections,
    one_port_for_vip_and_endpoint,
    revocation_of_relations,
    revocation_of_services,
)
