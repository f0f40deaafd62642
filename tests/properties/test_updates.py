"""Laws of change: nodes take a new state one after the other, in any order, while connections live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conversation import Place, Stage, programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from states import AGES, SMALL, network_labels, selectors, some_connections, states

from lace_sdn.model.objects import RoutingPolicy
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.simulator import Packet
    from lace_sdn.policy.oracle import Connection

LAW = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
MOST = 30


@dataclass(frozen=True)
class Change:
    """Two states with the same nodes and pods, and the order in which nodes learn of the second."""

    old: ClusterState
    new: ClusterState
    order: tuple[str, ...]


@st.composite
def changes(draw: DrawFn) -> Change:
    """Policies come, go and change, networks get other labels."""
    old = draw(states(SMALL))
    names = [each.name for each in old.networks]
    kept = [each for each in old.routing_policies if draw(st.booleans())]
    come = [
        RoutingPolicy(
            f"new{number}", draw(selectors(names)), draw(selectors(names)), draw(st.sampled_from(AGES))
        )
        for number in range(draw(st.integers(0, 2)))
    ]
    networks = tuple(
        replace(each, labels=draw(network_labels)) if draw(st.integers(0, 3)) == 0 else each
        for each in old.networks
    )
    policies = tuple(sorted((*kept, *come), key=lambda each: each.name))
    new = replace(old, networks=networks, routing_policies=policies)
    return Change(old, new, tuple(draw(st.permutations([each.name for each in old.nodes]))))


@dataclass(frozen=True)
class Live:
    """An established connection: the next packets of both sides."""

    connection: Connection
    forward: Packet
    backward: Packet

    def passes(self, stage: Stage) -> tuple[bool, bool]:
        """Whether a packet of the initiator, and one of the responder, arrives now."""
        one, other = self.connection.source, self.connection.destination
        return (
            stage.send(one, other, self.forward).received is not None,
            stage.send(other, one, self.backward).received is not None,
        )


def establish(stage: Stage, connection: Connection, client_port: int) -> Live:
    """A connection that the state allows, with an answer seen."""
    sent = stage.converse(connection, client_port)
    return Live(connection, sent[2].packet, sent[3].packet)


def install_one_by_one(stage: Stage, change: Change) -> Iterator[str]:
    """Yields after each node."""
    wanted = programs(change.new)
    for node in change.order:
        stage.wires.install(node, wanted[node])
        yield node


@LAW
@given(changes())
def test_what_old_and_new_allow_is_never_lost(change: Change) -> None:
    """Neither established connections, in any direction, nor new ones, at any moment of the update."""
    stage = Stage.of(change.old)
    both = [
        each
        for each in some_connections(change.old, MOST)
        if verdict(change.old, each).allowed and verdict(change.new, each).allowed
    ]
    live = [establish(stage, each, 10000 + number) for number, each in enumerate(both)]
    for count, node in enumerate(install_one_by_one(stage, change), start=1):
        lost = [each.connection for each in live if each.passes(stage) != (True, True)]
        assert lost == [], node
        refused = [
            each for number, each in enumerate(both) if not stage.works(each, 20000 + 1000 * count + number)
        ]
        assert refused == [], node


@LAW
@given(changes())
def test_what_old_and_new_deny_never_passes(change: Change) -> None:
    """At no moment of the update does a packet arrive that neither state allows."""
    stage = Stage.of(change.old)
    neither = [
        each
        for each in some_connections(change.old, MOST)
        if not verdict(change.old, each).allowed and not verdict(change.new, each).allowed
    ]
    for count, node in enumerate(install_one_by_one(stage, change), start=1):
        passed = [
            each
            for number, each in enumerate(neither)
            if stage.converse(each, 20000 + 1000 * count + number)[0].received is not None
        ]
        assert passed == [], node


@LAW
@given(changes())
def test_a_revoked_connection_is_cut_by_whichever_node_learns_of_it(change: Change) -> None:
    """Its next packet, in both directions, once the node of either end is up to date; and it stays cut."""
    stage = Stage.of(change.old)
    revoked = [
        each
        for each in some_connections(change.old, MOST)
        if verdict(change.old, each).allowed and not verdict(change.new, each).allowed
    ]
    live = [establish(stage, each, 10000 + number) for number, each in enumerate(revoked)]
    informed: set[str] = set()
    for node in install_one_by_one(stage, change):
        informed.add(node)
        alive = [
            each.connection
            for each in live
            if informed
            & {place(stage, each.connection.source).node, place(stage, each.connection.destination).node}
            and each.passes(stage) != (False, False)
        ]
        assert alive == [], node


@LAW
@given(changes())
def test_after_the_last_node_only_the_new_state_counts(change: Change) -> None:
    """The way there leaves nothing behind: new connections follow the new state's oracle."""
    stage = Stage.of(change.old)
    connections = some_connections(change.old, MOST)
    for number, each in enumerate(connections):
        stage.converse(each, 10000 + number)
    list(install_one_by_one(stage, change))
    judged = {each: stage.works(each, 20000 + number) for number, each in enumerate(connections)}
    assert judged == {each: verdict(change.new, each).allowed for each in connections}


@LAW
@given(changes(), st.data())
def test_pods_that_come_and_go_do_not_disturb_others(change: Change, data: st.DataObject) -> None:
    """Connections between the pods that stay live on while others vanish and return."""
    old = change.old
    stage = Stage.of(old)
    gone = {each.id for each in old.endpoints if data.draw(st.booleans())}
    fewer = replace(old, endpoints=tuple(each for each in old.endpoints if each.id not in gone))
    live = [
        establish(stage, each, 10000 + number)
        for number, each in enumerate(some_connections(old, MOST))
        if verdict(old, each).allowed and not {each.source, each.destination} & gone
    ]
    for state in (fewer, old):
        for node, program in programs(state, wired=old).items():
            stage.wires.install(node, program)
            assert [each.connection for each in live if each.passes(stage) != (True, True)] == []


def place(stage: Stage, endpoint: str) -> Place:
    return stage.places[endpoint]
