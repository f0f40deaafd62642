"""Files are read by processes of their own: what one of them costs is bounded, and delays nobody else's change."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from hostile_texts import BRACKETS, NAMESPACE, TEXTS

from lace_sdn.kube import reading
from lace_sdn.kube.files import manifest_files, signature
from lace_sdn.kube.kinds import EVERY
from lace_sdn.kube.manifests import Manifests, read, read_file
from lace_sdn.kube.reading import CostlyError, Readings
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


@pytest.mark.parametrize("error", [RuntimeError, EOFError, ConnectionResetError, OSError])
def test_an_answer_that_was_not_taken_is_nobody_elses(
    readings: Readings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[Exception]
) -> None:
    """Reading one file fails when its answer is on the way: each other file is read as it is, and that one too when it is asked again."""
    write_namespace(tmp_path, "one")
    (tmp_path / "smaller.yaml").write_text("# none\n")
    taken = reading._taken

    def fails_once(_answers: Iterator[bytes], _number: int) -> Manifests:
        monkeypatch.setattr(reading, "_taken", taken)
        raise error("injected")

    monkeypatch.setattr(reading, "_taken", fails_once)
    right = {name: read_file(tmp_path / name, name) for name in ("good.yaml", "smaller.yaml")}
    found = everything(readings, tmp_path)
    (failed,) = (name for name, its in found.items() if its.failed)
    assert all(its == right[name] for name, its in found.items() if name != failed)
    assert everything(readings, tmp_path) == right


def test_an_answer_to_another_request_is_a_failure(readings: Readings, tmp_path: Path) -> None:
    """However it came to be there: the file is not taken for what another one holds, and is asked for again."""
    write_namespace(tmp_path, "one")
    everything(readings, tmp_path)
    readings._quick._reader._start().sendall(
        b'{"path": "/dev/null", "name": "nobody.yaml", "number": 1000}\n'
    )
    write_namespace(tmp_path, "two")
    (found,) = everything(readings, tmp_path).values()
    assert (names(found), found.failed) == ([], {"good.yaml"})
    assert "good.yaml: cannot be read: request 2 got the answer to 1000" in str(found.problems[0])
    assert names(everything(readings, tmp_path)["good.yaml"]) == ["two"]


def test_what_could_not_be_asked_is_asked_again(
    readings: Readings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There was no thread to be had: whoever reads tries again, and nothing counts as asked."""

    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    write_namespace(tmp_path, "one")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        with pytest.raises(RuntimeError):
            everything(readings, tmp_path)
    assert names(everything(readings, tmp_path)["good.yaml"]) == ["one"]


@pytest.fixture
def _sockets_as_of_greenthreads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patched library makes both ends of a pair such that they wait for nothing; ours waits by the hub."""
    pair = socket.socketpair

    def made() -> tuple[socket.socket, socket.socket]:
        ours, theirs = pair()
        theirs.setblocking(False)
        return ours, theirs

    monkeypatch.setattr(reading.socket, "socketpair", made)


@pytest.mark.usefixtures("_sockets_as_of_greenthreads")
def test_a_process_waits_for_the_next_request(readings: Readings, tmp_path: Path) -> None:
    """One that ended when there is none may end when one was just sent, and costs a start for every change."""
    write_namespace(tmp_path, "one")
    everything(readings, tmp_path)
    process = readings._quick._reader._process
    assert process is not None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    write_namespace(tmp_path, "two")
    assert names(everything(readings, tmp_path)["good.yaml"]) == ["two"]
    assert readings._quick._reader._process is process


@pytest.mark.usefixtures("_sockets_as_of_greenthreads")
def test_an_answer_may_be_larger_than_a_socket_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "QUICK", 600)
    readings = Readings()
    (tmp_path / "large.yaml").write_text("".join(NAMESPACE % number for number in range(3_000)))
    (found,) = everything(readings, tmp_path).values()
    assert (len(found.objects), found.problems) == (3_000, ())
    readings.close()


def test_a_fault_while_a_failure_is_told_ends_no_lane(
    readings: Readings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a costly file may hold cannot be found out: it may hold anything, and the next file is read."""

    def costly(*_: object) -> Manifests:
        raise CostlyError("takes too much")

    def fails(_: object) -> bytes:
        raise RuntimeError("injected")

    write_namespace(tmp_path, "one")
    with monkeypatch.context() as patch:
        patch.setattr(reading._Reader, "read", costly)
        patch.setattr(reading, "content_of", fails)
        (found,) = everything(readings, tmp_path).values()
    assert found.hidden == EVERY
    write_namespace(tmp_path, "two")
    assert names(everything(readings, tmp_path)["good.yaml"]) == ["two"]
