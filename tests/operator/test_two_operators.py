"""Two operators at once, with old views and requests in any order: nothing is given twice, all is done in the end."""

from __future__ import annotations

from random import Random

import pytest
from duel import Duel, act


@pytest.mark.parametrize("seed", range(60))
def test_two_operators_give_nothing_twice(seed: int) -> None:
    duel, random = Duel(), Random(seed)  # noqa: S311 - orders, not secrets
    for _ in range(250):
        act(duel, random.randrange)
    duel.finish()
    duel.close()
    assert (duel.promises.broken, list(duel.faults())) == ([], [])
