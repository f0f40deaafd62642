"""Files are read by processes of their own: what one of them costs is bounded, and delays nobody else's change."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from hostile_texts import BRACKETS, NAMESPACE, TEXTS

from lace_sdn.kube import reading
from lace_sdn.kube.files import manifest_files, signature
from lace_sdn.kube.manifests import Manifests, read, read_file
from lace_sdn.kube.reading import Readings
from lace_sdn.kube.source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lace_sdn.kube.files import Mark

BOUND_S = 240.0
COSTLY = "bad.yaml: takes more than 1 s of processor time to read; the file is left out"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Readings]:
    """With little patience for costly files."""
    monkeypatch.setattr(reading, "SLOW", 1)
    its = Readings()
    yield its
    its.close()


def marks(folder: Path) -> dict[Mark, Path]:
    found = manifest_files(folder)
    return dict(zip(signature(found), [file for _, file in found.files], strict=True))


def everything(readings: Readings, folder: Path) -> dict[str, Manifests]:
    found = readings.of(marks(folder), BOUND_S, all_of_them=True)
    return {mark[0]: its for mark, its in found.items()}


def write_namespace(folder: Path, name: str) -> None:
    fresh = folder / "fresh"
    fresh.write_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
    fresh.rename(folder / "good.yaml")


def names(found: Manifests) -> list[str]:
    return [each.identity.name for each in found.objects]


def await_news(source: FolderSource) -> None:
    pause = threading.Event()
    for _ in range(int(BOUND_S / 0.05)):
        if source.poll():
            return
        pause.wait(0.05)
    raise AssertionError("no news")


def test_another_process_reads_the_same(readings: Readings, tmp_path: Path) -> None:
    """Objects, lines, problems, refusals."""
    (tmp_path / "a.yaml").write_text(NAMESPACE % 1 + "kind: Nonsense\n---\n" + NAMESPACE % 2 + "}")
    (tmp_path / "b.json").write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": 7}}')
    (tmp_path / "c.yaml").write_text('apiVersion: v1\nkind: Namespace\nmetadata: {name: "\\U0001F600"}\n')
    assert everything(readings, tmp_path) == {
        name: read_file(tmp_path / name, name) for name in ("a.yaml", "b.json", "c.yaml")
    }


@pytest.mark.parametrize("case", TEXTS)
def test_what_a_file_costs_is_bounded(readings: Readings, case: str, tmp_path: Path) -> None:
    """It is read, or said to be too costly; the file beside it is read, and the next one too."""
    (tmp_path / "bad.yaml").write_text(TEXTS[case])
    write_namespace(tmp_path, "one")
    found = everything(readings, tmp_path)
    assert names(found["good.yaml"]) == ["one"]
    assert found["bad.yaml"].objects or found["bad.yaml"].problems or case in ("empty-documents", "line")
    assert len(found["bad.yaml"].problems) <= 100
    write_namespace(tmp_path, "two")
    assert names(everything(readings, tmp_path)["good.yaml"]) == ["two"]


def test_a_costly_file_is_said_and_its_last_good_state_stays(readings: Readings, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(NAMESPACE % 1)
    source = FolderSource(tmp_path, readings)
    assert names(source.read()) == ["n1"]
    (tmp_path / "bad.yaml").write_text(BRACKETS)
    now = source.read()
    while "still" in str(now.problems[0]):
        await_news(source)
        now = source.read()
    assert names(now) == ["n1"]
    assert [str(each) for each in now.problems] == [
        COSTLY.replace("the file is left out", "the last good state of its objects stays in force")
    ]
    assert not source.poll()


def test_a_change_does_not_wait_for_a_costly_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which is still being read when the change is there already."""
    monkeypatch.setattr(reading, "SLOW", 3600)
    readings = Readings()
    write_namespace(tmp_path, "one")
    source = FolderSource(tmp_path, readings)
    source.read()
    (tmp_path / "bad.yaml").write_text(BRACKETS)
    for number in range(20):
        write_namespace(tmp_path, f"next{number}")
        now = source.read()
        assert names(now) == [f"next{number}"]
    (problem,) = map(str, now.problems)
    assert problem == "bad.yaml: is still being read; the file is left out"
    readings.close()


def test_memory_is_bounded_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "MEMORY", 400 * 2**20)
    monkeypatch.setattr(reading, "QUICK", 600)
    readings = Readings()
    (tmp_path / "bad.yaml").write_text(BRACKETS)
    monkeypatch.setattr(reading, "SLOW", 600)
    (found,) = everything(readings, tmp_path).values()
    assert [str(each) for each in found.problems] == [
        "bad.yaml: takes more than 400 MiB of memory to read; the file is left out"
    ]
    readings.close()


def test_a_process_that_was_killed_is_started_again(readings: Readings, tmp_path: Path) -> None:
    write_namespace(tmp_path, "one")
    everything(readings, tmp_path)
    process = readings._quick._reader._process
    assert process is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    write_namespace(tmp_path, "two")
    assert names(everything(readings, tmp_path)["good.yaml"]) == ["two"]


def test_a_file_has_so_many_objects_at_most(
    readings: Readings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reading, "QUICK", 600)
    monkeypatch.setattr(reading, "SLOW", 600)
    (tmp_path / "bad.yaml").write_text("".join(NAMESPACE % number for number in range(10_001)))
    (found,) = everything(Readings(), tmp_path).values()
    assert [str(each) for each in found.problems] == [
        "bad.yaml: has more than 10000 objects; the file is left out"
    ]
    assert len(read(tmp_path).objects) == 10_001


def test_long_numbers_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {'1:' * 99}1}}\n")
    assert "is a number" not in str(read(tmp_path).problems)
