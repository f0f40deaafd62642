"""Laws of compiled programs: well formed, a function of the present state alone, moved by differences only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from conversation import programs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from outside_states import outside_states
from states import SMALL, assemble, states

from lace_sdn.model.labels import LabelSelector, NetworkSelector, Requirement
from lace_sdn.openflow.actions import Ct
from lace_sdn.openflow.diff import apply, diff
from lace_sdn.openflow.fields import CT_STATE, State
from lace_sdn.openflow.match import Match
from lace_sdn.openflow.simulator import defects, unreached
from lace_sdn.openflow.simulator.defects import covers
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, compile_node, offline_ports
from lace_sdn.pipeline.registers import SOURCE_TYPE, SourceType
from lace_sdn.pipeline.tables import DISPATCH, TABLES, TUNNEL_DECODE

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.labels import Labels
    from lace_sdn.model.objects import RoutingPolicy, ServicePolicy

LAW = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
Policy = TypeVar("Policy", "RoutingPolicy", "ServicePolicy")
JUMPS = {table.number: table.next for table in TABLES}


@LAW
@given(states())
def test_a_compiled_program_has_no_defect(state: ClusterState) -> None:
    """No overlap with different actions, no jump back or to nowhere, no group missing, no flow behind another."""
    assert [defect for program in programs(state).values() for defect in defects(program, JUMPS)] == []


@LAW
@given(states())
def test_no_flow_of_an_object_is_out_of_reach(state: ClusterState) -> None:
    """Only the pipeline itself may wait for the first pod, and arrivals by tunnel for the first peer."""
    idle = [flow for program in programs(state).values() for flow in unreached(program)]
    waiting = [flow for flow in idle if flow.owner == "pipeline" or flow.table == TUNNEL_DECODE.number]
    assert idle == waiting


@LAW
@given(states(), st.randoms(use_true_random=False))
def test_a_program_does_not_depend_on_the_order_of_objects(state: ClusterState, random: object) -> None:
    shuffled = {}
    for name in ("nodes", "networks", "routing_policies", "endpoints", "allocations"):
        held = list(getattr(state, name))
        random.shuffle(held)  # type: ignore[attr-defined]
        shuffled[name] = tuple(held)
    assert programs(replace(state, **shuffled)) == programs(state)


@LAW
@given(states(SMALL), states(SMALL))
def test_a_program_does_not_depend_on_history(before: ClusterState, after: ClusterState) -> None:
    """A compiler that has seen another state, and another again, says what a fresh one says."""
    node = "node0"
    compiler = NodeCompiler(node)
    for state in (after, before, after, before, before):
        found = compiler.compile(Cluster.of(state), offline_ports(state, node))
    assert found == compile_node(before, node, offline_ports(before, node))


@LAW
@given(states(SMALL), states(SMALL))
def test_a_difference_leads_from_any_program_to_any_other(one: ClusterState, other: ClusterState) -> None:
    installed, desired = programs(one)["node0"], programs(other)["node0"]
    assert apply(installed, diff(installed, desired)) == desired
    assert apply(apply(installed, diff(installed, desired)), diff(desired, installed)) == installed


@LAW
@given(states(SMALL))
def test_nothing_is_sent_when_nothing_changed(state: ClusterState) -> None:
    assert [node for node, program in programs(state).items() if not diff(program, program).is_empty] == []


@LAW
@given(states(SMALL), st.data())
def test_there_and_back_restores_the_tables(state: ClusterState, data: st.DataObject) -> None:
    """A policy that comes and goes leaves no trace."""
    assume(state.routing_policies)
    gone = data.draw(st.sampled_from(state.routing_policies))
    without = replace(state, routing_policies=tuple(each for each in state.routing_policies if each != gone))
    for node in (each.name for each in state.nodes):
        ports = offline_ports(state, node)
        compiler = NodeCompiler(node)
        first = compiler.compile(Cluster.of(state), ports)
        between = compiler.compile(Cluster.of(without), ports)
        installed = apply(apply(first, diff(first, between)), diff(between, first))
        assert installed == compiler.compile(Cluster.of(state), ports) == first


def renamed(found: Labels) -> Labels:
    return tuple(sorted((f"x-{key}", f"y-{value}") for key, value in found))


def renamed_terms(selector: LabelSelector) -> LabelSelector:
    return LabelSelector(
        tuple(
            Requirement(f"x-{each.key}", each.operator, tuple(f"y-{value}" for value in each.values))
            for each in selector.requirements
        )
    )


def renamed_ends(policy: Policy) -> Policy:
    source, destination = (
        NetworkSelector(each.name, renamed_terms(each.by_labels))
        for each in (policy.source, policy.destination)
    )
    return replace(policy, source=source, destination=destination)


@LAW
@given(states())
def test_renaming_labels_changes_nothing(state: ClusterState) -> None:
    """Not one flow: labels say who is related, and nothing else."""
    other = replace(
        state,
        networks=tuple(replace(each, labels=renamed(each.labels)) for each in state.networks),
        routing_policies=tuple(renamed_ends(each) for each in state.routing_policies),
    )
    assert programs(other) == programs(state)


def without_networks(state: ClusterState, names: set[str]) -> ClusterState:
    return assemble(
        state.nodes,
        tuple(each for each in state.networks if each.name not in names),
        state.routing_policies,
        tuple(each for each in state.endpoints if each.network not in names),
    )


@LAW
@given(states())
def test_what_concerns_no_pod_of_a_node_costs_it_nothing(state: ClusterState) -> None:
    """Isolated networks without a pod on a node leave its program as it is."""
    isolated = replace(state, routing_policies=())
    absent = {each.name for each in state.networks} - {
        each.network for each in state.endpoints if each.node == "node0"
    }
    ports = offline_ports(state, "node0")
    smaller = replace(without_networks(isolated, absent), routing_policies=())
    assert compile_node(isolated, "node0", ports) == compile_node(smaller, "node0", ports)


@LAW
@given(st.one_of(states(SMALL), outside_states()))
def test_what_is_not_tracked_goes_nowhere_behind_conntrack(state: ClusterState) -> None:
    """A fragment whose rest never came leaves Open vSwitch's own conntrack beside a packet of somebody else's, with its registers."""
    from_tunnel = SOURCE_TYPE.equals(SourceType.TUNNEL)
    for program in programs(state).values():
        behind = {action.table for flow in program.flows for action in flow.actions if isinstance(action, Ct)}
        for flow in program.flows:
            if flow.table in behind and flow.actions:
                asked = flow.match.get(CT_STATE)
                is_tracked = asked is not None and bool(asked.value & asked.mask & State.TRK)
                is_first = flow.table == DISPATCH.number and covers(Match(from_tunnel), flow.match)
                assert is_tracked or is_first, flow
