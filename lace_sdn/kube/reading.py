"""Files of manifests, read by processes of their own: a file costs its own last good state at most, never somebody else's change.

A small file has ``QUICK`` seconds of processor time, the smallest first. Large ones, and those that take longer, are read by a second
process, which nobody waits for who has a last good state, and have ``SLOW`` seconds there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.entries import manifest_in
from lace_sdn.kube.files import content_of
from lace_sdn.kube.kinds import EVERY, kinds_in
from lace_sdn.kube.manifests import Identity, Manifest, Manifests, unreadable
from lace_sdn.kube.problems import Place, Problem
from lace_sdn.kube.read_process import NO_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from lace_sdn.kube.files import Mark

log = logging.getLogger(__name__)

QUICK: Final = 1
SLOW: Final = 20
"""Seconds of processor time for one file."""
SMALL: Final = 2**18
"""Bytes of a file that is read with the first ones."""
MEMORY: Final = 2**30
"""Bytes of the process that reads it."""
SILENCE: Final = 120.0
"""Seconds without a word, on a machine however busy, until the process is ended: a file system that hangs is one tenant's too."""
ENDING: Final = 10.0
"""Seconds until a process that nobody speaks to any more has ended; one that hangs in a file system is not waited for."""
BREATH: Final = 64
"""Objects that are taken over at once, before others have their turn."""
LEFT_OUT: Final = "the file is left out"


class CostlyError(Exception):
    """A file that takes more to read than it may; the text says what."""


class _Reader:
    """One process, started when there is something to read, and again when it was ended."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._number = 0
        """Of the last request."""

    def read(self, file: Path, name: str) -> Manifests:
        """Raises CostlyError; OSError when there can be no such process, or it does not answer.

        Whatever fails, the process ends with it: an answer that was not taken would be taken for that of the next file.
        """
        try:
            connection = self._ask(file, name)
            return _taken(_lines(connection), self._number)
        except (EOFError, ConnectionResetError):
            raise self._why() from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        self._end(0)

    def _ask(self, file: Path, name: str) -> socket.socket:
        """Where the answer comes."""
        self._number += 1
        asked = {"path": os.fspath(file), "name": name, "number": self._number}
        request = json.dumps(asked).encode() + b"\n"
        connection = self._start()
        try:
            connection.sendall(request)
        except ConnectionError:
            # It was ended meanwhile, for nothing that it was asked.
            self.close()
            connection = self._start()
            connection.sendall(request)
        return connection

    def _start(self) -> socket.socket:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            with theirs:
                program = [sys.executable, "-m", "lace_sdn.kube.read_process"]
                numbers = [str(each) for each in (theirs.fileno(), self._seconds, MEMORY)]
                self._process = subprocess.Popen(
                    program + numbers,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            ours.settimeout(SILENCE)
            self._connection = ours
        return self._connection

    def _end(self, patience: float) -> int | None:
        """Let go of the process, which ends by that within ``patience`` seconds or is killed. Its status; None if it hangs all the same."""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is not None:
            connection.close()
        if process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(ENDING)
        return None

    def _why(self) -> Exception:
        """What ended the process, or its connection."""
        code = self._end(ENDING)
        if code == -signal.SIGXCPU:
            return CostlyError(f"takes more than {self._seconds} s of processor time to read")
        if code == NO_MEMORY:
            return CostlyError(f"takes more than {MEMORY // 2**20} MiB of memory to read")
        return OSError(f"the process that reads manifests has ended ({code})")


def _lines(connection: socket.socket) -> Iterator[bytes]:
    """What the process says, until it ends."""
    held = bytearray()
    while chunk := connection.recv(1 << 16):
        held += chunk
        if b"\n" in chunk:
            *lines, held = held.split(b"\n")
            yield from map(bytes, lines)


def _taken(answers: Iterable[bytes], number: int) -> Manifests:
    """The answer to request ``number``. Raises EOFError when the process ends meanwhile, OSError when it answers another one."""
    objects: list[Manifest] = []
    for line in answers:
        said = json.loads(line)
        if "data" not in said:
            if said["number"] != number:
                raise OSError(f"request {number} got the answer to {said['number']}")
            return Manifests(
                tuple(objects),
                tuple(_problem(each) for each in said["problems"]),
                frozenset(Identity(**each) for each in said["refused"]),
                frozenset(said["unreadable"]),
                frozenset(said["failed"]),
                frozenset(said["hidden"]),
            )
        objects.append(manifest_in(said))
        if not len(objects) % BREATH:
            time.sleep(0)
    raise EOFError


def _problem(said: dict[str, Any]) -> Problem:
    return Problem(**{**said, "place": Place(**said["place"])})


class _Lane:
    """Files that wait for one process, the smallest first. ``deliver`` is called from a thread of the lane."""

    def __init__(self, seconds: int, deliver: Callable[[Mark, Path, Manifests | Exception], None]) -> None:
        self._reader = _Reader(seconds)
        self._deliver = deliver
        self._waiting: dict[str, tuple[Mark, Path]] = {}
        self._there_is_more = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def put(self, mark: Mark, file: Path) -> None:
        """To be read; in place of an older state of the same file."""
        with self._there_is_more:
            self._waiting[mark[0]] = (mark, file)
            if self._thread is None:
                thread = threading.Thread(target=self._run, daemon=True)
                thread.start()
                self._thread = thread
            self._there_is_more.notify()

    def close(self) -> None:
        with self._there_is_more:
            self._is_closed = True
            self._there_is_more.notify()
        self._reader.close()

    def _run(self) -> None:
        while True:
            with self._there_is_more:
                self._there_is_more.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                name = min(self._waiting, key=lambda each: self._waiting[each][0][3])
                mark, file = self._waiting.pop(name)
            try:
                found: Manifests | Exception = self._reader.read(file, name)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is an answer
                found = error
            self._deliver(mark, file, found)


class Readings:
    """What files hold. Not for two threads at once; ``close`` ends the processes."""

    def __init__(self) -> None:
        self._quick = _Lane(QUICK, self._on_quick)
        self._slow = _Lane(SLOW, self._on_slow)
        self._done = threading.Condition()
        self._found: dict[Mark, Manifests] = {}
        self._asked: set[Mark] = set()
        self._is_quick: set[Mark] = set()
        self._said: set[Mark] = set()
        self._hidden: dict[Mark, frozenset[str]] = {}
        self._costly: set[str] = set()
        """Names of files that were once too much for the quick process: nobody waits for them again."""

    @property
    def is_behind(self) -> bool:
        """Whether the last answer called files unread."""
        return bool(self._said)

    @property
    def has_news(self) -> bool:
        """Whether a file was read that the last answer called unread."""
        return any(mark in self._found for mark in self._said)

    def of(
        self, files: Mapping[Mark, Path], patience: float | None, *, all_of_them: bool
    ) -> dict[Mark, Manifests]:
        """What each file holds.

        Files that are quick to read are waited for, ``patience`` seconds at most (None: as long as it takes); ``all_of_them``: the others too. What is
        still being read then is unreadable so far.
        """
        with self._done:
            again = {mark for mark, found in self._found.items() if found.failed}
            new = files.keys() - (self._asked - again)
            self._asked = set(files)
            self._found = {mark: found for mark, found in self._found.items() if mark in files.keys() - again}
            quick = {mark for mark in new if mark[0] not in self._costly and mark[3] <= SMALL}
            self._is_quick = (self._is_quick & files.keys()) | quick
        try:
            for mark in new:
                (self._quick if mark in quick else self._slow).put(mark, files[mark])
        except BaseException:
            # Nobody may be reading them: they are asked for again.
            with self._done:
                self._asked -= new
            raise
        with self._done:
            self._done.wait_for(
                lambda: not (self._asked if all_of_them else self._is_quick) - self._found.keys(), patience
            )
            self._said = files.keys() - self._found.keys()
            self._hidden = {mark: self._hidden.get(mark) or _hidden(files[mark]) for mark in self._said}
            return {mark: self._found.get(mark) or _unread(mark[0], self._hidden[mark]) for mark in files}

    def close(self) -> None:
        """End the processes."""
        self._quick.close()
        self._slow.close()

    def _on_quick(self, mark: Mark, file: Path, found: Manifests | Exception) -> None:
        if not isinstance(found, CostlyError):
            self._deliver(mark, file, found)
            return
        with self._done:
            is_wanted = mark in self._asked
            self._costly.add(mark[0])
            self._is_quick.discard(mark)
            self._done.notify_all()
        if is_wanted:
            log.warning("%s %s; it is read beside the others, which do not wait for it", mark[0], found)
            self._slow.put(mark, file)

    def _on_slow(self, mark: Mark, file: Path, found: Manifests | Exception) -> None:
        if not isinstance(found, Exception):
            self._costly.discard(mark[0])
        self._deliver(mark, file, found)

    def _deliver(self, mark: Mark, file: Path, found: Manifests | Exception) -> None:
        if isinstance(found, CostlyError):
            found = unreadable(mark[0], 0, str(found), LEFT_OUT, _hidden(file))
        elif isinstance(found, Exception):
            its = unreadable(mark[0], 0, f"cannot be read: {found}", LEFT_OUT)
            found = replace(its, failed=its.unreadable)
        with self._done:
            if mark in self._asked:
                self._found[mark] = found
            self._is_quick.discard(mark)
            self._done.notify_all()


def _unread(name: str, hidden: frozenset[str]) -> Manifests:
    return unreadable(name, 0, "is still being read", LEFT_OUT, hidden)


def _hidden(file: Path) -> frozenset[str]:
    """The kinds of a file by its words, which costs next to nothing; all, if it cannot be read."""
    try:
        return kinds_in(content_of(file))
    except Exception:  # noqa: BLE001 - a thread that ended by it would read nothing any more
        return EVERY
