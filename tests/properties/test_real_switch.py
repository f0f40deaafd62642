"""The third judge: the same packets through real Open vSwitch, compared packet by packet with the simulator."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from conversation import Stage, answer, ends_of, opening, programs
from dummy_fabric import DummyFabric
from hypothesis import HealthCheck, given, settings
from states import SMALL, some_connections, states

from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.fields import ETH_DST, ETH_SRC
from lace_sdn.openflow.simulator import Packet
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation import Sent

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.simulator.fabric import Journey
    from lace_sdn.policy.oracle import Connection

pytestmark = pytest.mark.switch

WANTED_STATES, WANTED_ALLOWED = 50, 0.3
EXAMPLES, MOST = 70, 24
BOUND_S = 90

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


def seen(journey: Journey) -> list[tuple[object, ...]]:
    """What came out where, in an order of its own: every header, TTL, flags, payload, and whom an ICMP error is about."""
    return sorted(
        (
            each.node,
            each.port,
            sorted((field.name, value) for field, value in each.packet.headers.items()),
            each.packet.ttl,
            each.packet.tcp_flags,
            each.packet.icmp_id,
            each.packet.payload,
            _about(each.packet.quoted),
        )
        for each in journey.deliveries
    )


def _about(quoted: Packet | None) -> list[tuple[str, int]]:
    headers = quoted.headers if quoted else {}
    return sorted((field.name, value) for field, value in headers.items() if field not in (ETH_SRC, ETH_DST))


def same_words(real: tuple[Sent, ...], simulated: tuple[Sent, ...]) -> bool:
    return [seen(each.journey) for each in real] == [seen(each.journey) for each in simulated]


def refuse(stage: Stage, connection: Connection, client_port: int) -> list[Sent]:
    """A datagram, and the answer of a pod that does not listen: the ICMP error comes back like a reply."""
    request = stage.send(
        connection.source, connection.destination, opening(stage.state, connection, client_port)
    )
    if request.received is None:
        return [request]
    ends = ends_of(stage.state, connection.destination, connection.source, connection.family)
    error = Packet.unreachable(ends, request.received)
    return [request, stage.send(connection.destination, connection.source, error)]


def one_way(stage: Stage, connection: Connection, client_port: int) -> list[Sent]:
    """Three datagrams before the answer, then one each way."""
    packet = opening(stage.state, connection, client_port)
    sent = [stage.send(connection.source, connection.destination, packet) for _ in range(3)]
    received = sent[-1].received
    if received is not None:
        sent.append(stage.send(connection.destination, connection.source, answer(received)))
        sent.append(stage.send(connection.source, connection.destination, packet))
    return sent


def judge(state: ClusterState, fabric: DummyFabric) -> Counter[str]:
    """Conversations on both, one after the other on bridges that know only this state."""
    fabric.reset(programs(state))
    real, simulated = Stage.of(state, fabric), Stage.of(state)
    counts: Counter[str] = Counter()
    for number, connection in enumerate(some_connections(state, MOST)):
        said = verdict(state, connection)
        port = 10000 + 10 * number
        found = real.converse(connection, port)
        assert same_words(found, simulated.converse(connection, port)), (connection, found)
        assert all(each.received is not None for each in found) == said.allowed, (connection, said, found)
        assert list(real.leaks(connection, found)) == [], connection
        if connection.protocol is Protocol.UDP:
            for talk in (refuse, one_way):
                port += 1
                ours, theirs = talk(real, connection, port), talk(simulated, connection, port)
                assert same_words(tuple(ours), tuple(theirs)), (connection, talk, ours, theirs)
                assert all(each.received is not None for each in ours) == said.allowed
        counts["pairs"] += 1
        counts["allowed"] += said.allowed
        counts["packets"] += len(found)
    return counts


def test_open_vswitch_agrees_with_simulator_and_oracle(
    fabric: DummyFabric, capsys: pytest.CaptureFixture[str]
) -> None:
    """TCP, UDP and ICMP, both families, requests, answers and errors: each packet arrives in the same form at the same port."""
    totals: Counter[str] = Counter()
    seen_states: set[ClusterState] = set()
    begin = time.monotonic()

    @SOME
    @given(states(SMALL))
    def each_state(state: ClusterState) -> None:
        is_late = time.monotonic() - begin > BOUND_S and len(seen_states) >= WANTED_STATES
        if state not in seen_states and not is_late:
            seen_states.add(state)
            totals.update(judge(state, fabric))

    each_state()
    with capsys.disabled():
        print(f"\noracle = simulator = Open vSwitch: {dict(totals)} in {len(seen_states)} states")
    assert len(seen_states) >= WANTED_STATES
    assert totals["allowed"] >= WANTED_ALLOWED * totals["pairs"]
