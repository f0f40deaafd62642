"""What cannot be done now: said once for as long as it lasts, and once when it is over. A fault of one thing ends nothing else."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)


class Troubles:
    """By what they are about. Whoever has one tries again."""

    def __init__(self) -> None:
        self._present: dict[str, str] = {}

    @contextlib.contextmanager
    def about(self, what: str, now: str = "") -> Iterator[list[Exception]]:
        """Takes any exception of what is done inside; the list then holds it. ``now``: what happens meanwhile."""
        found: list[Exception] = []
        try:
            yield found
        except Exception as error:  # noqa: BLE001 - a library's fault or our own: it is tried again all the same
            found.append(error)
        self._say(what, "; ".join(filter(None, (_text(found[0]), now))) if found else "", found)

    def note(self, what: str, why: str) -> None:
        """So it is now; ``why``: "" if there is no trouble."""
        self._say(what, why, [])

    def _say(self, what: str, why: str, found: list[Exception]) -> None:
        before = self._present.get(what, "")
        if why == before:
            return
        if why:
            self._present[what] = why
            # Of an OSError the words say all; anything else is a fault of ours, which needs its place.
            trace = next((each for each in found if not isinstance(each, OSError)), None)
            log.error("%s: %s; trying again", what, why, exc_info=trace)
        else:
            del self._present[what]
            log.warning("%s: well again after: %s", what, before)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, OSError) else repr(error)
