"""Which files of a folder are manifests, and whether they changed since they were last looked at."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".yaml", ".yml", ".json")

_EXPECTED = "expected a folder with manifests (*.yaml, *.yml, *.json) or one such file"

LARGEST = 16 * 2**20
"""Bytes of a file that is read."""

Mark = tuple[str, int, int, int, int]
"""(name, mtime in ns, ctime in ns, size in bytes, inode) of a file: ctime sees a changed permission too."""

UNSEEN = (0, 0, 0, 0)
"""In the mark of a file that is there and cannot be looked at now: it says nothing of the contents."""

Signature = tuple[Mark, ...]
"""The marks of all files, in order of name."""


class FolderError(ValueError):
    """There is nothing to read."""

    def __init__(self, found: str, expected: str = _EXPECTED) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected


class UnfitError(ValueError):
    """A file is there, but none that is read; the text says what it is instead."""


def content_of(file: Path) -> bytes:
    """The bytes of a file (or of the one that a link leads to). What is no regular file is never opened.

    Raises:
        UnfitError: no regular file, or a larger one than ``LARGEST``.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise UnfitError("is no regular file")
    with file.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UnfitError(f"is larger than {LARGEST // 2**20} MiB")
    return content


@dataclass(frozen=True, slots=True)
class Found:
    """``files`` as (name relative to the folder, path) in order of name; ``unreadable`` folders as (name, why)."""

    files: tuple[tuple[str, Path], ...]
    unreadable: tuple[tuple[str, str], ...] = ()


def manifest_files(path: Path) -> Found:
    """The manifests of a folder and the folders in it, or the one file ``path``. Names with a dot first are skipped.

    Raises:
        FolderError: the path does not exist, may not be read, or holds no manifest.
    """
    try:
        if not path.is_dir():
            if not stat.S_ISREG(path.stat().st_mode):
                raise FolderError("is no regular file")
            return Found(((path.name, path),))
        path.iterdir()
    except FileNotFoundError:
        raise FolderError("does not exist") from None
    except OSError as error:
        raise FolderError(f"cannot be read: {error.strerror}", "expected a readable folder or file") from None
    return _inside(path)


def _inside(path: Path) -> Found:
    errors: list[OSError] = []
    files = []
    for folder, folders, names in os.walk(path, onerror=errors.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        chosen = (name for name in names if name.endswith(SUFFIXES) and not name.startswith("."))
        files += [Path(folder) / name for name in chosen]
    bad = {str(error.filename): f"cannot be read: {error.strerror}" for error in errors}
    if str(path) in bad:
        raise FolderError(bad[str(path)], "expected a readable folder or file")
    unreadable = tuple(sorted((os.path.relpath(name, path), why) for name, why in bad.items()))
    if not files and not unreadable:
        raise FolderError("holds no manifests", "expected at least one file *.yaml, *.yml or *.json")
    return Found(tuple(sorted((str(file.relative_to(path)), file) for file in files)), unreadable)


def signature(found: Found) -> Signature:
    """What changes when a file does; a file that vanished meanwhile is left out. One that cannot be looked at is there: ``UNSEEN``."""
    marks = []
    for name, file in found.files:
        try:
            now = file.stat()
        except FileNotFoundError:
            continue
        except OSError:
            marks.append((name, *UNSEEN))
        else:
            marks.append((name, now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino))
    return tuple(marks)
