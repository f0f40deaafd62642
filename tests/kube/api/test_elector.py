"""One leads, and knows it; whoever does not know, does not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from lace_sdn.kube.api.elector import Elector, Times
from lace_sdn.kube.api.resources import LEASES

if TYPE_CHECKING:
    from apiserver import ApiServer

    from lace_sdn.kube.api.client import Api


class Candidate:
    def __init__(self, api: Api, name: str, clock: list[float]) -> None:
        self.began = self.ended = 0
        self.elector = Elector(
            api, "default", "lease", name, times=Times(15.0, 10.0, 2.0), clock=lambda: clock[0]
        )

    def turn(self) -> bool:
        self.elector.turn(self._begin, self._end)
        return self.elector.leading.is_set()

    def _begin(self, _leading: Any) -> None:
        self.began += 1

    def _end(self) -> None:
        self.ended += 1


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def one(api: Api, clock: list[float]) -> Candidate:
    return Candidate(api, "one", clock)


@pytest.fixture
def other(api: Api, clock: list[float]) -> Candidate:
    return Candidate(api, "other", clock)


def test_the_first_one_leads_and_the_other_does_not(one: Candidate, other: Candidate) -> None:
    assert [one.turn(), other.turn(), one.turn(), one.began] == [True, False, True, 1]


def test_another_takes_over_when_the_lease_stays_as_it_is(
    one: Candidate, other: Candidate, clock: list[float]
) -> None:
    one.turn()
    assert not other.turn()
    clock[0] += 14.9
    assert not other.turn()
    clock[0] += 0.2
    assert other.turn()
    assert not one.turn()
    assert one.ended == 1


def test_a_leader_that_cannot_renew_stops_before_another_may_begin(
    one: Candidate, server: ApiServer, clock: list[float]
) -> None:
    """Also while its request still hangs: the time alone decides."""
    one.turn()
    server.faults.set(status=500)
    clock[0] += 9
    assert one.turn()
    clock[0] += 1.1
    assert not one.elector.leading.is_set()
    assert (one.turn(), one.ended) == (False, 1)
    server.faults.set()
    assert (one.turn(), one.began) == (True, 2)


def test_the_lease_is_given_back_in_the_end(api: Api, clock: list[float], other: Candidate) -> None:
    stop = threading.Event()
    its = Elector(api, "default", "lease", "one", pause=lambda stop, _seconds: stop.is_set())
    its.run(stop, lambda _leading: stop.set(), lambda: None)
    assert api.get(LEASES, "lease", "default")["spec"]["holderIdentity"] == ""
    assert other.turn()
