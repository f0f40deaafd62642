"""Events: what happened to an object, for those who look at it. Never an error for the caller, never many.

Source: Kubernetes API, Event (events.k8s.io/v1).
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.api.resources import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lace_sdn.kube.api.client import Api

log = logging.getLogger(__name__)

AGAIN: Final = 3600.0
"""Seconds until the same is said of the same object again: API servers keep Events for an hour."""
REMEMBERED: Final = 20_000
RATE, BURST = 5.0, 50.0
"""Events a second, and at once."""
_LONGEST_NOTE: Final = 1024
_NO_NAMESPACE: Final = "default"
"""Where Events of objects without a namespace are (Kubernetes API: Event)."""


class Events:
    """Not safe for several threads. ``controller``: who reports, such as ``lace-cni.io/operator``; ``instance``: which of them."""

    def __init__(
        self, api: Api, controller: str, instance: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._controller = controller
        self._instance = instance
        self._clock = clock
        self._said: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._tokens, self._filled = BURST, clock()
        self.owed = 0
        """Counts what was not written and may be another time: refused for now, or too much just now."""

    def record(self, regarding: Mapping[str, Any], *, type: str, reason: str, action: str, note: str) -> bool:  # noqa: A002 - fields of an Event
        """Write one, unless the same was said within an hour, or too much was said just now. The answer: whether it was written."""
        key = (str(regarding.get("uid", "")), reason, note)
        now = self._clock()
        said = self._said.get(key)
        if said is not None and now < said + AGAIN:
            return False
        if not self._take(now):
            self.owed += 1
            return False
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        try:
            self._api.create(EVENTS, self._body(regarding, type, reason, action, note))
        except ApiError as error:
            if not error.is_already_exists:
                log.warning("an Event is not written: %s", error)
                if error.status == 429 or error.status >= 500:
                    self.owed += 1
                    del self._said[key]
                return False
        except ApiUnreachable as error:
            log.warning("an Event is not written: %s", error)
            self.owed += 1
            del self._said[key]
            return False
        return True

    def _take(self, now: float) -> bool:
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _body(self, regarding: Mapping[str, Any], kind: str, reason: str, action: str, note: str) -> Any:
        when = datetime.now(UTC)
        text = f"{regarding.get('uid', '')}/{reason}/{note}/{when:%Y%m%d%H}"
        name = (
            f"{str(regarding['name'])[:200].rstrip('-.')}.{blake2b(text.encode(), digest_size=8).hexdigest()}"
        )
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": regarding.get("namespace") or _NO_NAMESPACE, "name": name},
            "eventTime": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "type": kind,
            "regarding": {
                name: regarding[name]
                for name in ("apiVersion", "kind", "namespace", "name", "uid")
                if regarding.get(name)
            },
            "note": note if len(note) <= _LONGEST_NOTE else note[: _LONGEST_NOTE - 3] + "...",
        }
