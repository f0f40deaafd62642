"""The third judge, for Services: real Open vSwitch translates and balances as the simulator does, packet by packet."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

import pytest
from conversation import Stage, address_of, programs, simulated
from dummy_fabric import DummyFabric
from hypothesis import HealthCheck, given, settings
from service_states import served_states, service_connections
from states import SMALL
from test_real_switch import seen
from vips import call, endpoint_at, is_told_by_vip, passes, refused, sent_by, talk

from lace_sdn.model import objects
from lace_sdn.openflow.simulator import Fabric
from lace_sdn.openflow.simulator.fabric import nth_bucket
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vips import Talk

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.simulator.fabric import Journey
    from lace_sdn.policy.oracle import Connection

pytestmark = pytest.mark.switch

EXAMPLES, MOST, WANTED_STATES = 100, 16, 40
WANTED_KINDS = {"rejected", "to itself", "equal addresses, one node", "equal addresses, two nodes"}
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
    with DummyFabric(nodes=SMALL.nodes, ports=SMALL.pods + 1) as started:
        yield started


class Act(Protocol):
    """Packets of a connection, one after the other."""

    def __call__(self, stage: Stage, connection: Connection, port: int) -> tuple[Journey, ...]: ...


def conversation(stage: Stage, connection: Connection, port: int) -> tuple[Journey, ...]:
    return talk(stage, connection, port).journeys


def one_way(stage: Stage, connection: Connection, port: int) -> tuple[Journey, ...]:
    """Three datagrams without an answer."""
    packet = call(stage.state, connection, port)
    return tuple(sent_by(stage, connection.source, packet)[2] for _ in range(3))


def words(journeys: tuple[Journey, ...]) -> list[object]:
    return [seen(each) for each in journeys]


def is_simulated(
    model: Stage, act: Act, connection: Connection, port: int, real: tuple[Journey, ...]
) -> bool:
    """Whether for some choice of endpoint simulated bridges say the same, header by header."""
    assert isinstance(model.wires, Fabric)
    copies = (model.wires.copy(nth_bucket(number)) for number in range(MOST_BUCKETS))
    return any(
        words(act(Stage(model.state, each, model.places), connection, port)) == words(real) for each in copies
    )


def judge(state: ClusterState, fabric: DummyFabric) -> Counter[str]:
    compiled = programs(state)
    fabric.reset(compiled)
    real, model = Stage.of(state, fabric), Stage.of(state, simulated(state, compiled))
    counts: Counter[str] = Counter()
    for number, connection in enumerate(service_connections(state, MOST)):
        said, port = verdict(state, connection), 10000 + 10 * number
        held = talk(real, connection, port)
        assert held.is_whole == said.allowed, (connection, said, held)
        assert not said.allowed or held.reached in said.backends, (connection, said, held.reached)
        assert held.is_rejected == said.is_rejected, (connection, said)
        assert held.seen_by <= {connection.source, *said.backends}, (connection, said, held.seen_by)
        assert is_simulated(model, conversation, connection, port, held.journeys), (connection, held)
        if held.forward is not None and held.backward is not None:
            ends = (connection.source, held.reached)
            assert passes(real, *ends, (held.forward, held.backward)) == (True, True), connection
        if connection.protocol is objects.Protocol.UDP:
            judge_datagrams(real, model, connection, port + 1)
        counts.update(kinds(state, connection, held))
        counts["pairs"] += 1
        counts["allowed"] += said.allowed
        counts["rejected"] += said.is_rejected
        counts["admitted by a ServiceRoutingPolicy"] += said.reason.startswith("ServiceRoutingPolicy")
    return counts


def judge_datagrams(real: Stage, model: Stage, connection: Connection, port: int) -> None:
    """Before any answer they reach one endpoint; the ICMP error of one that does not listen reaches the client."""
    said = verdict(real.state, connection)
    journeys = one_way(real, connection, port)
    heard = {endpoint_at(real, each) for journey in journeys for each in journey.deliveries}
    assert len(heard) == said.allowed, (connection, heard)
    assert heard <= set(said.backends), (connection, heard)
    assert is_simulated(model, one_way, connection, port, journeys), (connection, journeys)
    journeys = refused(real, connection, port + 1)
    assert is_told_by_vip(real, connection, journeys) == said.allowed, (connection, journeys)
    assert is_simulated(model, refused, connection, port + 1, journeys), (connection, journeys)


def kinds(state: ClusterState, connection: Connection, held: Talk) -> Iterator[str]:
    """What is special about a conversation."""
    if not held.is_whole:
        return
    if held.reached == connection.source:
        yield "to itself"
        return
    client, server = (state.endpoint_by_id[each] for each in (connection.source, held.reached))
    if address_of(client, connection.family) == address_of(server, connection.family):
        yield "equal addresses, one node" if client.node == server.node else "equal addresses, two nodes"


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
        is_enough = len(states) >= WANTED_STATES and totals.keys() >= WANTED_KINDS
        is_late = time.monotonic() - begin > BOUND_S and is_enough
        if state not in states and not is_late:
            states.add(state)
            totals.update(judge(state, fabric))

    each_state()
    with capsys.disabled():
        print(f"\noracle = simulator = Open vSwitch, services: {dict(totals)} in {len(states)} states")
    assert len(states) >= WANTED_STATES
    assert totals["allowed"] > totals["pairs"] // 5
    assert totals.keys() >= WANTED_KINDS
