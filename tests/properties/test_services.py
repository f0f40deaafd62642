"""The central theorem and the laws of programs and of change, for Services."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from conversation import Stage, programs, simulated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_states import namespace_labels, served_states, service_connections, service_policies
from states import network_labels, some_connections
from vips import Talk, call, passes, sent_by, talk

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.diff import apply, diff
from lace_sdn.openflow.simulator import Tracker, defects, unreached
from lace_sdn.openflow.simulator.fabric import nth_bucket
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, compile_node, offline_ports
from lace_sdn.pipeline.rehearsal import Stage as Rehearsals
from lace_sdn.pipeline.tables import TABLES, TUNNEL_DECODE
from lace_sdn.policy.oracle import service_access, verdict
from lace_sdn.policy.relations import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.simulator import Packet
    from lace_sdn.policy.oracle import Connection

SHARED = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
THOROUGH = settings(max_examples=200, **SHARED)  # type: ignore[arg-type]
LAW = settings(max_examples=40, **SHARED)  # type: ignore[arg-type]
MOST = 40
JUMPS = {table.number: table.next for table in TABLES}
WANTED_PAIRS, WANTED_ALLOWED = 1500, 0.2


def judge(state: ClusterState, tracker: Tracker) -> Counter[str]:
    """Every connection to a Service, each endpoint once, and one after the other on the same bridges. Counts verdicts."""
    rehearsals, stage = Rehearsals.of(state), Stage.of(state, simulated(state, tracker=tracker))
    counts: Counter[str] = Counter()
    for number, connection in enumerate(service_connections(state, MOST)):
        said = verdict(state, connection)
        found = rehearsals.rehearse(connection)
        assert found.agrees_with(connection, said), (connection, said, found)
        held = talk(stage, connection, 10000 + number)
        assert held.is_whole == said.allowed, (connection, said, held)
        assert held.is_rejected == said.is_rejected, (connection, said)
        assert held.seen_by <= {connection.source, *said.backends}, (connection, said, held.seen_by)
        assert not said.allowed or held.reached in said.backends, (connection, said, held.reached)
        counts["pairs"] += 1
        counts["allowed"] += said.allowed
        counts["rejected"] += said.is_rejected
    return counts


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_simulated_bridges_agree_with_the_oracle_about_services(
    tracker: Tracker, capsys: pytest.CaptureFixture[str]
) -> None:
    """Allowed: exactly the meant endpoints answer, as from the VIP. Rejected or denied: nobody hears of it."""
    totals: Counter[str] = Counter()

    @THOROUGH
    @given(served_states())
    def each_state(state: ClusterState) -> None:
        totals.update(judge(state, tracker))

    each_state()
    with capsys.disabled():
        print(f"\noracle = simulator, services ({tracker.value}): {dict(totals)}")
    assert totals["pairs"] >= WANTED_PAIRS
    assert totals["allowed"] >= WANTED_ALLOWED * totals["pairs"]
    assert totals["rejected"] > 0


@LAW
@given(served_states(), st.sampled_from(list(Tracker)))
def test_datagrams_before_any_answer_reach_one_endpoint(state: ClusterState, tracker: Tracker) -> None:
    """Conntrack calls them new for a while: they are translated alike, and admitted."""
    stage = Stage.of(state, simulated(state, tracker=tracker))
    asked = [each for each in service_connections(state, MOST) if each.protocol is Protocol.UDP]
    for number, connection in enumerate(asked):
        said = verdict(state, connection)
        packet = call(state, connection, 10000 + number)
        reached = {sent_by(stage, connection.source, packet)[0] for _ in range(3)}
        assert len(reached) == 1, connection
        assert reached <= (set(said.backends) if said.allowed else {""}), connection


@LAW
@given(served_states())
def test_a_vip_opens_no_way_to_pods(state: ClusterState) -> None:
    """What the oracle denies between pods stays denied while connections through VIPs live."""
    stage = Stage.of(state)
    for number, connection in enumerate(service_connections(state, MOST)):
        talk(stage, connection, 10000 + number)
    for number, connection in enumerate(some_connections(state, MOST)):
        assert stage.works(connection, 20000 + number) == verdict(state, connection).allowed, connection


@LAW
@given(served_states())
def test_a_program_with_services_has_no_defect(state: ClusterState) -> None:
    assert [each for program in programs(state).values() for each in defects(program, JUMPS)] == []


@LAW
@given(served_states())
def test_no_flow_of_a_service_is_out_of_reach(state: ClusterState) -> None:
    idle = [flow for program in programs(state).values() for flow in unreached(program)]
    assert [flow for flow in idle if flow.owner != "pipeline" and flow.table != TUNNEL_DECODE.number] == []


@LAW
@given(served_states(), st.randoms(use_true_random=False))
def test_a_program_does_not_depend_on_the_order_of_services(state: ClusterState, random: object) -> None:
    shuffled = {}
    for name in ("nodes", "namespaces", "networks", "services", "service_policies", "endpoints"):
        held = list(getattr(state, name))
        random.shuffle(held)  # type: ignore[attr-defined]
        shuffled[name] = tuple(held)
    assert programs(replace(state, **shuffled)) == programs(state)


@LAW
@given(served_states(), served_states())
def test_a_difference_leads_from_any_services_to_any_others(one: ClusterState, other: ClusterState) -> None:
    """And back, and a compiler that has seen both says what a fresh one says."""
    before, after = programs(one)["node0"], programs(other)["node0"]
    assert apply(before, diff(before, after)) == after
    assert apply(after, diff(after, before)) == before
    compiler = NodeCompiler("node0")
    for state in (one, other, one):
        found = compiler.compile(Cluster.of(state), offline_ports(state, "node0"))
    assert found == compile_node(one, "node0", offline_ports(one, "node0")) == before


@dataclass(frozen=True)
class Change:
    """Two states with the same nodes, pods and endpoints of Services, and the order in which nodes learn of the second."""

    old: ClusterState
    new: ClusterState
    order: tuple[str, ...]


@st.composite
def changes(draw: DrawFn) -> Change:
    """Policies come and go, Namespaces and Networks get other labels, Services vanish."""
    old = draw(served_states())
    come = draw(service_policies(old, 1))
    policies = [each for each in old.service_policies if draw(st.integers(0, 3))]
    new = replace(
        old,
        service_policies=(*policies, *(replace(each, name=f"new-{each.name}") for each in come)),
        routing_policies=tuple(each for each in old.routing_policies if draw(st.integers(0, 3))),
        namespaces=tuple(
            each if draw(st.integers(0, 2)) else replace(each, labels=draw(namespace_labels))
            for each in old.namespaces
        ),
        networks=tuple(
            each if draw(st.integers(0, 3)) else replace(each, labels=draw(network_labels))
            for each in old.networks
        ),
        services=tuple(each for each in old.services if draw(st.integers(0, 4))),
    )
    return Change(old, new, tuple(draw(st.permutations([each.name for each in old.nodes]))))


@dataclass(frozen=True)
class Live:
    """An established connection through a VIP, and the next packets of both sides."""

    connection: Connection
    server: str
    packets: tuple[Packet, Packet]

    def ends(self, stage: Stage) -> set[str]:
        return {stage.places[each].node for each in (self.connection.source, self.server)}

    def passes(self, stage: Stage) -> tuple[bool, bool]:
        return passes(stage, self.connection.source, self.server, self.packets)


def establish(stage: Stage, client_port: int) -> list[Live]:
    """All that the stage's state allows."""
    live = []
    for number, connection in enumerate(service_connections(stage.state, MOST)):
        held: Talk = talk(stage, connection, client_port + number)
        if held.forward is not None and held.backward is not None:
            live.append(Live(connection, held.reached, (held.forward, held.backward)))
    return live


def outlives(change: Change, connection: Connection) -> bool:
    """By docs/policy-semantics.md: networks that may reach the pod keep it; others while the Service admits them."""
    service = change.old.service_by_id[connection.service]
    network = change.old.endpoint_by_id[connection.source].network
    if resolve(change.new).is_related(network, service.network):
        return True
    now = change.new.service_by_id.get(service.id)
    return now is not None and service_access(change.new, network, now).allowed


def install_one_by_one(stage: Stage, change: Change) -> Iterator[str]:
    wanted = programs(change.new)
    for node in change.order:
        stage.wires.install(node, wanted[node])
        yield node


@LAW
@given(changes())
def test_what_old_and_new_allow_through_vips_is_never_lost(change: Change) -> None:
    stage = Stage.of(change.old)
    live = [each for each in establish(stage, 10000) if outlives(change, each.connection)]
    for node in install_one_by_one(stage, change):
        lost = [each.connection for each in live if each.passes(stage) != (True, True)]
        assert lost == [], node


@LAW
@given(changes())
def test_a_revoked_connection_through_a_vip_is_cut_by_whichever_node_learns_of_it(change: Change) -> None:
    """In both directions, and it stays cut."""
    stage = Stage.of(change.old)
    live = [each for each in establish(stage, 10000) if not outlives(change, each.connection)]
    informed: set[str] = set()
    for node in install_one_by_one(stage, change):
        informed.add(node)
        heard = [each for each in live if informed & each.ends(stage)]
        assert [each.connection for each in heard if each.passes(stage) != (False, False)] == [], node


@LAW
@given(changes())
def test_what_old_and_new_deny_never_passes_through_a_vip(change: Change) -> None:
    """At no moment of the update does anybody hear of it."""
    stage = Stage.of(change.old)
    neither = [
        each
        for each in service_connections(change.old, MOST)
        if not verdict(change.old, each).allowed
        and (each.service not in change.new.service_by_id or not verdict(change.new, each).allowed)
    ]
    for count, node in enumerate(install_one_by_one(stage, change), start=1):
        heard = [
            each
            for number, each in enumerate(neither)
            if talk(stage, each, 20000 + 1000 * count + number).seen_by
        ]
        assert heard == [], node


@LAW
@given(changes())
def test_after_the_last_node_only_the_new_state_counts_for_vips(change: Change) -> None:
    stage = Stage.of(change.old)
    establish(stage, 10000)
    list(install_one_by_one(stage, change))
    now = Stage(change.new, stage.wires, stage.places)
    asked = service_connections(change.new, MOST)
    judged = {each: talk(now, each, 20000 + number).is_whole for number, each in enumerate(asked)}
    assert judged == {each: verdict(change.new, each).allowed for each in asked}


@LAW
@given(served_states(), st.integers(0, 3))
def test_endpoints_that_change_do_not_disturb_connections_to_others(state: ClusterState, number: int) -> None:
    """Whatever becomes of the endpoints, readiness or all of them: connections that are established go on."""
    stage = Stage.of(state)
    live = establish(stage, 10000)
    changed = replace(
        state,
        services=tuple(
            replace(
                each,
                ports=tuple(replace(port, backends=tuple(port.backends[number:])) for port in each.ports),
            )
            for each in state.services
        ),
    )
    wanted = programs(changed)
    for node in wanted:
        stage.wires.install(node, wanted[node])
        assert [each.connection for each in live if each.passes(stage) != (True, True)] == []


@LAW
@given(served_states(), st.integers(0, 5))
def test_one_client_port_serves_a_vip_and_its_endpoint(state: ClusterState, bucket: int) -> None:
    """In either order, both connections live; where the client may reach the endpoint directly."""
    for first_is_direct in (False, True):
        stage = Stage.of(state, simulated(state).copy(nth_bucket(bucket)))
        for number, connection in enumerate(service_connections(state, MOST)):
            held = talk(Stage.of(state, simulated(state).copy(nth_bucket(bucket))), connection, 999)
            direct = replace(connection, destination=held.reached, port=_port_behind(state, connection))
            if held.reached in ("", connection.source) or not verdict(state, direct).allowed:
                continue
            port = 10000 + number
            if first_is_direct:
                assert stage.works(direct, port), direct
            assert talk(stage, connection, port).is_whole, connection
            assert first_is_direct or stage.works(direct, port), direct


def _port_behind(state: ClusterState, connection: Connection) -> int:
    ports = state.service_by_id[connection.service].ports
    asked = (connection.protocol, connection.port)
    port = next(each for each in ports if (each.protocol, each.number) == asked)
    return next((each.port for each in port.backends), 0)
