"""The controller's side of the CNI socket: no request ends it or another, what goes wrong is said, and half a certainty removes nothing."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cni_site import CONFIG, Node

from lace_sdn.cni import SPOOL, request_of
from lace_sdn.controller import cni
from lace_sdn.node import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOUND_S = 10.0
STATUS = request_of({b"CNI_COMMAND": b"STATUS"}, b"{}")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    its = Node(tmp_path)
    its.server.start()
    yield its
    its.server.close()


def test_too_many_open_files_end_nothing(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Connections are taken again as soon as there are fewer."""

    class Listener:
        calls = 0

        def accept(self) -> tuple[socket.socket, None]:
            self.calls += 1
            if self.calls == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            node.server._listener = None
            return theirs, None

    ours, theirs = socket.socketpair()
    node.server.close()
    with ours, caplog.at_level(logging.ERROR):
        node.server._listener = listener = Listener()  # type: ignore[assignment]
        node.server._accept(listener)  # type: ignore[arg-type]
        ours.sendall(STATUS)
        ours.shutdown(socket.SHUT_WR)
        ours.settimeout(BOUND_S)
        assert ours.recv(16) == b"0\n"
    assert "takes no connection: [Errno 24] Too many open files; trying again" in caplog.text


def test_closed_it_leaves_no_socket_and_no_thread(node: Node) -> None:
    before = threading.active_count()
    node.server.close()
    deadline = time.monotonic() + BOUND_S
    while threading.active_count() >= before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() < before
    assert not node.path.exists()


def test_whoever_says_nothing_holds_up_nobody(node: Node) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(node.path))
        assert node.ask("STATUS")[:2] == (0, None)


def test_whoever_says_nothing_is_left_after_a_while(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cni, "_PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(BOUND_S)
        silent.connect(str(node.path))
        assert silent.recv(1) == b""


def test_whoever_goes_before_the_answer_ends_nothing(node: Node) -> None:
    with socket.socket(socket.AF_UNIX) as hasty:
        hasty.connect(str(node.path))
        hasty.sendall(STATUS)
    assert node.ask("STATUS")[:2] == (0, None)


def test_what_is_far_too_long_ends_nothing(node: Node) -> None:
    node.ask("ADD", node.pod(), config="[" * (2 << 20))
    assert node.ask("STATUS")[:2] == (0, None)


def test_only_root_may_ask(node: Node) -> None:
    assert node.path.stat().st_mode & 0o777 == 0o600


def test_a_fault_of_ours_is_an_answer(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.server._attacher = None  # type: ignore[assignment]
    status, error, _ = node.ask("ADD", node.pod())
    assert (status, error["code"], error["msg"]) == (1, 11, "the controller failed")
    assert "AttributeError" in caplog.text


# GC.


def test_gc_before_the_node_is_ready_removes_nothing_and_says_so(node: Node) -> None:
    node.ask("ADD", node.pod())
    node.lacking = "not listed from the API server yet: Pod"
    status, error, _ = node.ask("GC", config={**CONFIG, "cni.dev/valid-attachments": []})
    assert (status, error["code"], error["details"]) == (1, 11, node.lacking)
    assert len(node.outside.ports) == 1


@pytest.mark.parametrize("bad", [{}, "", [{}], ["c1"]])
def test_gc_with_a_bad_list_removes_nothing(node: Node, bad: Any) -> None:
    node.ask("ADD", node.pod())
    status, error, _ = node.ask("GC", config={**CONFIG, "cni.dev/valid-attachments": bad})
    assert (status, error["code"]) == (1, 7)
    assert len(node.outside.ports) == 1


def test_gc_that_cannot_see_the_links_says_so(node: Node) -> None:
    def fail() -> None:
        raise NodeError("netlink: no answer within 20 s")

    node.outside.meanwhile["links"] = fail
    status, error, _ = node.ask("GC", config={**CONFIG, "cni.dev/valid-attachments": []})
    assert (status, error["code"], error["msg"]) == (1, 11, "the node's links cannot be seen")
    assert error["details"] == "netlink: no answer within 20 s"


# Notes of what was deleted while there was no controller.


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", request_of({b"CNI_COMMAND": b"GC"}, b"{}"), b"\0" + b"[" * 100_000]
)
def test_a_note_that_is_none_is_removed_and_said(
    node: Node, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds up no other."""
    sandbox = node.pod()
    node.ask("ADD", sandbox)
    node.server.close()
    node.ask("DEL", sandbox)
    note = node.path.parent / SPOOL / "a-note"
    note.write_bytes(content)
    node.server.consume_spool()
    assert node.outside.ports == {}
    assert list(note.parent.iterdir()) == []
    assert f"{note} is no request to delete a pod, and is removed" in caplog.text


def test_a_folder_among_the_notes_holds_up_no_other(node: Node) -> None:
    folder = node.path.parent / SPOOL / "a-folder"
    folder.mkdir(parents=True)
    sandbox = node.pod()
    node.ask("ADD", sandbox)
    node.server.close()
    node.ask("DEL", sandbox)
    node.server.consume_spool()
    assert node.outside.ports == {}
    assert list(folder.parent.iterdir()) == [folder]
