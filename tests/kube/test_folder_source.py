"""A folder that is polled: what is news, and what is only half written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lace_sdn.kube.source import FolderSource

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = 1_700_000_000


def write(path: Path, name: str, *, age: int = 0) -> None:
    """A namespace in a file that was written long ago (and ``age`` seconds later than that)."""
    path.write_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
    os.utime(path, (LONG_AGO + age, LONG_AGO + age))


def names(source: FolderSource) -> list[str]:
    return [manifest.identity.name for manifest in source.read().objects]


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    write(tmp_path / "a.yaml", "one")
    return FolderSource(tmp_path)


def test_what_was_never_read_is_news_and_what_was_read_is_not(source: FolderSource) -> None:
    assert source.poll()
    assert names(source) == ["one"]
    assert not source.poll()


def test_a_changed_a_new_and_a_removed_file_are_news(source: FolderSource) -> None:
    source.read()
    write(source.path / "a.yaml", "two", age=1)
    assert (source.poll(), names(source)) == (True, ["two"])
    write(source.path / "b.yaml", "three")
    assert (source.poll(), names(source)) == (True, ["two", "three"])
    (source.path / "a.yaml").unlink()
    assert (source.poll(), names(source)) == (True, ["three"])
    assert not source.poll()


def test_a_file_that_is_being_written_gets_one_more_poll(source: FolderSource) -> None:
    """What changed this very moment may be half a file; it is read by the next poll at the latest."""
    source.read()
    path = source.path / "a.yaml"
    path.write_text("")
    future = path.stat().st_mtime_ns
    os.utime(path, ns=(future, future))
    assert [source.poll(), source.poll()] in ([False, True], [True, True])


def test_a_folder_that_vanishes_is_news_and_loses_nothing(source: FolderSource) -> None:
    source.read()
    (source.path / "a.yaml").unlink()
    source.path.rmdir()
    assert (source.poll(), names(source)) == (True, ["one"])
    assert not source.poll()


def test_a_bad_file_keeps_its_objects_until_it_is_mended(source: FolderSource) -> None:
    source.read()
    (source.path / "a.yaml").write_text("}")
    assert names(source) == ["one"]
    write(source.path / "a.yaml", "two", age=2)
    assert names(source) == ["two"]


def test_problems_are_said_at_every_reading(source: FolderSource) -> None:
    """A file that did not change is not parsed again, but what is wrong with it is still wrong."""
    (source.path / "b.yaml").write_text("kind: Nonsense\n")
    assert source.read().problems == source.read().problems != ()
