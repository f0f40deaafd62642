"""However slow, lost or refused requests are, and however those of two interleave: never do two lead, and in the end one does."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.api.elector import Elector, Times

if TYPE_CHECKING:
    from collections.abc import Callable

Data = dict[str, Any]

TIMES = Times(duration=15.0, deadline=10.0, retry=2.0)
WHO = st.sampled_from([0, 1])
FATES = st.sampled_from(["well", "well", "well", "not asked", "answer lost"])
SECONDS = st.sampled_from([0.0, 0.0, 1.0, 4.0, 9.0, 11.0, 16.0])


class Leases:
    """One Lease, with versions. ``fate`` and ``slowness`` (seconds until the answer): of the next requests.

    ``before_write`` happens between a look and the write after it, ``before_answer`` between a write and its answer.
    """

    def __init__(self, wait: Callable[[float], None]) -> None:
        self.lease: Data | None = None
        self.version = 0
        self.fate = "well"
        self.before_write: Callable[[], None] = lambda: None
        self.before_answer: Callable[[], None] = lambda: None
        self.slowness = 0.0
        self._wait = wait

    def get(self, _resource: Any, name: str, _namespace: str) -> Data:
        self._ask()
        if self.lease is None:
            raise ApiError(404, "NotFound", name)
        found = copy.deepcopy(self.lease)
        self._meanwhile("before_write")
        return found

    def create(self, _resource: Any, body: Data) -> Data:
        self._meanwhile("before_write")
        self._ask()
        if self.lease is not None:
            raise ApiError(409, "AlreadyExists", "")
        return self._written(body)

    def replace(self, _resource: Any, body: Data) -> Data:
        self._ask()
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "Conflict", "")
        return self._written(body)

    def _ask(self) -> None:
        if self.fate == "not asked":
            raise ApiUnreachable("down")

    def _meanwhile(self, when: str) -> None:
        """Once, and with all well for whoever else asks."""
        happens = getattr(self, when)
        kept = self.fate, self.slowness, self.before_write, self.before_answer
        self.well()
        happens()
        self.fate, self.slowness, self.before_write, self.before_answer = kept
        setattr(self, when, lambda: None)

    def well(self) -> None:
        self.fate, self.slowness = "well", 0.0
        self.before_write = self.before_answer = lambda: None

    def _written(self, body: Data) -> Data:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        made = copy.deepcopy(self.lease)
        self._meanwhile("before_answer")
        self._wait(self.slowness)
        if self.fate == "answer lost":
            raise ApiUnreachable("broken off")
        return made


class Candidate:
    def __init__(self, leases: Leases, name: str, clock: Callable[[], float]) -> None:
        self.calls: list[str] = []
        self.elector = Elector(leases, "default", "lease", name, times=TIMES, clock=clock)  # type: ignore[arg-type]

    def turn(self) -> None:
        self.elector.turn(lambda _leading: self.calls.append("begin"), lambda: self.calls.append("end"))

    def leads(self) -> bool:
        return self.elector.leading.is_set()


class Elections(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.born = 2
        self.leases = Leases(self._wait)
        self.both = [Candidate(self.leases, name, lambda: self.now) for name in ("one", "other")]

    def _wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=SECONDS)
    def time_goes_on(self, seconds: float) -> None:
        self._wait(seconds)

    @rule(who=WHO)
    def turn(self, who: int) -> None:
        self.both[who].turn()

    @rule(
        who=WHO, fate=FATES, slowness=SECONDS, between=SECONDS, others=st.tuples(st.booleans(), st.booleans())
    )
    def bad_turn(
        self, who: int, fate: str, slowness: float, between: float, others: tuple[bool, bool]
    ) -> None:
        """``between``: seconds from the look to the write; ``others``: whether the other one has its turn then, and before the answer."""
        other = self.both[1 - who]

        def meanwhile() -> None:
            self._wait(between)
            if others[0]:
                other.turn()

        self.leases.fate, self.leases.slowness, self.leases.before_write = fate, slowness, meanwhile
        if others[1]:
            self.leases.before_answer = other.turn
        self.both[who].turn()
        self.leases.well()

    @rule(who=WHO, fate=FATES)
    def leave(self, who: int, fate: str) -> None:
        """It is told to stop, gives its Lease back if it can, and another process takes its place."""
        stop = threading.Event()
        stop.set()
        self.leases.fate = fate
        its = self.both[who]
        its.elector.run(stop, lambda _leading: None, lambda: its.calls.append("end"))
        self.leases.well()
        self._begin_and_end(its)
        assert not its.elector.leading.has_begun
        self.born += 1
        self.both[who] = Candidate(self.leases, f"process-{self.born}", lambda: self.now)

    @staticmethod
    def _begin_and_end(its: Candidate) -> None:
        assert its.calls == (["begin", "end"] * len(its.calls))[: len(its.calls)]

    @invariant()
    def at_most_one_leads(self) -> None:
        assert sum(each.leads() for each in self.both) <= 1

    @invariant()
    def who_leads_was_told_and_who_was_not_does_not(self) -> None:
        for each in self.both:
            self._begin_and_end(each)
            assert not each.leads() or each.calls[-1] == "begin"

    def teardown(self) -> None:
        """When all is well again, one leads after the longest time that a Lease may be held."""
        for _ in range(10):
            for each in self.both:
                each.turn()
            self._wait(2.0)
        assert sum(each.leads() for each in self.both) == 1


Elections.TestCase.settings = settings(max_examples=300, stateful_step_count=20, deadline=None)
test_any_election = Elections.TestCase


def test_a_slow_answer_does_not_lengthen_a_lease() -> None:
    """The other one saw the write when it was done; the time counts from before the request."""
    state = Elections()
    one, other = state.both
    state.leases.slowness, state.leases.before_answer = 9.0, other.turn
    one.turn()
    state.leases.well()
    assert one.leads()
    state.time_goes_on(1.0)
    assert not one.leads()
    state.time_goes_on(5.0)
    other.turn()
    assert other.leads()
