"""The central theorem and the laws of programs, for Services."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from conversation import Stage, address_of, programs, simulated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_states import namespace_labels, served_states, service_connections
from states import some_connections
from test_programs import renamed, renamed_ends, renamed_terms
from vips import call, passes, sent_by, talk

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.diff import apply, diff
from lace_sdn.openflow.simulator import Tracker, defects, unreached
from lace_sdn.openflow.simulator.fabric import nth_bucket
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, compile_node, offline_ports
from lace_sdn.pipeline.registers import ENDPOINT
from lace_sdn.pipeline.rehearsal import Stage as Rehearsals
from lace_sdn.pipeline.tables import ENDPOINT_DNAT, TABLES, TUNNEL_DECODE
from lace_sdn.policy.oracle import service_access, verdict

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.flow import BridgeProgram, Flow
    from lace_sdn.openflow.simulator import Packet
    from lace_sdn.policy.oracle import Connection

SHARED = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
THOROUGH = settings(max_examples=200, **SHARED)  # type: ignore[arg-type]
LAW = settings(max_examples=60, **SHARED)  # type: ignore[arg-type]
MOST = 40
JUMPS = {table.number: table.next for table in TABLES}
WANTED_PAIRS, WANTED_ALLOWED, WANTED_ADMITTED = 2000, 0.3, 200


def judge(state: ClusterState, tracker: Tracker) -> Counter[str]:
    """Every connection to a Service, each endpoint once, and one after the other on the same bridges. Counts verdicts."""
    rehearsals, fabric = Rehearsals.of(state), simulated(state, tracker=tracker)
    counts: Counter[str] = Counter()
    for number, connection in enumerate(service_connections(state, MOST)):
        fabric = fabric.copy(nth_bucket(number))
        stage = Stage.of(state, fabric)
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
        counts["admitted by a ServiceRoutingPolicy"] += said.reason.startswith("ServiceRoutingPolicy")
        counts["equal addresses"] += have_equal_addresses(state, connection, held.reached)
    return counts


def have_equal_addresses(state: ClusterState, connection: Connection, reached: str) -> bool:
    if reached in ("", connection.source):
        return False
    ends = (state.endpoint_by_id[each] for each in (connection.source, reached))
    return len({address_of(each, connection.family) for each in ends}) == 1


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
    assert totals["admitted by a ServiceRoutingPolicy"] >= WANTED_ADMITTED
    assert min(totals["rejected"], totals["equal addresses"]) > 0


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
    """But for endpoints that serve and are not chosen: connections from when they were may still be translated to them."""
    idle = [
        flow
        for program in programs(state).values()
        for flow in unreached(program)
        if not waits(flow, program)
    ]
    assert idle == []


def waits(flow: Flow, program: BridgeProgram) -> bool:
    chosen = {bucket.id for group in program.groups for bucket in group.buckets}
    endpoint = flow.match.get(ENDPOINT.field)
    return (
        flow.owner == "pipeline"
        or flow.table == TUNNEL_DECODE.number
        or (flow.table == ENDPOINT_DNAT.number and endpoint is not None and endpoint.value not in chosen)
    )


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


@LAW
@given(served_states(), st.data())
def test_services_that_come_and_go_leave_no_trace(state: ClusterState, data: st.DataObject) -> None:
    """Nor do policies for them, nor labels of Namespaces: there and back restores flows and groups."""
    other = replace(
        state,
        services=tuple(each for each in state.services if data.draw(st.booleans())),
        service_policies=tuple(each for each in state.service_policies if data.draw(st.booleans())),
        namespaces=tuple(replace(each, labels=data.draw(namespace_labels)) for each in state.namespaces),
    )
    for node in (each.name for each in state.nodes):
        ports, compiler = offline_ports(state, node), NodeCompiler(node)
        first, between = (compiler.compile(Cluster.of(each), ports) for each in (state, other))
        installed = apply(apply(first, diff(first, between)), diff(between, first))
        assert installed == compiler.compile(Cluster.of(state), ports) == first


@LAW
@given(served_states())
def test_renaming_labels_changes_nothing_for_services(state: ClusterState) -> None:
    """Labels of Networks and of Namespaces say who is admitted, and nothing else."""
    other = replace(
        state,
        networks=tuple(replace(each, labels=renamed(each.labels)) for each in state.networks),
        namespaces=tuple(replace(each, labels=renamed(each.labels)) for each in state.namespaces),
        routing_policies=tuple(renamed_ends(each) for each in state.routing_policies),
        service_policies=tuple(
            replace(renamed_ends(each), namespaces=renamed_terms(each.namespaces))
            for each in state.service_policies
        ),
    )
    assert programs(other) == programs(state)


@LAW
@given(served_states())
def test_a_service_that_no_pod_of_a_node_may_use_is_not_there(state: ClusterState) -> None:
    """Not a flow of it: its own pods may use it, so that it has no endpoint there either."""
    cluster = Cluster.of(state)
    for node in (each.name for each in state.nodes):
        local = {each.network for each in state.endpoints if each.node == node}
        usable = {
            f"Service {service.id}"
            for service in state.services
            if any(service_access(state, network, service).allowed for network in local)
        }
        flows = NodeCompiler(node).compile(cluster, offline_ports(state, node)).flows
        told_of = {" ".join(flow.owner.split()[:2]) for flow in flows if flow.owner.startswith("Service ")}
        assert told_of <= usable, node


@LAW
@given(served_states(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_one_client_port_serves_all_that_a_pod_calls(
    state: ClusterState, bucket: int, random: object
) -> None:
    """VIPs, other VIPs of the same endpoints, and these directly, in any order: every connection lives."""
    stage = Stage.of(state, simulated(state).copy(nth_bucket(bucket)))
    asked = [
        each
        for each in (*service_connections(state, MOST), *some_connections(state, MOST))
        if verdict(state, each).allowed and each.protocol is not Protocol.ICMP
    ]
    random.shuffle(asked)  # type: ignore[attr-defined]
    port_of = {each.id: 10000 + 100 * number for number, each in enumerate(state.endpoints)}
    live = [speak(stage, each, port_of[each.source]) for each in asked]
    assert [each for each, held in zip(asked, live, strict=True) if held is None] == []
    ended = [
        each
        for each, held in zip(asked, live, strict=True)
        if held and passes(stage, each.source, held[0], held[1]) != (True, True)
    ]
    assert ended == []


def speak(stage: Stage, connection: Connection, port: int) -> tuple[str, tuple[Packet, Packet]] | None:
    """Who answers, and the next packets of both; None if nobody does as he should."""
    if connection.service:
        held = talk(stage, connection, port)
        return (held.reached, (held.forward, held.backward)) if held.forward and held.backward else None
    sent = stage.converse(connection, port)
    is_whole = all(each.received is not None for each in sent)
    return (connection.destination, (sent[2].packet, sent[3].packet)) if is_whole else None
