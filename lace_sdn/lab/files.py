"""Files that are replaced whole, by one rename, so that no reader ever sees half of one."""

from __future__ import annotations

import shutil
from pathlib import Path

from lace_sdn.lab import LabError


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)


def publish(source: Path, link: Path) -> None:
    """Copy the YAML files of ``source`` (a file or a folder) and make ``link`` point to the copy, by one rename.

    Raises LabError if ``source`` cannot be read.
    """
    number = 1 + max((int(old.name.rpartition("-")[2]) for old in _generations(link)), default=0)
    copy = link.with_name(f".{link.name}-{number}")
    try:
        _copy(source, copy)
    except OSError as problem:
        shutil.rmtree(copy, ignore_errors=True)
        raise LabError(f"{source}: {problem.strerror or problem}; the lab keeps what it has") from None
    pointer = link.with_name(f".{link.name}.link")
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(copy.name)
    pointer.replace(link)
    for old in _generations(link):
        if old.name != copy.name:
            shutil.rmtree(old, ignore_errors=True)


def _generations(link: Path) -> list[Path]:
    return sorted(link.parent.glob(f".{link.name}-*"))


def _copy(source: Path, copy: Path) -> None:
    if source.is_file():
        copy.mkdir(parents=True)
        shutil.copyfile(source, copy / source.name)
        return
    next(source.iterdir(), None)  # a folder that cannot be read is an error, not an empty cluster
    shutil.copytree(source, copy, ignore=_all_but_yaml)


def _all_but_yaml(folder: str, names: list[str]) -> set[str]:
    return {
        name for name in names if not (Path(folder) / name).is_dir() and not name.endswith((".yaml", ".yml"))
    }
