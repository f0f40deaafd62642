"""Promises of the locks of names: one at a time, others at once, nothing kept."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from lace_sdn.controller.name_locks import NameLocks


def test_one_holds_a_name_at_a_time() -> None:
    locks, inside, most = NameLocks(), [0], [0]

    def work(_turn: int) -> None:
        with locks.held("shop/a"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(work, range(200)))
    assert most == [1]
    assert len(locks) == 0


def test_another_name_does_not_wait() -> None:
    locks = NameLocks()
    with locks.held("shop/a"), locks.if_free("shop/b") as is_free:
        assert is_free


def test_a_held_name_is_not_free_and_not_waited_for() -> None:
    locks, said = NameLocks(), []

    def look() -> None:
        with locks.if_free("shop/a") as is_free:
            said.append(is_free)

    with locks.held("shop/a"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(5)
    look()
    assert said == [False, True]
    assert len(locks) == 0


def test_it_is_free_again_after_a_fault() -> None:
    locks = NameLocks()
    with contextlib.suppress(ZeroDivisionError), locks.held("shop/a"):
        print(1 / 0)
    with locks.if_free("shop/a") as is_free:
        assert is_free
