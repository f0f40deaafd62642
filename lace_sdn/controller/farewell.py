"""When connections to endpoints that left are forgotten: at once, and again, until no switch can make new ones. Pure.

A barrier says that flows are in force, but for a while a switch still switches packets by what it remembers of the former
ones. A client that goes on sending then makes the connection anew that was just forgotten, and keeps it alive: on an idle
machine 1 time in 40, with 5000 flows in the datapath every time (Open vSwitch 3.1). 50 ms later it did not, and on a machine
four times overloaded 1 time in 30 after 0.25 s, never after 0.5 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.controller.stale_endpoints import Record
    from lace_sdn.openflow.flow import Flow

FLUSHED_AFTER: Final = (0.0, 0.25, 1.0)
"""Seconds since nothing leads to the endpoint any more: most clients change at once, the last are found at the end."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What is done now: connections of ``flush`` forgotten, then ``remove`` removed; ``stay`` is left."""

    flush: tuple[Record, ...]
    remove: tuple[Record, ...]
    stay: tuple[Record, ...]


class _Known(NamedTuple):
    since: float
    flushed: int
    """How often."""

    @property
    def due(self) -> float:
        return self.since + FLUSHED_AFTER[self.flushed]


class Farewell:
    """The records of one bridge and since when they are there. Who starts anew begins anew: that takes longer and is right."""

    def __init__(self) -> None:
        self._known: dict[Flow, _Known] = {}

    @property
    def due(self) -> float | None:
        """When the next visit is needed; None while there are no records."""
        return min((each.due for each in self._known.values()), default=None)

    def clear(self) -> None:
        """Nothing is known of the bridge any more, or it has no records."""
        self._known = {}

    def visit(self, records: Iterable[Record], now: float) -> Visit:
        """``records``: all that the bridge has ``now``, which are confirmed; whoever returned is none any more."""
        flush, remove, stay = [], [], []
        known: dict[Flow, _Known] = {}
        for record in records:
            its = self._known.get(record.flow, _Known(now, 0))
            if its.due <= now:
                flush.append(record)
                its = its._replace(flushed=its.flushed + 1)
            if its.flushed == len(FLUSHED_AFTER):
                remove.append(record)
            else:
                stay.append(record)
                known[record.flow] = its
        self._known = known
        return Visit(tuple(flush), tuple(remove), tuple(stay))
