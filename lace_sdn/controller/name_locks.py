"""A lock for each name that somebody holds or waits for."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class _Lock:
    """``users``: who holds it or waits for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class NameLocks:
    """Of as many names as come; nothing is kept of those that nobody uses."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, _Lock] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Alone with the name, after whoever has it now."""
        with self._used(name) as lock, lock:
            yield

    @contextlib.contextmanager
    def if_free(self, name: str) -> Iterator[bool]:
        """True, and alone with the name; or False, at once."""
        with self._used(name) as lock:
            is_free = lock.acquire(blocking=False)
            try:
                yield is_free
            finally:
                if is_free:
                    lock.release()

    @contextlib.contextmanager
    def _used(self, name: str) -> Iterator[threading.Lock]:
        with self._guard:
            its = self._locks.setdefault(name, _Lock())
            its.users += 1
        try:
            yield its.lock
        finally:
            with self._guard:
                its.users -= 1
                if not its.users:
                    del self._locks[name]
