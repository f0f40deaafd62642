"""The central theorem with a world outside: what the objects say is what the compiled tables of all nodes do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from conversation import programs
from hypothesis import HealthCheck, given, settings
from outside_states import outside_states

from lace_sdn.openflow.simulator import defects
from lace_sdn.pipeline.rehearsal import Stage
from lace_sdn.pipeline.tables import TABLES
from lace_sdn.policy.ends import HOST_PREFIX, NODE_PREFIX
from lace_sdn.policy.oracle import node_port, verdict
from lace_sdn.policy.reachability import connections

if TYPE_CHECKING:
    import pytest

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.policy.oracle import Connection

JUMPS = {table.number: table.next for table in TABLES}
EXAMPLES = 150
MOST = 120
WANTED = {"out": 100, "in": 300, "node port": 150, "probe": 60, "underlay service": 30}
"""Allowed connections of each kind, at least: otherwise nothing was judged."""


def some(state: ClusterState) -> list[Connection]:
    """At most ``MOST``, evenly among those with an end outside or to Services."""
    found = [
        each
        for each in connections(state)
        if each.service
        or each.source.startswith((HOST_PREFIX, NODE_PREFIX))
        or each.destination.startswith((HOST_PREFIX, NODE_PREFIX))
    ]
    step = max(1, len(found) // MOST)
    return found[::step]


def kind_of(state: ClusterState, connection: Connection) -> str:
    is_outside = (HOST_PREFIX, NODE_PREFIX)
    if connection.service:
        network = state.network_by_name[state.service_by_id[connection.service].network]
        return "underlay service" if network.is_external else "service"
    if node_port(state, connection):
        return "node port"
    if connection.destination.startswith(is_outside):
        return "out"
    pod = state.endpoint_by_id[connection.destination]
    return "probe" if connection.source == NODE_PREFIX + pod.node else "in"


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(outside_states())
def test_a_compiled_program_has_no_defect(state: ClusterState) -> None:
    assert [defect for program in programs(state).values() for defect in defects(program, JUMPS)] == []


def test_simulated_bridges_agree_with_the_oracle(
    record_property: pytest.RecordProperty, capsys: pytest.CaptureFixture[str]
) -> None:
    """From and to hosts and nodes: allowed ones are answered from the address that was called, others reach nobody."""
    totals: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(outside_states())
    def each_state(state: ClusterState) -> None:
        stage = Stage.of(state)
        for connection in some(state):
            said = verdict(state, connection)
            found = stage.rehearse(connection)
            assert found.agrees_with(connection, said), (connection, said, found.seen_by, found.is_answered)
            totals[f"{kind_of(state, connection)} {'allowed' if said.allowed else 'denied'}"] += 1

    each_state()
    record_property("connections", dict(totals))
    with capsys.disabled():
        print(f"\n{dict(totals)}")
    assert all(totals[f"{kind} allowed"] >= least for kind, least in WANTED.items()), totals
