"""Judges of the arena with Services: each says, in sentences, what a compiler's tables do wrong there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arena import NETWORKS
from conversation import Stage, address_of, ends_of, opening
from judges import ADDRESSES
from service_arena import SERVED, rebound, unlabelled, without_admission, without_service
from service_states import service_connections
from states import TCP_PORT, UDP_PORT
from vips import call, from_vip, passes, sent_by, talk

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC, ETH_TYPE, TUN_ID, TUN_SRC
from lace_sdn.openflow.simulator import Fabric, Packet, Tcp
from lace_sdn.openflow.simulator.packet import address_fields
from lace_sdn.pipeline.constants import TUNNEL_DESTINATION, TUNNEL_PORT, TUNNEL_SOURCE
from lace_sdn.policy.numbers import numbers
from lace_sdn.policy.oracle import SERVICE_PREFIX, Connection, verdict
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
    for number, connection in enumerate(service_connections(SERVED)):
        said = verdict(SERVED, connection)
        held = talk(stage, connection, 10000 + number)
        if held.is_whole != said.allowed:
            yield f"{connection}: {said.reason}; but {held.passed} packets pass"
        strangers = held.seen_by - {connection.source, *said.backends}
        yield from (f"{connection}: {each} hears of it" for each in sorted(strangers))
        if said.is_rejected != held.is_rejected and isinstance(stage.wires, Fabric):
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


def one_port_for_vip_and_endpoint(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """In either order both connections live, and answers come from whom was called."""
    for client in ("ann0", "ann1", "cat0"):
        through = to(client, "pods/bob-all", Protocol.UDP, 53)
        direct = Connection(f"pods/{client}", "pods/bob1", Protocol.UDP, UDP_PORT)
        stage = _stage(lab, compile_all)
        if not (_is_answered(stage, direct) and talk(stage, through, CLIENT).is_whole):
            yield f"{client}: one port for an endpoint and then its VIP"
        stage = _stage(lab, compile_all)
        if not (talk(stage, through, CLIENT).is_whole and _is_answered(stage, direct)):
            yield f"{client}: one port for a VIP and then its endpoint"


def _is_answered(stage: Stage, connection: Connection) -> bool:
    """By the address that was called."""
    sent = stage.converse(connection, CLIENT)
    answers = [each.received for each in sent[1::2]]
    called = address_of(SERVED.endpoint_by_id[connection.destination], connection.family)
    return len(sent) == 4 and all(
        each is not None and from_vip(each, called, connection.port) for each in answers
    )


def affinity_of_clients(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """A client keeps its endpoint while it is one; clients with one address in two networks do not share."""
    stage = _stage(lab, compile_all)
    asked = to("xen0", "pods/cat-sticky", Protocol.TCP, 80)
    reached = {talk(stage, asked, CLIENT + number).reached for number in range(4)}
    if len(reached) != 1 or reached == {""}:
        yield f"one client with affinity reaches {sorted(reached)}"
        return
    (first,) = reached
    left = _without_endpoint(first)
    for node, program in compile_all(left, SERVED).items():
        stage.wires.install(node, program)
    now = {talk(stage, asked, CLIENT + 10 + number).reached for number in range(3)}
    if first in now or len(now) != 1:
        yield f"{first} is no endpoint any more, and a client of it reaches {sorted(now)}"


def _without_endpoint(pod: str) -> ClusterState:
    services = tuple(
        replace(
            each,
            ports=tuple(
                replace(port, backends=tuple(one for one in port.backends if one.pod != pod))
                for port in each.ports
            ),
        )
        for each in SERVED.services
    )
    return replace(SERVED, services=services)


def revocation_of_services(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """What a policy, a label, a binding or a Service had given ends with the next packet, whichever node hears first."""
    tcp, udp = (
        to("xen0", "pods/bob-all", Protocol.TCP, 80),
        to("xen2", "pods/bob-all", Protocol.UDP, 53),
    )
    untouched = (to("fay0", "pods/dan-web", Protocol.TCP, 80), to("ann0", "pods/bob-all", Protocol.TCP, 80))
    for what, state in (
        ("the policy", without_admission("xen-uses-bob")),
        ("the label of its Namespace", unlabelled()),
        ("its binding", rebound("bob-all", "cat")),
        ("itself", without_service("bob-all")),
    ):
        old, new = compile_all(SERVED, SERVED), compile_all(state, SERVED)
        for node in SERVED.node_by_name:
            stage = Stage.of(SERVED, lab(old))
            held = {each: talk(stage, each, CLIENT) for each in (tcp, udp, *untouched)}
            stage.wires.install(node, new[node])
            for connection in (tcp, udp):
                if node in _nodes(stage, connection, held[connection]):
                    yield from _alive(stage, connection, held[connection], what)
            for connection in untouched:
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


def after_the_relation(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Without the NetworkRoutingPolicy its client loses the VIP too."""
    state = replace(
        SERVED, routing_policies=tuple(each for each in SERVED.routing_policies if each.name != "cat-to-bob")
    )
    old, new = compile_all(SERVED, SERVED), compile_all(state, SERVED)
    for node in SERVED.node_by_name:
        stage = Stage.of(SERVED, lab(old))
        connection = to("cat2", "pods/bob-all", Protocol.UDP, 53)
        held = talk(stage, connection, CLIENT)
        stage.wires.install(node, new[node])
        if node in _nodes(stage, connection, held):
            yield from _alive(stage, connection, held, "the relation")


SERVICE_JUDGES: tuple[Callable[[Lab, Compile], Iterator[str]], ...] = (
    theorem_of_services,
    pods_behind_vips,
    frames_that_claim_a_vip,
    datagrams_before_an_answer,
    one_port_for_vip_and_endpoint,
    affinity_of_clients,
    revocation_of_services,
    after_the_relation,
)
