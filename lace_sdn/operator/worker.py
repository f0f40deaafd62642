"""Plans and writes, for one network after another, until nothing is left to do now. One thread calls it; the clock is given."""

from __future__ import annotations

import heapq
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.operator.plan import plan
from lace_sdn.operator.writes import network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lace_sdn.operator.block_plan import Shortage
    from lace_sdn.operator.index import Index
    from lace_sdn.operator.things import Thing
    from lace_sdn.operator.writer import Writer
    from lace_sdn.operator.writes import Write

log = logging.getLogger(__name__)

GRACE: Final = 60.0
"""Seconds of continuous disuse before something is taken away: longer than a request of a former leader can be under way, and than a watch
may lag behind before it counts as lost."""

FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 30.0


@dataclass(slots=True)
class Disuse:
    """Since when each thing has had no use, as seen here."""

    grace: float
    _since: dict[str, dict[Thing, float]] = field(default_factory=dict)

    def note(self, network: str, things: Iterable[Thing], now: float) -> None:
        """All that is in disuse in a network now; what was before and is not here starts anew."""
        before = self._since.pop(network, {})
        after = {thing: before.get(thing, now) for thing in things}
        if after:
            self._since[network] = after

    def ripe(self, network: str, now: float) -> frozenset[Thing]:
        return frozenset(
            thing for thing, since in self._since.get(network, {}).items() if since + self.grace <= now
        )

    def due(self, network: str) -> float | None:
        """When the next thing of the network is ripe."""
        return min((since + self.grace for since in self._since.get(network, {}).values()), default=None)

    def forget(self) -> None:
        self._since.clear()


@dataclass(slots=True)
class Retries:
    """When a network whose writes failed is tried again: later each time."""

    jitter: Callable[[], float]
    _delays: dict[str, float] = field(default_factory=dict)

    def failed(self, network: str, now: float) -> float:
        """When to try again."""
        delay = min(2 * self._delays.get(network, FIRST_DELAY / 2), LONGEST_DELAY)
        self._delays[network] = delay
        return now + delay * (0.5 + self.jitter())

    def succeeded(self, network: str) -> None:
        self._delays.pop(network, None)


@dataclass(frozen=True, slots=True)
class Lacks:
    """What cannot be given now: networks without a key, and those whose nodes lack blocks. Never changed, so any thread may read it."""

    keyless: frozenset[str] = frozenset()
    shortages: Mapping[str, Shortage] = field(default_factory=dict)


class Worker:
    """``settle``: takes over what the stores have noted since; ``may_write``: whether this process leads, asked before each write.

    ``spare``: something less urgent, done when nothing else is to be done; whether there was anything.
    """

    def __init__(  # noqa: PLR0913 - each is something that tests replace
        self,
        index: Index,
        writer: Writer,
        *,
        settle: Callable[[], None],
        may_write: Callable[[], bool],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        wrote: Callable[[Write, bool], None] = lambda _write, _done: None,
        spare: Callable[[], bool] = lambda: False,
        grace: float = GRACE,
    ) -> None:
        self.lacks = Lacks()
        self._index = index
        self._writer = writer
        self._settle = settle
        self._may_write = may_write
        self._clock = clock
        self._wrote = wrote
        self._spare = spare
        self._disuse = Disuse(grace)
        self._retries = Retries(jitter)
        self._later: list[tuple[float, str]] = []
        self._noted: set[tuple[float, str]] = set()
        self._pause: float | None = None
        self._waiting: dict[str, float] = {}

    def start(self) -> None:
        """Look at everything, and take nothing for idle that was seen idle before: who led in between is not known."""
        self._disuse.forget()
        self._later.clear()
        self._noted.clear()
        self._waiting.clear()
        self._pause = None
        self._index.dirty.update(self._index.all_names())

    def work(self) -> float | None:
        """Do all that can be done now. The answer is when, by the clock, there is more to do; None: after the next change."""
        while self._may_write():
            self._settle()
            self._index.refresh()
            if self._pause is not None and self._pause > self._clock():
                return self._pause
            self._wake()
            name = self._next()
            if name is None:
                if self._spare():
                    continue
                return self._later[0][0] if self._later else None
            try:
                self._serve(name)
            except Exception:
                # A fault of ours with one network must not end the others': said loudly, tried again later each time.
                log.exception('Network "%s" cannot be planned; trying again', name)
                self._again(name)
        return None

    def _next(self) -> str | None:
        """A network that is to be looked at, and not waiting for another try."""
        for name in self._index.dirty:
            if name not in self._waiting:
                self._index.dirty.discard(name)
                return name
        return None

    def _wake(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, name = entry = heapq.heappop(self._later)
            self._noted.discard(entry)
            if self._waiting.get(name, due) <= due:
                self._waiting.pop(name, None)
                self._index.dirty.add(name)

    def _serve(self, name: str) -> None:
        """One plan for one network, and what it asks for; if that changed anything it is planned again."""
        now = self._clock()
        found = plan(self._index.view(name), self._disuse.ripe(name, now))
        self._disuse.note(name, found.disused, now)
        self._tell(name, lacks_key=found.lacks_key, shortage=found.shortage)
        due = self._disuse.due(name)
        if due is not None and due > now:
            self._look_at(due, name)
        for write in found.writes:
            if not self._may_write() or not self._do(write):
                break
        else:
            self._retries.succeeded(name)

    def _tell(self, name: str, *, lacks_key: bool, shortage: Shortage | None) -> None:
        (self._index.lacking.add if lacks_key else self._index.lacking.discard)(name)
        if (name in self.lacks.keyless) == lacks_key and self.lacks.shortages.get(name) == shortage:
            return
        shortages = {key: each for key, each in self.lacks.shortages.items() if key != name}
        if shortage:
            shortages[name] = shortage
        self.lacks = Lacks(frozenset(self._index.lacking), shortages)

    def _do(self, write: Write) -> bool:
        name = network_of(write)
        try:
            done = self._writer.do(write)
        except (ApiError, ApiUnreachable) as error:
            log.warning("%s: %s; trying again", _words(write), error)
            if isinstance(error, ApiUnreachable):
                self._pause = self._retries.failed("", self._clock())
            self._again(name)
            return False
        self._retries.succeeded("")
        self._wrote(write, done)
        if not done:
            self._again(name)
        return done

    def _again(self, name: str) -> None:
        """After a while: at once would be a loop when what was seen does not change."""
        due = self._retries.failed(name, self._clock())
        self._waiting[name] = due
        self._look_at(due, name)

    def _look_at(self, due: float, name: str) -> None:
        if (due, name) not in self._noted:
            self._noted.add((due, name))
            heapq.heappush(self._later, (due, name))


def _words(write: Write) -> str:
    return f'{type(write).__name__} of Network "{network_of(write)}"'
