"""``lace-sdn operator`` as a process: everybody watches, so that whoever comes to lead knows the cluster already; the leader writes.

One thread keeps the index and allocates, at once. One writes status, slowly. One keeps the Lease. Each kind of object is watched by one more.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.client import Api
from lace_sdn.kube.api.elector import Elector, Times
from lace_sdn.kube.api.events import Events
from lace_sdn.model.objects import MAX_NETWORK_KEY
from lace_sdn.operator.feed import Feed
from lace_sdn.operator.index import Index
from lace_sdn.operator.memberships import Memberships
from lace_sdn.operator.metrics import Metrics
from lace_sdn.operator.reporter import Reporter
from lace_sdn.operator.stores import Stores
from lace_sdn.operator.worker import GRACE, Worker
from lace_sdn.operator.writer import Writer
from lace_sdn.telemetry import serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lace_sdn.operator.writes import Write

log = logging.getLogger(__name__)

CONTROLLER: Final = "lace-cni.io/operator"
LOOK_AT_ALL: Final = 60.0
"""Seconds after which every network is planned again, whatever was noted."""
STANDBY: Final = 0.5
REPORT_EVERY: Final = 1.0
REPORT_SHARE: Final = 0.2
"""Of the time; status of a large cluster takes seconds to work out, and allocation must not wait for that."""
WRITES: Final = 100.0
STATUS_WRITES: Final = 20.0
"""A second, at most, on average."""
BURST: Final = 4.0
"""Seconds' worth of writes at once."""
STUCK: Final = 120.0
"""Seconds without a sign of life of the thread that allocates, after which the process counts as ill."""


@dataclass(frozen=True)
class Settings:
    """``telemetry``: HOST:PORT of health and metrics, "" for none; ``keys``: the network keys that are given."""

    namespace: str
    identity: str
    kubeconfig: Path | None = None
    server: str | None = None
    lease: str = "lace-sdn-operator"
    telemetry: str = ""
    keys: range = field(default_factory=lambda: range(1, MAX_NETWORK_KEY + 1))
    grace: float = GRACE
    times: Times = field(default_factory=Times)


class Pace:
    """At most so many a second, and ``BURST`` seconds' worth at once."""

    def __init__(self, rate: float, wait: Callable[[float], bool]) -> None:
        """``wait``: waits for so many seconds; True if it is time to end."""
        self._rate = rate
        self._wait = wait
        self._left = rate * BURST
        self._filled = time.monotonic()

    def take(self) -> bool:
        """Wait for one's turn. False: it is time to end."""
        now = time.monotonic()
        self._left = min(self._rate * BURST, self._left + (now - self._filled) * self._rate)
        self._filled = now
        self._left -= 1
        return self._left >= 0 or not self._wait(-self._left / self._rate)


class Process:
    def __init__(self, settings: Settings) -> None:
        """Nothing is sent yet. Raises ApiUnreachable if it is not known where the API server is."""
        self._settings = settings
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._api = Api.connect(settings.kubeconfig, server=settings.server, user_agent="lace-sdn-operator")
        self.stores = Stores(self._api)
        self.metrics = Metrics()
        self.index = Index(settings.keys)
        self._feed = Feed(self.index)
        self._elector = Elector(
            self._api, settings.namespace, settings.lease, settings.identity, times=settings.times
        )
        self._memberships = Memberships(
            self.index, self._api, self.stores, clock=time.monotonic, jitter=random.random
        )
        self._pace = Pace(WRITES, self._stop.wait)
        self.worker = Worker(
            self.index,
            Writer(self._api, self.stores),
            settle=self._feed.settle,
            may_write=self._may_write,
            clock=time.monotonic,
            jitter=random.random,
            wrote=self._wrote,
            spare=self._memberships.serve,
            grace=settings.grace,
        )
        self._reporter = Reporter(
            self.stores,
            self._api,
            Events(self._api, CONTROLLER, settings.identity),
            lacks=lambda: self.worker.lacks,
            pace=self._may_report,
        )
        self._status_pace = Pace(STATUS_WRITES, self._stop.wait)
        self._has_begun = False
        self._alive = time.monotonic()
        self._last_write = 0.0
        for resource in self.stores.of:
            self.stores.listen(resource, self._feed.listener(resource))
            self.stores.listen(resource, self._woken)
        self._feed.also(self._memberships.changed)

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises OSError when the address of its telemetry is not to be had."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        # A computation of the thread that writes status must not keep an allocation waiting.
        sys.setswitchinterval(0.001)
        with contextlib.ExitStack() as stack:
            if self._settings.telemetry:
                registry = self.metrics.registry
                server = serve(self._settings.telemetry, self.health, self.ready, registry)
                stack.callback(server.close)
            self.stores.start(self._stop)
            threads = [
                threading.Thread(target=each, name=each.__name__, daemon=True)
                for each in (self._allocate, self._report)
            ]
            for thread in threads:
                thread.start()
            if self._await_stores():
                # The objects of a large cluster are millions, and stay: looking through them all would take seconds.
                gc.collect()
                gc.freeze()
                self._elector.run(self._stop, self._lead, self._follow)
            for thread in threads:
                thread.join(15.0)

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    # What it says of itself.

    def health(self) -> str:
        silent = time.monotonic() - self._alive
        return f"nothing was done for {silent:.0f} s" if silent > STUCK else ""

    def ready(self) -> str:
        """Ready to lead, or leading."""
        if missing := self.stores.missing:
            return f"not listed yet: {', '.join(missing)}"
        return "; ".join(filter(None, (*self.stores.troubles, self._elector.trouble)))

    # Threads.

    def _await_stores(self) -> bool:
        """Nothing is written, and no Lease taken, by who does not know the whole cluster."""
        while self.stores.missing:
            if self._stop.wait(0.05):
                return False
        return not self._stop.is_set()

    def _lead(self, _leading: Any) -> None:
        self.metrics.leading.set(1)
        self._has_begun = False
        self._wake.set()

    def _follow(self) -> None:
        self.metrics.leading.set(0)

    def _is_leading(self) -> bool:
        return self._elector.leading.is_set() and not self._stop.is_set()

    def _may_write(self) -> bool:
        self._alive = time.monotonic()
        return self._is_leading()

    def _wrote(self, write: Write, is_done: bool) -> None:
        self.metrics.wrote(write, is_done)
        self._last_write = time.monotonic()
        self._pace.take()

    def _may_report(self) -> bool:
        return self._is_leading() and self._status_pace.take() and self._is_leading()

    def _woken(self, _key: Any, _old: Any, _new: Any) -> None:
        self._wake.set()

    def _allocate(self) -> None:
        looked = 0.0
        while not self._stop.is_set():
            self._alive = began = time.monotonic()
            due: float | None = began + STANDBY
            try:
                if not self._is_leading():
                    self._feed.settle()
                else:
                    if not self._has_begun or began >= looked + LOOK_AT_ALL:
                        self._look_at_all()
                        looked = began
                    due = self.worker.work()
                    if self._last_write >= began:
                        self.metrics.seconds.observe(self._last_write - began)
                    self.metrics.lacks(len(self.worker.lacks.keyless), len(self.worker.lacks.shortages))
            except Exception:
                # A fault of ours: said, and tried again; what is planned does not depend on what was done before.
                log.exception("planning failed")
                self._stop.wait(STANDBY)
            due = min(each for each in (due, self._memberships.due, began + LOOK_AT_ALL) if each is not None)
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()

    def _look_at_all(self) -> None:
        if self._has_begun:
            self.index.dirty.update(self.index.all_names())
            return
        self._has_begun = True
        self._feed.settle()
        self.worker.start()
        self._memberships.start()

    def _report(self) -> None:
        pause = REPORT_EVERY
        while not self._stop.wait(pause):
            if not self._is_leading():
                self._reporter.settle()
                continue
            began = time.monotonic()
            try:
                writes = self._reporter.round()
                self.metrics.reported(writes, self._reporter.unenforced)
            except Exception:
                log.exception("status is not written")
            took = time.monotonic() - began
            self.metrics.report_seconds.set(took)
            pause = max(REPORT_EVERY, took * (1 / REPORT_SHARE - 1))
