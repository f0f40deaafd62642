"""When what failed is tried again: soon, then later each time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Seconds to wait: ``first`` after a failure, twice as long after each further one, ``last`` at most. Pure."""

    first: float
    last: float
    _next: float = 0.0

    def failed(self) -> float:
        """How long to wait before the next try."""
        pause = self._next or self.first
        self._next = min(2 * pause, self.last)
        return pause

    def succeeded(self) -> None:
        """The next failure is a first one again."""
        self._next = 0.0
