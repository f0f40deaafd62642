"""What the API server has of one kind, as far as it is known: kept small, compared by version, told to whoever listens."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

log = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[str, str]
"""Namespace ("" for kinds without) and name."""

REMEMBERED: Final = 10_000
"""Removals of which the version is known: no answer is later than so many of them."""


class Store(Generic[T]):
    """(namespace, name) -> ``transform(object)``; None from ``transform`` keeps the object out.

    ``on_change(key, old, new)`` is called, with None for what is not there, after each change that is one: an object that is transformed to
    the same value is none. ``version`` counts changes; ``is_synced`` is set with the first whole list. Safe for many threads.
    """

    def __init__(self, transform: Callable[[dict[str, Any]], T | None]) -> None:
        self._transform = transform
        self._lock = threading.RLock()
        self._values: dict[Key, T] = {}
        self._versions: dict[Key, int] = {}
        self._removed: dict[Key, int] = {}
        self._listed_at = 0
        self._failed: set[Key] = set()
        self.on_change: Callable[[Key, T | None, T | None], None] = lambda _key, _old, _new: None
        self.version = 0
        self.is_synced = False

    def get(self, namespace: str, name: str) -> T | None:
        """None if it is not there."""
        return self._values.get((namespace, name))

    def values(self) -> tuple[T, ...]:
        """All at one moment."""
        with self._lock:
            return tuple(self._values.values())

    def items(self) -> tuple[tuple[Key, T], ...]:
        """All at one moment, with their keys."""
        with self._lock:
            return tuple(self._values.items())

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self.values())

    @property
    def unread(self) -> tuple[Key, ...]:
        """Of which nothing is known but that they are there: they could never be read."""
        with self._lock:
            return tuple(
                sorted(key for key in self._failed if key in self._versions and key not in self._values)
            )

    def put(self, body: dict[str, Any]) -> None:
        """An object as it is now; ignored if a later state of it, or its removal, is known already."""
        with self._lock:
            key, version = key_of(body), _version_of(body)
            if not version or version >= self._least(key):
                self._set(key, version, self._transformed(key, body))

    def remove(self, body: dict[str, Any]) -> None:
        """An object as it was at its end; ignored if there is a later one of its name."""
        with self._lock:
            key, version = key_of(body), _version_of(body)
            known = self._versions.get(key, 0)
            if version and version < known:
                return
            self._set(key, 0, None)
            if at := max(version, known, self._removed.pop(key, 0)):
                self._removed[key] = at
            if len(self._removed) > REMEMBERED:
                del self._removed[next(iter(self._removed))]

    def replace(self, bodies: Iterable[dict[str, Any]], version: str = "") -> None:
        """Exactly these, as a list of ``version`` says; what is newer than that list stays as it is."""
        with self._lock:
            listed_at = _number(version)
            self._listed_at = 0
            self._removed = {key: at for key, at in self._removed.items() if at > listed_at > 0}
            seen = set()
            for body in bodies:
                seen.add(key_of(body))
                self.put(body)
            for key in [key for key in (*self._values, *self._versions) if key not in seen]:
                if not listed_at or self._versions.get(key, 0) <= listed_at:
                    self._set(key, 0, None)
            self._listed_at = listed_at
            self.is_synced = True

    def _least(self, key: Key) -> int:
        """The version that a state must have to be none of before. Of what is not there, all up to its end or the last list is."""
        known = self._versions.get(key)
        return known if known is not None else max(self._removed.get(key, 0), self._listed_at) + 1

    def _set(self, key: Key, version: int, new: T | None) -> None:
        old = self._values.get(key)
        if version:
            self._versions[key] = version
        else:
            self._versions.pop(key, None)
        if new is None:
            self._values.pop(key, None)
        else:
            self._values[key] = new
        if old is not new and old != new:
            self.version += 1
            try:
                self.on_change(key, old, new)
            except BaseException:
                # Who was to be told was not: whoever brings it again brings a change.
                self._put_back(key, old)
                raise

    def _put_back(self, key: Key, old: T | None) -> None:
        self._versions.pop(key, None)
        if old is None:
            self._values.pop(key, None)
        else:
            self._values[key] = old

    def _transformed(self, key: Key, body: dict[str, Any]) -> T | None:
        """A fault of ours with one object must not end the rest: what was known of it stays, which is said once."""
        try:
            new = self._transform(body)
        except Exception:
            if key not in self._failed:
                now = "its last good state stays" if key in self._values else "is left out"
                log.exception("%s: cannot be read and %s", described(body), now)
            self._failed.add(key)
            return self._values.get(key)
        self._failed.discard(key)
        return new


def key_of(body: Mapping[str, Any]) -> Key:
    """Interned: thousands of objects share a namespace."""
    metadata = body["metadata"]
    return (sys.intern(metadata.get("namespace") or ""), sys.intern(metadata["name"]))


def described(body: Mapping[str, Any]) -> str:
    """``Kind namespace/name``."""
    namespace, name = key_of(body)
    full = f"{namespace}/{name}" if namespace else name
    return f"{body.get('kind', 'object')} {full}"


def _version_of(body: Mapping[str, Any]) -> int:
    return _number(body["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    """Resource versions are comparable as numbers (KEP-5504); 0 for one that is none, which is taken as it comes."""
    return int(version) if version.isdecimal() else 0
