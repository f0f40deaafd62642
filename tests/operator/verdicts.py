"""Those who watch an operator, each in its own way; each says what it found, one sentence after another."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from duel import Duel, act
from schedules import SCHEDULES, sentences
from story import faults
from test_crashes import lived

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS: Final = 40


def a_life() -> Iterator[str]:
    """One operator that is not killed."""
    stage, _count = lived(0)
    yield from stage.promises.broken
    yield from faults(stage)


def a_life_with_crashes() -> Iterator[str]:
    """Killed at a few of its requests."""
    for at in range(3, 100, 9):
        for is_sent in (False, True):
            stage, _count = lived(at, is_sent=is_sent)
            yield from stage.promises.broken
            yield from faults(stage)


def awkward_orders() -> Iterator[str]:
    for schedule in SCHEDULES:
        yield from sentences(schedule, Duel())


def any_order() -> Iterator[str]:
    for seed in range(SEEDS):
        duel, random = Duel(), Random(seed)  # noqa: S311 - orders, not secrets
        for _ in range(250):
            act(duel, random.randrange)
            if duel.promises.broken:
                break
        else:
            duel.finish()
        duel.close()
        yield from duel.promises.broken or duel.faults()


JUDGES: Final = (awkward_orders, a_life, any_order, a_life_with_crashes)
