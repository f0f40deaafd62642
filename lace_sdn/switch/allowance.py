"""So many a second, and never more than a second's worth at once; each port by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Allowance:
    """``at``: seconds of a clock that never goes back."""

    rate: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        """Whether one more may be done."""
        self.left = min(self.rate, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Allowances:
    """``rate`` for each port: what one takes is not missing to another. Ports are a switch's, so there are not many."""

    rate: float
    _of: dict[int, Allowance] = field(default_factory=dict)

    def take(self, port: int, now: float) -> bool:
        """Whether one more may be done for ``port``."""
        own = self._of.get(port)
        if own is None:
            own = self._of[port] = Allowance(self.rate, self.rate, now)
        return own.take(now)
