"""The smallest number that nobody has, found without looking at all of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class FreeNumbers:
    """Numbers of ``among`` and how many have each; numbers outside of it may be had too."""

    def __init__(self, among: range) -> None:
        self._among = among
        self._holders: Counter[int] = Counter()
        self._lowest = among.start

    def take(self, number: int) -> None:
        self._holders[number] += 1

    def give_back(self, number: int) -> None:
        """Raises KeyError for a number that nobody has."""
        if self._holders[number] < 1:
            raise KeyError(number)
        self._holders[number] -= 1
        if not self._holders[number]:
            del self._holders[number]
            self._lowest = min(self._lowest, max(number, self._among.start))

    def smallest(self) -> int | None:
        """None if all are taken."""
        while self._lowest in self._holders:
            self._lowest += 1
        return self._lowest if self._lowest < self._among.stop else None


class Tally:
    """How often each thing is there. The answers say whether it appeared, or vanished."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()

    def add(self, thing: Hashable) -> bool:
        self._counts[thing] += 1
        return self._counts[thing] == 1

    def remove(self, thing: Hashable) -> bool:
        self._counts[thing] -= 1
        if self._counts[thing] > 0:
            return False
        del self._counts[thing]
        return True
