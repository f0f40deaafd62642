"""The settings of a node's datapath, kept in force: when to look at them, and what is said about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lace_sdn.switch.settings import Kept

log = logging.getLogger(__name__)

RETRY_FIRST: Final = 0.5
RETRY_LAST: Final = 15.0
"""Seconds."""


class SettableDatapath(Protocol):
    """``lace_sdn.switch.datapath.Datapath``, or another one in a test."""

    def keep(self, limits: Mapping[int, int] | None = None) -> Kept:
        """Have every setting in force, and these limits of conntrack zones; always ends, raises nothing."""


class DatapathSettings:
    """Looks when it is told to, and again after a failure, later and later. ``datapath``: None while it is not known.

    ``problems``: what is not known to be in force, in words. ``due``: by the clock, when a failure is tried again; None for never.
    ``limits``: what conntrack zones may have, and ``connections``: what they had when it was looked last, by zone.
    """

    def __init__(self, node: str, clock: Callable[[], float]) -> None:
        """``clock``: seconds, never goes back."""
        self.datapath: SettableDatapath | None = None
        self.problems: tuple[str, ...] = ()
        self.due: float | None = None
        self.limits: Mapping[int, int] = {}
        self.connections: Mapping[int, int] = {}
        self._node = node
        self._clock = clock
        self._pause = RETRY_FIRST

    def keep(self, limits: Mapping[int, int], *, is_new: bool, is_audit: bool) -> None:
        """Look, if the bridge ``is_new`` (its daemon may have started again), or is audited, or a failure is due, or zones have other limits."""
        is_due = self.due is not None and self._clock() >= self.due
        is_other = limits != self.limits
        if self.datapath is None or not (is_new or is_audit or is_due or is_other):
            return
        self.limits = limits
        kept = self.datapath.keep(limits)
        self.connections = kept.connections
        for name in kept.changed:
            if is_new or is_other or self.problems:
                log.info("node=%s: datapath set: %s", self._node, name)
            else:
                log.warning("node=%s: somebody changed the datapath; set again: %s", self._node, name)
        self._say(kept.problems)
        self._pause = min(self._pause * 2, RETRY_LAST) if self.problems and kept.problems else RETRY_FIRST
        self.problems = kept.problems
        self.due = self._clock() + self._pause if kept.problems else None

    def clear(self) -> None:
        """There is no bridge now; the next one is looked at when it comes."""
        self.due = None

    def _say(self, problems: tuple[str, ...]) -> None:
        """Each problem once for as long as it lasts."""
        for problem in problems:
            if problem not in self.problems:
                log.warning(
                    "node=%s: datapath setting: %s; flows go on, it is tried again", self._node, problem
                )
        if self.problems and not problems:
            log.warning("node=%s: all settings of the datapath are in force again", self._node)
