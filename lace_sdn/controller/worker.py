"""The greenthread of one node's loop: when it steps, audits and tries again."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from lace_sdn.controller.backoff import Backoff

if TYPE_CHECKING:
    from lace_sdn.controller.node_loop import NodeLoop
    from lace_sdn.controller.world import World

log = logging.getLogger(__name__)

# Seconds.
COALESCE: Final = 0.02
COALESCE_MOST: Final = 0.1
"""A burst of changes becomes one bundle."""
RETRY_FIRST: Final = 0.5
RETRY_LAST: Final = 15.0
AUDIT_INTERVAL: Final = 10.0
"""Every bridge is read back this often, and put right if somebody changed flows of ours."""
AUDIT_SHARE: Final = 20
"""Reading back takes a twentieth of the time at most, however large the bridge."""


def gathering(took: float) -> float:
    """Seconds to wait for more changes before the next step, when the last took ``took``: half of the time is left to others."""
    return min(max(COALESCE, took), COALESCE_MOST)


class Served(Protocol):
    """The process, as a worker sees it."""

    @property
    def world(self) -> World | None: ...

    def note(self, loop: NodeLoop) -> None: ...

    def publish(self) -> None: ...

    def publish_host(self, node: str, world: World) -> bool: ...


class Worker:
    """Runs the loop of one node in a greenthread of its own, so that a slow switch, or a fault of ours, delays no other node."""

    def __init__(self, loop: NodeLoop, process: Served) -> None:
        self.loop = loop
        self._process = process
        self._wake = threading.Event()
        self._retry = Backoff(RETRY_FIRST, RETRY_LAST)
        self._audit_due = time.monotonic() + AUDIT_INTERVAL
        self._took = 0.0
        self._is_stopped = False

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """No step begins any more; one that is under way ends by itself."""
        self._is_stopped = True
        self._wake.set()

    def _run(self) -> None:
        pause = AUDIT_INTERVAL
        while True:
            self._wake.wait(pause)
            time.sleep(gathering(self._took))
            self._wake.clear()
            if self._is_stopped:
                return
            pause = self._turn()

    def _turn(self) -> float:
        """One step; the answer is when the next is due although nothing changes. Never raises."""
        started = time.monotonic()
        is_audit = started >= self._audit_due
        if is_audit:
            self.loop.audit()
        is_done = self._step()
        self._process.note(self.loop)
        self._process.publish()
        now = time.monotonic()
        self._took = now - started
        if is_audit:
            self._audit_due = now + max(AUDIT_INTERVAL, AUDIT_SHARE * self._took)
        if not is_done:
            return self._retry.failed()
        self._retry.succeeded()
        due = self._audit_due if self.loop.due is None else min(self._audit_due, self.loop.due)
        return max(due - now, 0.0)

    def _step(self) -> bool:
        """Whether all of it succeeded: the switch, and the plan of the node's own stack, each whatever became of the other."""
        world = self._process.world
        if world is None:
            return True
        is_planned = self._process.publish_host(self.loop.node, world)
        try:
            return self.loop.step(world) and is_planned
        except Exception:
            # A fault of ours in one node's program must not end the other nodes' loops: said loudly, tried again.
            log.exception(
                "node=%s: could not be brought to the desired state, the former flows stay; trying again",
                self.loop.node,
            )
            self.loop.forget()
            return False
