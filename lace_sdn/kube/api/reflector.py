"""Keeps a store equal to what the API server has: a list, then a watch from its version, for ever.

Sources: Kubernetes API concepts, "Efficient detection of changes" and "Watch bookmarks".
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.api.store import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.kube.api.store import Store

log = logging.getLogger(__name__)

# Seconds.
WATCH_LEAST, WATCH_MOST = 240.0, 480.0
RETRY_FIRST, RETRY_LAST = 0.2, 3.0
"""The last one bounds how long after an outage a node is behind, and how often it asks meanwhile."""
ENDED_LAST: Final = 1.0
"""After watches that the server ended as it may: asking again is cheap."""
HEALTHY: Final = 5.0
"""A watch that lasted this long was one: the next failure begins with the shortest pause again."""


@dataclass(slots=True)
class Statistics:
    """Counts since the start; ``heard``: when the server was heard last, by the clock."""

    lists: int = 0
    watches: int = 0
    events: int = 0
    errors: int = 0
    heard: float = 0.0


class Outage:
    """Shared by the reflectors of one server: its absence is said once, and whoever finds it back ends the pauses of the others."""

    INTERVAL: Final = 0.1
    SPREAD: Final = 0.5
    """Seconds over which those whose pauses were ended ask again."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._missing: set[str] = set()
        self._since = 0.0
        self._returns = 0

    def lost(self, plural: str, why: str) -> None:
        """The server cannot be reached for the watch of a kind."""
        with self._lock:
            if not self._missing:
                self._since = self._clock()
                log.warning("the API server is away: %s; what is known stays in force, trying again", why)
            self._missing.add(plural)

    def found(self, plural: str) -> None:
        """It answers."""
        with self._lock:
            self._missing.discard(plural)
            self._returns += 1
            if not self._missing:
                log.info("the API server is back after %.0f s", self._clock() - self._since)

    def pause(self, stop: threading.Event, seconds: float) -> bool:
        """Wait so long, or until somebody finds the server back; True if it is time to end."""
        before, deadline = self._returns, time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if stop.wait(min(left, self.INTERVAL)):
                return True
            if self._returns != before:
                return stop.wait(min(left, self.SPREAD * self._draw()))
        return False


class Reflector:
    """One kind, all of it or what a field selector leaves.

    ``clock``: seconds that never go back; ``pause(seconds)``: waits, True if it is time to end; ``draw``: 0..1.
    """

    def __init__(  # noqa: PLR0913 - what it needs, and what tests replace
        self,
        api: Api,
        resource: Resource,
        store: Store[Any],
        *,
        field_selector: str = "",
        outage: Outage | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[threading.Event, float], bool] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.resource = resource
        self.store = store
        self.statistics = Statistics()
        self.trouble = ""
        """What is wrong between us and the server now; "" if nothing."""
        self._api = api
        self._field_selector = field_selector
        self._clock = clock
        self._outage = outage or Outage(clock)
        self._pause = pause
        self._is_asked_to_wait = False
        self._is_away = False
        self._draw = draw
        self._version = ""
        self._retry = RETRY_FIRST
        self._since = 0.0

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``. Never raises for what the server does."""
        while not stop.is_set():
            began, self._is_asked_to_wait = self._clock(), False
            try:
                wait = self._turn(stop)
            except ApiError as error:
                wait = self._failed(error, error.retry_after)
            except ApiUnreachable as error:
                wait = self._failed(error)
            except Exception as error:
                log.exception("%s: watching failed", self.resource.plural)
                wait = self._failed(error)
            if self._clock() - began >= HEALTHY:
                self._retry = RETRY_FIRST
            if wait and self._rest(stop, wait):
                return

    def _rest(self, stop: threading.Event, seconds: float) -> bool:
        if self._pause is not None:
            return self._pause(stop, seconds)
        return stop.wait(seconds) if self._is_asked_to_wait else self._outage.pause(stop, seconds)

    def _turn(self, stop: threading.Event) -> float:
        """List if need be, and watch until the server ends it; the answer is how long to wait before the next."""
        if not self._version:
            self._list()
        began = self._clock()
        seconds = WATCH_LEAST + (WATCH_MOST - WATCH_LEAST) * self._draw()
        self.statistics.watches += 1
        heard = self.statistics.events
        for event in self._api.watch(
            self.resource,
            resource_version=self._version,
            field_selector=self._field_selector,
            timeout=seconds,
            opened=self._well,
        ):
            self._take(event)
            if stop.is_set():
                return 0.0
        self._well()
        if self._clock() - began >= HEALTHY or self.statistics.events > heard:
            self._retry = RETRY_FIRST
        # A server that ends every watch at once must not be asked as fast as it can answer.
        return self._next_pause(ENDED_LAST)

    def _list(self) -> None:
        self.statistics.lists += 1
        found, version = self._api.list(self.resource, field_selector=self._field_selector)
        self._well()
        self.store.replace(found, version)
        self._version = version

    def _take(self, event: dict[str, Any]) -> None:
        kind, body = event.get("type"), event["object"]
        self._well()
        if kind == "BOOKMARK":
            self._version = body["metadata"]["resourceVersion"]
            return
        self.statistics.events += 1
        body.setdefault("kind", self.resource.kind)
        body.setdefault("apiVersion", self.resource.api_version)
        if kind in ("ADDED", "MODIFIED"):
            self.store.put(body)
        elif kind == "DELETED":
            self.store.remove(body)
        else:
            log.warning("%s: an event of type %r is not known and is left out", described(body), kind)
        self._version = body["metadata"]["resourceVersion"]

    def _failed(self, error: Exception, retry_after: float = 0.0) -> float:
        self.statistics.errors += 1
        self._is_asked_to_wait = bool(retry_after)
        if isinstance(error, ApiError) and error.is_expired:
            # Not a fault: what was missed is not known any more, so all is asked anew. Servers say so when they were started again.
            self._version = ""
            return max(retry_after, self._next_pause(ENDED_LAST))
        self._ill(error)
        return max(retry_after, self._next_pause(RETRY_LAST))

    def _next_pause(self, most: float) -> float:
        """Half of it is chance, so that thousands of nodes do not come at once."""
        pause = min(self._retry, most) * (0.5 + 0.5 * self._draw())
        self._retry = min(self._retry * 2, RETRY_LAST)
        return pause

    def _well(self) -> None:
        self.statistics.heard = self._clock()
        if self._is_away:
            self._outage.found(self.resource.plural)
        elif self.trouble:
            seconds = self._clock() - self._since
            log.info("%s: can be watched again after %.0f s", self.resource.plural, seconds)
        self._is_away, self.trouble = False, ""

    def _ill(self, error: Exception) -> None:
        """Unreachable is the server as a whole; refusals and faults are of one kind."""
        if isinstance(error, ApiUnreachable):
            if not self._is_away:
                self._outage.lost(self.resource.plural, str(error))
            self._is_away = True
        elif not self.trouble:
            self._since = self._clock()
            log.warning(
                "%s: cannot be watched: %s; what is known stays in force, trying again",
                self.resource.plural,
                error,
            )
        self.trouble = str(error)
