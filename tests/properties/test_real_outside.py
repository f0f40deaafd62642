"""The third judge, for the world outside: real Open vSwitch does as the simulator does and the oracle says, packet by packet."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from beyond import Beyond, opening
from conversation import programs, simulated
from dummy_fabric import DummyFabric
from hypothesis import HealthCheck, given, settings
from outside_judges import differences
from outside_states import outside_states
from states import SMALL
from test_outside import kind_of, some
from test_real_switch import seen

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.simulator import Fabric
from lace_sdn.openflow.simulator.fabric import nth_bucket
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.simulator.fabric import Journey
    from lace_sdn.policy.oracle import Connection

    Act = Callable[[Beyond, Connection, int], tuple[Journey, ...]]

pytestmark = pytest.mark.switch

EXAMPLES, MOST, WANTED_STATES = 120, 24, 40
BOUND_S = 45
MOST_BUCKETS = 12
WANTED = {"out": 40, "in": 40, "node port": 20, "probe": 20, "underlay service": 8, "service": 40}
"""Allowed connections of each kind, at least: otherwise nothing was judged."""


@pytest.fixture(scope="module")
def fabric() -> Iterator[DummyFabric]:
    with DummyFabric(nodes=SMALL.nodes, ports=SMALL.pods + 1) as started:
        yield started


def conversation(stage: Beyond, connection: Connection, port: int) -> tuple[Journey, ...]:
    return stage.meet(connection, port).journeys


def one_way(stage: Beyond, connection: Connection, port: int) -> tuple[Journey, ...]:
    """Three datagrams without an answer."""
    way = stage.way(connection)
    if way is None:
        return ()
    packet = opening(way, connection, port)
    return tuple(stage.send(way.place, packet)[1] for _ in range(3))


def is_simulated(
    model: Beyond, act: Act, connection: Connection, port: int, real: tuple[Journey, ...]
) -> bool:
    """Whether for some choice of endpoint simulated bridges say the same, header by header."""
    assert isinstance(model.wires, Fabric)
    wanted = [seen(each) for each in real]
    copies = (model.wires.copy(nth_bucket(number)) for number in range(MOST_BUCKETS))
    return any(
        [seen(each) for each in act(Beyond(model.state, copy, model.places), connection, port)] == wanted
        for copy in copies
    )


def judge(state: ClusterState, fabric: DummyFabric) -> Counter[str]:
    compiled = programs(state)
    fabric.reset(compiled)
    real, model = Beyond.of(state, fabric), Beyond.of(state, simulated(state, compiled))
    asked = some(state)
    counts: Counter[str] = Counter()
    for number, connection in enumerate(asked[:: max(1, len(asked) // MOST)]):
        port = 10000 + 10 * number
        held = real.meet(connection, port)
        assert list(differences(real, held)) == [], (connection, held)
        assert is_simulated(model, conversation, connection, port, held.journeys), (connection, held)
        if connection.protocol is Protocol.UDP:
            journeys = one_way(real, connection, port + 1)
            assert is_simulated(model, one_way, connection, port + 1, journeys), (connection, journeys)
        is_allowed = verdict(state, connection).allowed
        counts[f"{kind_of(state, connection)} {'allowed' if is_allowed else 'denied'}"] += 1
        counts["IPv6 allowed"] += is_allowed and connection.family == 6
        counts["rejected"] += held.is_rejected
    return counts


def test_open_vswitch_agrees_with_simulator_and_oracle_about_the_world_outside(
    fabric: DummyFabric, capsys: pytest.CaptureFixture[str]
) -> None:
    """From and to hosts and nodes, by every address, both families: requests, answers, and datagrams without any."""
    totals: Counter[str] = Counter()
    states: set[ClusterState] = set()
    begin = time.monotonic()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(outside_states())
    def each_state(state: ClusterState) -> None:
        is_late = time.monotonic() - begin > BOUND_S and len(states) >= WANTED_STATES
        if state not in states and not is_late:
            states.add(state)
            totals.update(judge(state, fabric))

    each_state()
    with capsys.disabled():
        print(f"\noracle = simulator = Open vSwitch, outside: {dict(totals)} in {len(states)} states")
    assert len(states) >= WANTED_STATES
    assert {kind for kind, least in WANTED.items() if totals[f"{kind} allowed"] < least} == set()
    assert totals["IPv6 allowed"] >= sum(WANTED.values()) // 4
