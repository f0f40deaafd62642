"""A node that knows no pods but its own compiles the tables of one that knows them all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from outside_states import outside_states
from service_states import served_states

from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, offline_ports
from lace_sdn.pipeline.host import host_program

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState


LAW = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def _as_on_kubernetes(state: ClusterState) -> ClusterState:
    """A pod has addresses of its node's blocks, or it is none: ``observe()`` leaves others out."""
    blocks = {(each.network, each.node, each.block) for each in state.allocations}
    placed = (
        each
        for each in state.endpoints
        if all(
            any((each.network, each.node) == its[:2] and address in its[2] for its in blocks)
            for address in each.addresses
        )
    )
    return replace(state, endpoints=tuple(placed))


def _sees_the_same(anything: ClusterState) -> None:
    state = _as_on_kubernetes(anything)
    whole = Cluster.of(state)
    for node in state.node_by_name:
        own = tuple(each for each in state.endpoints if each.node == node)
        view = Cluster.of(replace(state, endpoints=own))
        ports = offline_ports(state, node)
        assert NodeCompiler(node).compile(view, ports) == NodeCompiler(node).compile(whole, ports)
        assert host_program(view, node) == host_program(whole, node)


@LAW
@given(served_states())
def test_with_services(state: ClusterState) -> None:
    _sees_the_same(state)


@LAW
@given(outside_states())
def test_with_the_world_outside(state: ClusterState) -> None:
    _sees_the_same(state)
