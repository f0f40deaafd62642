"""Who leads: the holder of a Lease. Whoever does not know that it leads, does not.

Every failed request is a failed renewal; a leader steps down when its last renewal is older than ``deadline``, before another may take over. Times of
other holders are not read: a Lease is free when nobody has changed it for ``duration`` by the clock here.

Source: Kubernetes API, Lease (coordination.k8s.io/v1); the way of client-go's leaderelection.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.api.resources import LEASES

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from lace_sdn.kube.api.client import Api

log = logging.getLogger(__name__)

Data = dict[str, Any]

DURATION: Final = 15.0
DEADLINE: Final = 10.0
RETRY: Final = 2.0
"""Seconds, as controllers of Kubernetes have them."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. ``deadline`` is shorter than ``duration`` by more than a request may take."""

    duration: float = DURATION
    deadline: float = DEADLINE
    retry: float = RETRY


class Leading:
    """Whether this process leads now: also false when its Lease could not be renewed in time and a request still hangs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: float | None = None

    def is_set(self) -> bool:
        until = self._until
        return until is not None and self._clock() < until

    def extend(self, until: float) -> None:
        self._until = until

    def end(self) -> None:
        self._until = None

    @property
    def has_begun(self) -> bool:
        """Whether it was begun, and not ended by a word."""
        return self._until is not None


class Elector:
    """``identity``: of this process, unlike any other's."""

    def __init__(  # noqa: PLR0913 - what it needs, and what tests replace
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        times: Times = Times(),
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[threading.Event, float], bool] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.identity = identity
        self.leading = Leading(clock)
        self.trouble = ""
        """What is wrong between us and the Lease now; "" if nothing."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self._times = times
        self._clock = clock
        self._pause = pause or (lambda stop, seconds: stop.wait(seconds))
        self._draw = draw
        self._seen: Data | None = None
        self._seen_at = 0.0
        self._renewed = 0.0

    def run(
        self,
        stop: threading.Event,
        on_start: Callable[[Leading], None],
        on_stop: Callable[[], None],
    ) -> None:
        """Until ``stop``. ``on_start(leading)`` is called when this process comes to lead: ``leading`` is set while it does.

        Both calls must return soon, and what ``on_start`` began ends by itself when ``leading`` is not set. The Lease is given back in the end.
        """
        try:
            while not stop.is_set():
                self.turn(on_start, on_stop)
                seconds = self._times.retry * (0.8 + 0.4 * self._draw())
                if self.leading.has_begun:
                    left = self._renewed + self._times.deadline - self._clock()
                    seconds = max(0.0, min(seconds, left))
                if self._pause(stop, seconds):
                    break
        finally:
            was_leading = self.leading.has_begun
            self._step_down(on_stop)
            if was_leading:
                self._release()

    def turn(self, on_start: Callable[[Leading], None], on_stop: Callable[[], None]) -> None:
        """Try once to get or to keep the Lease."""
        began = self._clock()
        is_mine = self._try()
        if is_mine:
            self._renewed = began
            self.trouble = ""
            is_new = not self.leading.has_begun
            self.leading.extend(began + self._times.deadline)
            if is_new:
                log.info("%s leads", self.identity)
                on_start(self.leading)
        elif is_mine is False or self._renewed + self._times.deadline <= self._clock():
            self._step_down(on_stop)

    def _step_down(self, on_stop: Callable[[], None]) -> None:
        if self.leading.has_begun:
            log.warning("%s does not lead any more", self.identity)
            self.leading.end()
            on_stop()

    def _try(self) -> bool | None:
        """True: it is ours, for ``duration`` from now. False: it is another's. None: not known."""
        try:
            return self._acquired()
        except ApiError as error:
            if error.is_conflict or error.is_already_exists:
                # Somebody else wrote it. Whether that takes it from us, the next look says.
                return None
            self._fail(str(error))
        except ApiUnreachable as error:
            self._fail(str(error))
        except Exception as error:
            log.exception("the Lease %s/%s cannot be had", self._namespace, self._name)
            self._fail(repr(error))
        return None

    def _fail(self, trouble: str) -> None:
        if not self.trouble:
            log.warning("the Lease %s/%s: %s; trying again", self._namespace, self._name, trouble)
        self.trouble = trouble

    def _acquired(self) -> bool:
        try:
            found = self._api.get(LEASES, self._name, self._namespace)
        except ApiError as error:
            if not error.is_not_found:
                raise
            meta = {"namespace": self._namespace, "name": self._name}
            kind = {"apiVersion": LEASES.api_version, "kind": LEASES.kind}
            self._api.create(LEASES, {**kind, "metadata": meta, "spec": self._spec({})})
            return True
        spec = found.get("spec") or {}
        key = {name: spec.get(name) for name in ("holderIdentity", "renewTime", "leaseTransitions")}
        if key != self._seen:
            self._seen, self._seen_at = key, self._clock()
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self.identity):
            duration = float(spec.get("leaseDurationSeconds") or self._times.duration)
            if self._clock() < self._seen_at + duration:
                return False
        self._api.replace(LEASES, {**found, "spec": self._spec(spec)})
        return True

    def _spec(self, before: Data) -> Data:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        is_mine = before.get("holderIdentity") == self.identity
        return {
            **before,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if is_mine else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not is_mine and bool(before)),
        }

    def _release(self) -> None:
        """Nobody holds it: the next one need not wait."""
        try:
            found = self._api.get(LEASES, self._name, self._namespace)
            spec = found.get("spec") or {}
            if spec.get("holderIdentity") == self.identity:
                given = {**spec, "holderIdentity": "", "leaseDurationSeconds": 1}
                self._api.replace(LEASES, {**found, "spec": given})
        except (ApiError, ApiUnreachable) as error:
            log.warning("the Lease is not given back, it runs out: %s", error)
