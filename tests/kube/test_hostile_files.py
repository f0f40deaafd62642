"""What is called a manifest and is none: nothing hangs, nothing ends the process, and the files beside it are read."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from lace_sdn.kube.generation import generation
from lace_sdn.kube.manifests import Manifests, read
from lace_sdn.kube.source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[[Path], None]

GOOD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, 16 * 2**20 + 1)


def deep(path: Path) -> None:
    path.write_text("[" * 60000 + "]" * 60000)


NO_FILE = "bad.yaml: is no regular file; the file is left out"
MADE = [
    (fifo, NO_FILE),
    (bound_socket, NO_FILE),
    (endless, NO_FILE),
    (too_large, "bad.yaml: is larger than 16 MiB; the file is left out"),
    (deep, "bad.yaml:1: is nested more than 100 deep; the rest of the file is left out"),
]


def said(found: Manifests) -> tuple[list[str], list[str]]:
    return [each.identity.name for each in found.objects], [str(problem) for problem in found.problems]


@pytest.mark.parametrize(("make", "message"), MADE, ids=lambda it: getattr(it, "__name__", ""))
def test_it_is_said_and_the_others_are_read(make: Make, message: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    make(tmp_path / "bad.yaml")
    assert said(read(tmp_path)) == (["shop"], [message])


@pytest.mark.parametrize(("make", "message"), MADE, ids=lambda it: getattr(it, "__name__", ""))
def test_a_polled_folder_lives_on_and_keeps_what_was_good(make: Make, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD)
    source = FolderSource(tmp_path)
    before = source.read().objects
    name = generation(tmp_path)
    path.unlink()
    make(path)
    assert [source.poll(), source.poll()][-1]
    now = source.read()
    kept = "the last good state of its objects stays in force"
    assert (now.objects, [str(each) for each in now.problems]) == (
        before,
        [f"{message.rpartition('; ')[0]}; {kept}"],
    )
    assert not source.poll()
    assert generation(tmp_path) not in ("", name)
    assert generation(tmp_path) == generation(tmp_path)


@pytest.mark.parametrize("make", [fifo, bound_socket, endless])
def test_by_itself_it_is_nothing_to_read(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "bad.yaml")
    (message,) = said(read(tmp_path / "bad.yaml"))[1]
    assert ": is no regular file; expected a folder with manifests" in message
    assert message.endswith("; no objects are read")
    assert generation(tmp_path / "bad.yaml") == ""


def test_sixteen_mebibytes_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "#" * (16 * 2**20 - len(GOOD)))
    assert said(read(tmp_path)) == (["shop"], [])
