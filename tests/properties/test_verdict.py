"""The central theorem: what the objects say is what the compiled tables do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from conversation import Stage, simulated
from hypothesis import HealthCheck, given, settings
from states import some_connections, states

from lace_sdn.openflow.simulator import Tracker
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState

EXAMPLES = 250
MOST = 50
WANTED_STATES, WANTED_PAIRS, WANTED_ALLOWED = 200, 2000, 0.3

THOROUGH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def judge(state: ClusterState, tracker: Tracker) -> Counter[bool]:
    """Every connection of the state, one after the other on the same bridges. Counts verdicts."""
    stage = Stage.of(state, simulated(state, tracker=tracker))
    counts: Counter[bool] = Counter()
    for number, connection in enumerate(some_connections(state, MOST)):
        said = verdict(state, connection)
        sent = stage.converse(connection, client_port=10000 + number)
        done = all(each.received is not None for each in sent)
        assert done == said.allowed, (connection, said, sent[-1])
        assert list(stage.leaks(connection, sent)) == [], connection
        counts[said.allowed] += 1
    return counts


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_simulated_bridges_agree_with_the_oracle(
    tracker: Tracker, record_property: pytest.RecordProperty, capsys: pytest.CaptureFixture[str]
) -> None:
    """Allowed: request and answers pass, both ways; denied: nobody without right hears of it."""
    totals: Counter[bool] = Counter()
    seen: set[ClusterState] = set()

    @THOROUGH
    @given(states())
    def each_state(state: ClusterState) -> None:
        if state not in seen:
            seen.add(state)
            totals.update(judge(state, tracker))

    each_state()
    pairs, share = totals.total(), totals[True] / totals.total()
    with capsys.disabled():
        print(
            f"\noracle = simulator ({tracker.value}): {pairs} pairs, {len(seen)} states, {share:.0%} allowed"
        )
    record_property("pairs", pairs)
    assert len(seen) >= WANTED_STATES
    assert pairs >= WANTED_PAIRS
    assert share >= WANTED_ALLOWED
