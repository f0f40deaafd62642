"""A node's worker tries again whatever was raised, later each time, and harms no other node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lace_sdn.controller.backoff import Backoff
from lace_sdn.controller.troubles import Troubles
from lace_sdn.controller.worker import RETRY_FIRST, RETRY_LAST, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Loop:
    node = "node-1"
    due = None

    def __init__(self, step: Callable[[], bool]) -> None:
        self._step = step
        self.forgot = 0

    def step(self, _world: object) -> bool:
        return self._step()

    def forget(self) -> None:
        self.forgot += 1

    def audit(self) -> None: ...


class Process:
    """``plan``: whether the plan of the node's stack can be written."""

    world: Any = object()

    def __init__(self) -> None:
        self.plan = True

    def note(self, _loop: object) -> None: ...

    def publish(self) -> None: ...

    def publish_host(self, _node: str, _world: object) -> bool:
        return self.plan


def wrong() -> bool:
    raise RuntimeError("a mistake in the compiler")


def worker(step: Callable[[], bool]) -> tuple[Worker, Loop, Process]:
    loop, process = Loop(step), Process()
    return Worker(loop, process), loop, process  # type: ignore[arg-type]


def test_a_mistake_of_ours_is_tried_again_later_each_time_and_forgets_what_was_begun() -> None:
    its, loop, _ = worker(wrong)
    pauses = [its._turn() for _ in range(8)]
    assert pauses[:3] == [RETRY_FIRST, 2 * RETRY_FIRST, 4 * RETRY_FIRST]
    assert pauses[-1] == RETRY_LAST
    assert loop.forgot == 8


def test_a_step_that_succeeds_begins_with_the_shortest_pause_again() -> None:
    answers = iter((False, False, True, False))
    its, _, _ = worker(lambda: next(answers))
    pauses = [its._turn() for _ in range(4)]
    assert (pauses[0], pauses[1], pauses[3]) == (RETRY_FIRST, 2 * RETRY_FIRST, RETRY_FIRST)


def test_a_plan_that_cannot_be_written_is_owed_though_the_switch_is_programmed() -> None:
    its, _, process = worker(lambda: True)
    process.plan = False
    assert its._turn() == RETRY_FIRST
    process.plan = True
    assert its._turn() > RETRY_FIRST


def test_back_off_doubles_up_to_the_last() -> None:
    its = Backoff(0.2, 1.0)
    assert [its.failed() for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    its.succeeded()
    assert its.failed() == 0.2


def test_a_trouble_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    for _ in range(3):
        with troubles.about("the state file", "all else goes on") as found:
            raise OSError(28, "No space left on device")
    assert [str(each) for each in found] == ["[Errno 28] No space left on device"]
    with troubles.about("the state file"):
        pass
    said = [each.getMessage() for each in caplog.records]
    trouble = "[Errno 28] No space left on device; all else goes on"
    assert said == [
        f"the state file: {trouble}; trying again",
        f"the state file: well again after: {trouble}",
    ]


def test_a_mistake_of_ours_is_said_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    with Troubles().about("node=a"):
        wrong()
    assert "in wrong" in caplog.text
