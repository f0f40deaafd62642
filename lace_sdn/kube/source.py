"""A folder of manifests as a source that is polled: cheap to ask, and steady while a file is bad or half written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.kube.files import UNSEEN, FolderError, Found, Mark, Signature, manifest_files, signature
from lace_sdn.kube.manifests import Manifests, keep_last_good, merged, nothing, read_file, unreadable_folders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lace_sdn.kube.reading import Readings

SETTLING_NS = 100_000_000
"""A file changed less than this long ago may be half written, or change again within one tick of its clock."""

PATIENCE = 2.0
"""Seconds that a change waits for other files that changed with it."""


@dataclass(slots=True)
class FolderSource:
    """The manifests of ``path`` (a folder or a file), read again when they changed.

    Only files that changed are parsed again. An object whose file became bad keeps its last good state. ``last``: of a former process.
    """

    path: Path
    readings: Readings | None = None
    """By whom files are read; None: by whoever asks, who then waits for as long as a file may take."""
    last: Manifests = field(default_factory=Manifests)
    _seen: Signature | str | None = None
    _is_waiting: bool = False
    _is_first: bool = True
    _parsed: dict[Mark, Manifests] = field(default_factory=dict)

    def poll(self) -> bool:
        """Whether there is something new to read, by the files' times, sizes and inodes.

        A file that is being written now is given until the next poll to be whole, once.
        """
        now = self._look()
        if now == self._seen:
            return self.readings is not None and self.readings.has_news
        if not self._is_waiting and _is_settling(now, time.time_ns()):
            self._is_waiting = True
            return False
        self._is_waiting = False
        return True

    @property
    def is_behind(self) -> bool:
        """Whether files that were there at the last reading are still being read."""
        return self.readings is not None and self.readings.is_behind

    def close(self) -> None:
        """End what reads."""
        if self.readings is not None:
            self.readings.close()

    def read(self) -> Manifests:
        """The manifests now, with the last good state of what became bad."""
        try:
            found = manifest_files(self.path)
        except FolderError as error:
            self._seen = error.found
            now = nothing(str(self.path), error.found, error.expected)
        else:
            # What is read is what was looked at: a look that failed is told from the next one, a read that failed by the answer.
            self._seen = signature(found)
            now = self._parse(found, self._seen)
        self.last = keep_last_good(self.last, now)
        return self.last

    def _look(self) -> Signature | str:
        try:
            return signature(manifest_files(self.path))
        except FolderError as error:
            return error.found

    def _parse(self, found: Found, seen: Signature) -> Manifests:
        marks = {mark[0]: mark for mark in seen}
        files = {marks[name]: file for name, file in found.files if name in marks}
        return merged([unreadable_folders(found), *self._parsed_of(files).values()])

    def _parsed_of(self, files: Mapping[Mark, Path]) -> Mapping[Mark, Manifests]:
        """What did not change is known."""
        if self.readings is not None:
            # Who knows nothing yet waits for every file: a part of the objects may allow what the others narrow.
            is_first, self._is_first = self._is_first, False
            is_new = not self.last.objects
            return self.readings.of(files, None if is_first else PATIENCE, all_of_them=is_first and is_new)
        known = {
            mark: each for mark, each in self._parsed.items() if mark[1:] != UNSEEN and not each.unreadable
        }
        self._parsed = {mark: known.get(mark) or read_file(file, mark[0]) for mark, file in files.items()}
        return self._parsed


def _is_settling(now: Signature | str, clock_ns: int) -> bool:
    if isinstance(now, str):
        return False
    return any(0 <= clock_ns - modified < SETTLING_NS for _, modified, *_ in now)
