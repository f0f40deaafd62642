"""Files that are replaced whole, by one rename, so that no reader ever sees half of one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lace_sdn.kube.files import FolderError, manifest_files
from lace_sdn.lab import LabError

if TYPE_CHECKING:
    from pathlib import Path

_STAMP = "lab-generation.yaml"
"""A file of one comment that makes every generation another one, so that its confirmation cannot be an older one's."""


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)


def scenario(source: Path) -> Path:
    """What to read of ``source``: of a scenario of the book its first state, otherwise everything."""
    return source / "cluster.yaml" if (source / "reachability.txt").exists() else source


def publish(source: Path, link: Path) -> None:
    """Copy the manifests of ``source`` (a file or a folder) and make ``link`` point to the copy, by one rename.

    Raises LabError if ``source`` cannot be read; ``link`` then points where it did.
    """
    old = generations(link)
    number = 1 + max((int(path.name.rpartition("-")[2]) for path in old), default=0)
    copy = link.with_name(f".{link.name}-{number}")
    try:
        _copy(source, copy)
        (copy / _STAMP).write_text(f"# Generation {number} of this lab.\n")
    except (FolderError, OSError) as problem:
        shutil.rmtree(copy, ignore_errors=True)
        raise LabError(f"{source}: {problem}; the lab keeps what it has") from None
    pointer = link.with_name(f".{link.name}.link")
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(copy.name)
    pointer.replace(link)
    for path in old:
        shutil.rmtree(path, ignore_errors=True)


def generations(link: Path) -> list[Path]:
    """The copies that ``link`` points to or pointed to; a killed command may leave more than one."""
    return list(link.parent.glob(f".{link.name}-*"))


def _copy(source: Path, copy: Path) -> None:
    found = manifest_files(source)
    for name, why in found.unreadable:
        raise FolderError(f"{name} {why}")
    copy.mkdir(parents=True)
    for name, path in found.files:
        if name != _STAMP:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / name)
