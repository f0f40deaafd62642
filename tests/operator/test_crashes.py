"""The operator may be killed at every request, before it is sent or after it took effect: nothing is given twice, all is done in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from story import Killed, Stage, faults, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory_api import MemoryServer


class Deadly:
    """The server, with one request at which the process that made it is gone. ``look`` is called after every request."""

    def __init__(self, server: MemoryServer, at: int, *, is_sent: bool) -> None:
        self.count = 0
        self.look: Callable[[], None] = lambda: None
        self._server = server
        self._at = at
        self._is_sent = is_sent

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._server, name)

        def made(*args: Any, **named: Any) -> Any:
            self.count += 1
            is_last = self.count == self._at
            if is_last and not self._is_sent:
                raise Killed
            try:
                answer = call(*args, **named)
            finally:
                self.look()
            if is_last:
                raise Killed
            return answer

        return made


def lived(at: int, *, is_sent: bool = False) -> tuple[Stage, int]:
    """The stage in the end, and how many requests were made."""
    made: list[Deadly] = []

    def around(server: MemoryServer) -> Deadly:
        made.append(Deadly(server, at, is_sent=is_sent))
        return made[0]

    stage = Stage(around)
    made[0].look = stage.promises.look
    run(stage)
    return stage, made[0].count


REQUESTS = 100
"""At least so many are made in the scenario."""


def test_the_scenario_makes_enough_requests() -> None:
    stage, count = lived(0)
    assert (stage.promises.broken, list(faults(stage))) == ([], [])
    assert count >= REQUESTS


@pytest.mark.parametrize("is_sent", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, REQUESTS + 1))
def test_killed_at_a_request_it_goes_on(at: int, is_sent: bool) -> None:
    stage, _ = lived(at, is_sent=is_sent)
    assert (stage.promises.broken, list(faults(stage))) == ([], [])
