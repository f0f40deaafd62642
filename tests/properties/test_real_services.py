"""The third judge, for Services: real Open vSwitch translates and balances as the simulator does, packet by packet."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from conversation import Stage, programs, simulated
from dummy_fabric import DummyFabric
from hypothesis import HealthCheck, given, settings
from service_states import served_states, service_connections
from states import SMALL
from test_real_switch import seen
from vips import call, passes, sent_by, talk

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.simulator.fabric import nth_bucket
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vips import Talk

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.policy.oracle import Connection

pytestmark = pytest.mark.switch

EXAMPLES, MOST, WANTED_STATES = 60, 16, 40
BOUND_S = 60
MOST_BUCKETS = 12

SOME = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def fabric() -> Iterator[DummyFabric]:
    with DummyFabric(nodes=SMALL.nodes, ports=SMALL.pods) as started:
        yield started


def words(held: Talk) -> list[object]:
    return [seen(journey) for journey in held.journeys]


def simulated_alike(state: ClusterState, connection: Connection, port: int, real: Talk) -> bool:
    """Whether for some choice of endpoint the simulator says the same, header by header."""
    return any(
        words(talk(Stage.of(state, simulated(state).copy(nth_bucket(number))), connection, port))
        == words(real)
        for number in range(MOST_BUCKETS)
    )


def judge(state: ClusterState, fabric: DummyFabric) -> Counter[str]:
    fabric.reset(programs(state))
    real = Stage.of(state, fabric)
    counts: Counter[str] = Counter()
    for number, connection in enumerate(service_connections(state, MOST)):
        said = verdict(state, connection)
        port = 10000 + 10 * number
        held = talk(real, connection, port)
        assert held.is_whole == said.allowed, (connection, said, held)
        assert not said.allowed or held.reached in said.backends, (connection, said, held.reached)
        assert held.seen_by <= {connection.source, *said.backends}, (connection, said, held.seen_by)
        assert simulated_alike(state, connection, port, held), (connection, held)
        if held.forward is not None and held.backward is not None:
            ends = (connection.source, held.reached)
            assert passes(real, *ends, (held.forward, held.backward)) == (True, True), connection
        if connection.protocol is Protocol.UDP and said.allowed:
            packet = call(state, connection, port + 1)
            reached = {sent_by(real, connection.source, packet)[0] for _ in range(3)}
            assert len(reached) == 1, (connection, reached)
            assert reached <= set(said.backends), (connection, reached)
        counts["pairs"] += 1
        counts["allowed"] += said.allowed
        counts["to itself"] += held.reached == connection.source
    return counts


def test_open_vswitch_agrees_with_simulator_and_oracle_about_services(
    fabric: DummyFabric, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests, answers and one-way datagrams through VIPs; hairpins and equal addresses are among them."""
    totals: Counter[str] = Counter()
    states: set[ClusterState] = set()
    begin = time.monotonic()

    @SOME
    @given(served_states())
    def each_state(state: ClusterState) -> None:
        is_late = time.monotonic() - begin > BOUND_S and len(states) >= WANTED_STATES
        if state not in states and not is_late:
            states.add(state)
            totals.update(judge(state, fabric))

    each_state()
    with capsys.disabled():
        print(f"\noracle = simulator = Open vSwitch, services: {dict(totals)} in {len(states)} states")
    assert len(states) >= WANTED_STATES
    assert totals["allowed"] > totals["pairs"] // 5
    assert totals["to itself"] > 0
