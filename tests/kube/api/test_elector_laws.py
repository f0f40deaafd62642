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
    """One Lease, with versions. ``fate``: of the next requests; ``before_write``: what happens between a look and the write after it."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self.lease: Data | None = None
        self.version = 0
        self.fate = "well"
        self.before_write: Callable[[], None] = lambda: None
        self.slowness = 0.0
        self._wait = wait

    def get(self, _resource: Any, name: str, _namespace: str) -> Data:
        self._ask()
        if self.lease is None:
            raise ApiError(404, "NotFound", name)
        found = copy.deepcopy(self.lease)
        self._meanwhile()
        return found

    def create(self, _resource: Any, body: Data) -> Data:
        self._meanwhile()
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

    def _meanwhile(self) -> None:
        happens, self.before_write = self.before_write, lambda: None
        fate, slowness = self.fate, self.slowness
        happens()
        self.fate, self.slowness = fate, slowness

    def _written(self, body: Data) -> Data:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        self._wait(self.slowness)
        if self.fate == "answer lost":
            raise ApiUnreachable("broken off")
        return copy.deepcopy(self.lease)


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

    @rule(who=WHO, fate=FATES, slowness=SECONDS, between=SECONDS, other_too=st.booleans())
    def turn(self, who: int, fate: str, slowness: float, between: float, other_too: bool) -> None:
        """``between``: seconds from the look to the write; the other one may have its turn then."""

        def meanwhile() -> None:
            self._wait(between)
            if other_too:
                self.leases.fate, self.leases.slowness = "well", 0.0
                self.both[1 - who].turn()

        self.leases.fate, self.leases.slowness, self.leases.before_write = fate, slowness, meanwhile
        self.both[who].turn()
        self.leases.fate, self.leases.slowness, self.leases.before_write = "well", 0.0, lambda: None

    @rule(who=WHO, fate=FATES)
    def leave(self, who: int, fate: str) -> None:
        """It is told to stop, gives its Lease back if it can, and another process takes its place."""
        stop = threading.Event()
        stop.set()
        self.leases.fate = fate
        its = self.both[who]
        its.elector.run(stop, lambda _leading: None, lambda: its.calls.append("end"))
        self.leases.fate = "well"
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


Elections.TestCase.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
test_any_election = Elections.TestCase
