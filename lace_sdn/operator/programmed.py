"""On how many nodes an object's present generation is programmed: from the digests that nodes publish of what they have.

Each state that all objects of a kind were in has a digest and a place in the order in which the states came. A node that publishes a
digest has programmed all that was in force at that place, and before. What it has once had it keeps: nodes go forward only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.kube.digests import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED: Final = 2_000
"""States of a kind. A node that is further behind counts as having none of what changed since."""

Version = tuple[str, int]
"""uid and generation."""


@dataclass(frozen=True, slots=True)
class Progress:
    """``milliseconds``: the longest that a node took, 0 if not known. ``waiting``: nodes that have it not."""

    programmed: int
    total: int
    milliseconds: int
    waiting: tuple[str, ...]


class Programmed:
    """Of one kind. To be told of every change of an object, one by one, in their order."""

    def __init__(self, entries: Iterable[tuple[str, str, int]] = ()) -> None:
        """``entries``: (name, uid, generation) of what is there at first."""
        self._objects: dict[str, Version] = {name: (uid, generation) for name, uid, generation in entries}
        self._since = dict.fromkeys(self._objects, 0)
        self._recent: list[tuple[int, str]] = []
        self._worst: dict[str, int] = {}
        self._place = 0
        self._places: OrderedDict[str, int] = OrderedDict()
        self._reached: dict[str, int] = {}
        self._ordered: list[int] = []
        self._remember()

    def __contains__(self, name: str) -> bool:
        return name in self._objects

    def changed(self, name: str, version: Version | None) -> None:
        """An object has this version now; None: it is gone."""
        if self._objects.get(name) == version:
            return
        self._place += 1
        self._worst.pop(name, None)
        if version is None:
            del self._objects[name]
            del self._since[name]
        else:
            self._objects[name] = version
            self._since[name] = self._place
            self._recent.append((self._place, name))
            del self._recent[:-REMEMBERED]
        self._remember()

    def _remember(self) -> None:
        text = digest((name, *version) for name, version in self._objects.items())
        self._places.pop(text, None)
        self._places[text] = self._place
        if len(self._places) > REMEMBERED:
            self._places.popitem(last=False)

    def reported(self, node: str, text: str, milliseconds: int) -> None:
        """A node has programmed the state of this digest, and took so long for the last step."""
        place = self._places.get(text)
        before = self._reached.get(node)
        if place is None or (before is not None and place <= before):
            return
        if before is not None:
            self._ordered.pop(bisect_left(self._ordered, before))
            first = bisect_right(self._recent, before, key=lambda each: each[0])
            last = bisect_right(self._recent, place, key=lambda each: each[0])
            for since, name in self._recent[first:last]:
                if self._since.get(name) == since:
                    self._worst[name] = max(milliseconds, self._worst.get(name, 0))
        self._reached[node] = place
        insort(self._ordered, place)

    def forget(self, node: str) -> None:
        """The node is gone."""
        before = self._reached.pop(node, None)
        if before is not None:
            self._ordered.pop(bisect_left(self._ordered, before))

    def progress(self, name: str, nodes: frozenset[str]) -> Progress:
        """Of an object that is there; ``nodes``: those that exist, and no others have reported."""
        since = self._since[name]
        count = len(self._ordered) - bisect_left(self._ordered, since)
        waiting: tuple[str, ...] = ()
        if count < len(nodes):
            waiting = tuple(sorted(node for node in nodes if self._reached.get(node, -1) < since))
        return Progress(len(nodes) - len(waiting), len(nodes), self._worst.get(name, 0), waiting)
