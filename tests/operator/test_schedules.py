"""The orders of requests that are dangerous, one by one."""

from __future__ import annotations

import pytest
from duel import Duel
from schedules import SCHEDULES, sentences


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda each: each.__name__)
def test_nothing_is_given_twice_in_an_awkward_order(schedule: object) -> None:
    assert list(sentences(schedule, Duel())) == []


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda each: each.__name__)
def test_the_awkward_order_can_be_played(schedule: object) -> None:
    """No request that it waits for has gone."""
    schedule(Duel())  # type: ignore[operator]
