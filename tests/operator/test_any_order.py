"""What two operators do in any order that hypothesis thinks of: nothing is given twice, all is done in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duel import NAMES, NODE_NAMES, PODS_AT_MOST, PREFIXES, Duel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from replica import WATCHED

if TYPE_CHECKING:
    from collections.abc import Callable

WHICH = st.integers(0, 1)
NAME = st.integers(0, len(NAMES) - 1)
NODE = st.integers(0, len(NODE_NAMES) - 1)
POD = st.integers(0, PODS_AT_MOST - 1)


class Operators(RuleBasedStateMachine):
    def __init__(self, duel: Callable[[], Duel] = Duel) -> None:
        super().__init__()
        self.duel = duel()

    @rule(which=WHICH, resource=st.integers(0, len(WATCHED) - 1), count=st.integers(1, 4))
    def hears(self, which: int, resource: int, count: int) -> None:
        self.duel.hear(which, resource, count)

    @rule(which=WHICH)
    def hears_all(self, which: int) -> None:
        self.duel.players[which].replica.hear_all()

    @rule(which=WHICH, steps=st.integers(1, 8), fails=st.booleans())
    def moves(self, which: int, steps: int, fails: bool) -> None:
        self.duel.move(which, steps, fails=fails)

    @rule(which=WHICH)
    def is_killed(self, which: int) -> None:
        self.duel.kill(which)

    @rule(name=NAME, prefix=st.integers(0, len(PREFIXES) - 1))
    def network_is_created(self, name: int, prefix: int) -> None:
        self.duel.create_network(name, prefix)

    @rule(name=NAME)
    def network_is_deleted(self, name: int) -> None:
        self.duel.delete_network(name)

    @rule(name=NAME, where=NODE)
    def pod_comes(self, name: int, where: int) -> None:
        self.duel.create_pod(name, where)

    @rule(which=POD)
    def pod_goes(self, which: int) -> None:
        self.duel.remove_pod(which)

    @rule(which=NODE)
    def node_comes_or_goes(self, which: int) -> None:
        self.duel.switch_node(which)

    @rule(name=NAME, where=NODE)
    def block_is_pinned_or_not(self, name: int, where: int) -> None:
        self.duel.pin(name, where)

    @rule()
    def nodes_look(self) -> None:
        self.duel.nodes_look()

    @rule(which=POD)
    def node_begins_to_attach(self, which: int) -> None:
        self.duel.begin(which)

    @rule(which=POD)
    def node_confirms(self, which: int) -> None:
        self.duel.confirm(which)

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.duel.advance(seconds)

    @invariant()
    def nothing_is_given_twice(self) -> None:
        self.duel.promises.look()
        assert self.duel.promises.broken == []

    def teardown(self) -> None:
        self.duel.finish()
        self.duel.close()
        assert (self.duel.promises.broken, list(self.duel.faults())) == ([], [])


TestOperators = Operators.TestCase
TestOperators.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
