"""Judges of the arena with a world outside: each says, in sentences, what a compiler's tables do wrong there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beyond import Beyond, opening
from outside_arena import API_PORT, HTTP, NODE_PORTS, OUTER, TUNNELS, with_backends
from outside_errors import errors_about_nothing, errors_of_pods, errors_of_routers
from outside_liars import hosts_that_lie, pods_that_lie_outward, tunnels_with_external_keys
from outside_revocation import REVOCATIONS
from outside_thieves import thieves_outside, who_enters_elsewhere
from states import TCP_PORT, UDP_PORT

from lace_sdn.model.objects import Protocol
from lace_sdn.policy.ends import SERVICE_PREFIX, is_outside
from lace_sdn.policy.oracle import Connection, verdict
from lace_sdn.policy.reachability import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beyond import Meeting
    from judges import Compile, Lab

CLIENT = 33000
STEP = 7
"""Without a factor in common with hosts, protocols and families: each of these is among one in so many."""


def _stage(lab: Lab, compile_all: Compile) -> Beyond:
    return Beyond.of(OUTER, lab(compile_all(OUTER, OUTER)))


def outer_connections() -> list[Connection]:
    """All with an end outside, but for the Service that is the end of tunnels (``pods_that_lie_outward``)."""
    return [
        each
        for each in connections(OUTER)
        if (is_outside(each.source) or is_outside(each.destination) or each.service in _BENEATH)
        and each.service != "pods/tunnels"
    ]


_BENEATH = {each.id for each in OUTER.services if each.network == "base"}


def theorem_outside(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Oracle and bridges agree about one in ``STEP`` connections: who answers, who sees which addresses, who hears of it."""
    # A NodePort's number means nothing at the address of a pod.
    more = [Connection("host corp0", "pods/bob1", Protocol.TCP, NODE_PORTS["web"], each) for each in (4, 6)]
    yield from agree(_stage(lab, compile_all), [*outer_connections()[::STEP], *more])


def agree(stage: Beyond, asked: list[Connection]) -> Iterator[str]:
    """Each as a whole conversation, after all the others: who is remembered does not matter to them."""
    for number, connection in enumerate(asked):
        yield from differences(stage, stage.meet(connection, 10000 + number))


def differences(stage: Beyond, held: Meeting) -> Iterator[str]:
    """Between what the oracle says and what came of a conversation."""
    connection = held.connection
    said = verdict(stage.state, connection)
    is_made = held.is_whole and (said.allowed or held.reached == connection.destination)
    if is_made != said.allowed or (said.allowed and held.reached not in said.backends):
        yield f"{connection}: {said.reason}; but {held.passed} packets pass, to {held.reached or 'nobody'}"
    if said.is_rejected != held.is_rejected:
        yield f"{connection}: {said.reason}; refused: {held.is_rejected}"
    strangers = stage.strangers(held, said.backends if said.allowed else ())
    yield from (f"{connection}: {each} hears of it" for each in strangers)
    if said.allowed and held.is_whole and stage.goes_on(held) != (True, True):
        yield f"{connection}: ends after four packets"


def before_an_answer(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Who calls and is not answered yet may call again, as TCP and UDP do: each packet arrives, at the same one."""
    stage = _stage(lab, compile_all)
    for number, connection in enumerate(
        Connection(source, destination, protocol, port, family)
        for family in (4, 6)
        for source, destination, protocol, port in (
            ("pods/ann0", "host net", Protocol.UDP, UDP_PORT),
            ("pods/ann0", "host net", Protocol.TCP, HTTP),
            ("pods/eve0", f"{SERVICE_PREFIX}pods/lan", Protocol.UDP, 53),
            ("host lan", f"{SERVICE_PREFIX}pods/lan", Protocol.UDP, 53),
            ("host corp0", "pods/bob0", Protocol.UDP, UDP_PORT),
            ("host corp0", "pods/bob1", Protocol.TCP, TCP_PORT),
            ("host net", f"{SERVICE_PREFIX}pods/dns", Protocol.UDP, 53),
            ("node node0", "pods/eve0", Protocol.TCP, 9090),
        )
    ):
        way = stage.way(connection)
        assert way is not None
        packet = opening(way, connection, CLIENT + number)
        found = [stage.send(way.place, packet)[0] for _ in range(3)]
        if len({each and (each.node, each.port) for each in found}) != 1 or None in found:
            yield f"{connection}: three packets before an answer do not reach one end"


def equal_addresses_outward(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Pods of two networks with one address and one port call one server: each gets its own answers, and no other's."""
    for family in (4, 6):
        stage = _stage(lab, compile_all)
        for protocol, port in ((Protocol.TCP, HTTP), (Protocol.UDP, UDP_PORT), (Protocol.ICMP, 0)):
            asked = [
                Connection(f"pods/{each}", "host net", protocol, port, family) for each in ("ann0", "dan0")
            ]
            held = [stage.meet(each, CLIENT) for each in asked]
            for connection, its in zip(asked, held, strict=True):
                if not its.is_whole:
                    yield f"{connection}: lost beside its twin, after {its.passed} packets"
                elif stage.goes_on(its) != (True, True):
                    yield f"{connection}: disturbed by its twin"


def equal_addresses_inward(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """An endpoint and others call it through a VIP, by one port; a host outside that has the endpoint's address is not heard."""
    stage = _stage(lab, compile_all)
    held = [
        stage.meet(Connection(source, f"{SERVICE_PREFIX}pods/{service}", Protocol.TCP, 80, family), CLIENT)
        for family in (4, 6)
        for source, service in (
            ("host alike", "near"),
            ("pods/bob0", "near"),
            ("host file", "near"),
            ("pods/ann0", "near"),
        )
    ]
    for its in held:
        if its.connection.source == "host alike":
            if its.passed:
                yield f"{its.connection}: taken for a pod of the network that it calls"
        elif not its.is_whole:
            yield f"{its.connection}: lost beside others, after {its.passed} packets"
        elif stage.goes_on(its) != (True, True):
            yield f"{its.connection}: disturbed by others of its address and port"


def by_every_address(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """One client, one port: by VIP, by NodePort and to the endpoint itself at once, each answered from where it called."""
    stage = _stage(lab, compile_all)
    for source, node, pod in (("host corp0", "node node0", "bob0"), ("host corp2", "node node2", "bob0")):
        for family in (4, 6):
            asked = [
                Connection(source, f"{SERVICE_PREFIX}pods/near", Protocol.TCP, 80, family),
                Connection(source, node, Protocol.TCP, NODE_PORTS["web"], family),
                Connection(source, f"pods/{pod}", Protocol.TCP, TCP_PORT, family),
                Connection(source, f"{SERVICE_PREFIX}pods/web", Protocol.TCP, 80, family),
            ]
            held = [stage.meet(each, CLIENT) for each in asked]
            for its in held:
                if not its.is_whole or stage.goes_on(its) != (True, True):
                    yield f"{its.connection}: lost beside others of its port, after {its.passed} packets"


def by_every_node(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """One client, one port, one endpoint, by every node at once: each answered from the node that it called."""
    stage = Beyond.of(OUTER, lab(compile_all(with_backends("bob0"), OUTER)))
    for family in (4, 6):
        for protocol, name in ((Protocol.TCP, "sticky"), (Protocol.UDP, "dns")):
            asked = [
                Connection("host net", f"node {node}", protocol, NODE_PORTS[name], family)
                for node in ("node1", "node0", "node2")
            ]
            held = [stage.meet(each, CLIENT) for each in asked]
            for its in held:
                if not its.is_whole or stage.goes_on(its) != (True, True):
                    yield f"{its.connection}: lost beside others of its port, after {its.passed} packets"


def from_the_port_of_tunnels(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """A client outside that happens to use that port is answered: only calls to it are dropped."""
    stage = _stage(lab, compile_all)
    for family in (4, 6):
        for source, pod in (("host corp0", "bob0"), ("host corp0", "bob1"), ("host file", "bob1")):
            connection = Connection(source, f"pods/{pod}", Protocol.UDP, UDP_PORT, family)
            held = stage.meet(connection, TUNNELS)
            if not held.is_whole:
                yield f"{connection}: from port {TUNNELS}, lost after {held.passed} packets"


def node_ports_near(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """By externalTrafficPolicy Local hosts find the node's own endpoints or silence; nodes and pods find all."""
    stage = _stage(lab, compile_all)
    near, number = NODE_PORTS["near"], 0
    for source in ("host lan", "host net", "node node0", "node node2", "pods/eve0", "pods/eve2"):
        for node in ("node0", "node2"):
            for family in (4, 6):
                connection = Connection(source, f"node {node}", Protocol.TCP, near, family)
                number += 1
                held, said = stage.meet(connection, CLIENT + number), verdict(OUTER, connection)
                if held.is_whole != said.allowed or held.is_rejected:
                    yield f"{connection}: {said.reason}, but {held.passed} packets pass"


def loyal_clients(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """Affinity counts for VIP and NodePort alike, and never leads a Local NodePort to another node."""
    asked = (
        Connection("host net", f"{SERVICE_PREFIX}pods/sticky", Protocol.TCP, 80),
        Connection("host net", "node node1", Protocol.TCP, NODE_PORTS["sticky"]),
        Connection("host net", f"{SERVICE_PREFIX}pods/loyal", Protocol.TCP, 80),
        Connection("host net", "node node1", Protocol.TCP, NODE_PORTS["loyal"]),
    )
    for first in ("bob0", "bob1"):
        # Both come in by node1, which remembers the endpoint that was the only one at first.
        stage = Beyond.of(OUTER, lab(compile_all(with_backends(first), OUTER)))
        reached = [_reached(stage, each, 0) for each in asked[:3:2]]
        _install(stage, compile_all)
        reached += [_reached(stage, each, number) for number, each in enumerate(asked * 2, start=1)]
        wanted = f"pods/{first}"
        # The Local one, which bob1 alone can answer on node1, is the last of the four.
        expected = [wanted] * 5 + ["pods/bob1"] + [wanted] * 2 + ["pods/bob1"] * 2
        if reached != expected:
            yield f"affinity to {first}: {reached} are reached, and {expected} were meant"


def _reached(stage: Beyond, connection: Connection, number: int) -> str:
    held: Meeting = stage.meet(connection, CLIENT + number)
    return held.reached if held.is_whole else ""


def _install(stage: Beyond, compile_all: Compile) -> None:
    for node, program in compile_all(OUTER, OUTER).items():
        stage.wires.install(node, program)


def foreign_node_ports(lab: Lab, compile_all: Compile) -> Iterator[str]:
    """A NodePort means its Service to pods that may reach the world and the nodes too: no way round to the node's stack."""
    stage = _stage(lab, compile_all)
    number = 0
    for source in ("pods/cat0", "pods/cat1", "pods/cat2", "pods/dan1"):
        for node in ("node node0", "node node1", "node node2"):
            for name in ("web", "near", "sticky", "own", "none"):
                number += 1
                connection = Connection(source, node, Protocol.TCP, NODE_PORTS[name])
                held = stage.meet(connection, CLIENT + number)
                if any(each.deliveries for each in held.journeys):
                    yield f"{connection}: passes, and its Service is closed to it"
        api = Connection(source, "node node0", Protocol.TCP, API_PORT)
        number += 1
        if stage.meet(api, CLIENT + number).is_whole != verdict(OUTER, api).allowed:
            yield f"{api}: not as the oracle says"


OUTSIDE_JUDGES: tuple[Callable[[Lab, Compile], Iterator[str]], ...] = (
    before_an_answer,
    equal_addresses_outward,
    equal_addresses_inward,
    by_every_address,
    by_every_node,
    from_the_port_of_tunnels,
    node_ports_near,
    foreign_node_ports,
    loyal_clients,
    hosts_that_lie,
    pods_that_lie_outward,
    tunnels_with_external_keys,
    thieves_outside,
    who_enters_elsewhere,
    errors_of_routers,
    errors_of_pods,
    errors_about_nothing,
    theorem_outside,
    *REVOCATIONS,
)
