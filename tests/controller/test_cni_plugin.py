"""The CNI plugin as a runtime starts it, and the controller's side of its socket, with a node in memory behind it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from attaching_site import NAMESPACE
from cni_site import CONFIG, Node, answering

import lace_sdn.cni

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    its = Node(tmp_path)
    yield its
    its.server.close()


def test_a_life(node: Node) -> None:
    node.server.start()
    sandbox = node.pod()
    status, result, _ = node.ask("ADD", sandbox)
    assert (status, [each["address"] for each in result["ips"]]) == (0, ["10.0.0.2/32", "fd00:10::2/128"])
    assert node.ask("ADD", sandbox)[:2] == (0, result)
    assert node.ask("CHECK", sandbox, config={**CONFIG, "prevResult": result})[:2] == (0, None)
    node.outside.links.clear()
    status, error, _ = node.ask("CHECK", sandbox)
    assert (status, error["code"], error["msg"]) == (1, 100, "the pod's network is not as it was made")
    assert node.ask("STATUS")[:2] == (0, None)
    node.outside.delete_pod("a")
    node.runtime.controller.world.look()
    assert node.ask("DEL", sandbox)[:2] == (0, None)
    assert node.ask("DEL", sandbox)[:2] == (0, None)
    assert node.outside.left() == {}


def test_collecting_removes_what_the_runtime_does_not_have(node: Node) -> None:
    node.server.start()
    kept, other = node.pod("a"), node.pod("b")
    for each in (kept, other):
        node.ask("ADD", each)
    valid = [{"containerID": kept.container, "ifname": "eth0"}]
    assert node.ask("GC", config={**CONFIG, "cni.dev/valid-attachments": valid})[:2] == (0, None)
    assert [port.container for port in node.outside.ports.values()] == [kept.container]
    assert node.ask("GC")[:2] == (0, None), "without a list nothing is known to be invalid"
    assert len(node.outside.ports) == 1


def test_a_node_that_is_not_ready_says_why(node: Node) -> None:
    node.server.start()
    node.lacking = "the bridge is not connected"
    status, error, _ = node.ask("STATUS")
    assert (status, error["code"], error["details"]) == (1, 50, "the bridge is not connected")


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("CHECK", 11), ("STATUS", 50)])
def test_without_a_controller_it_says_what_is_missing(node: Node, command: str, code: int) -> None:
    status, error, _ = node.ask(command, node.pod())
    assert (status, error["code"], error["cniVersion"]) == (1, code, "1.1.0")
    assert error["msg"] == "the controller of Lace SDN does not answer"
    assert str(node.path) in error["details"]
    assert "is its pod running on this node?" in error["details"]


def test_versions_need_no_controller(node: Node) -> None:
    status, said, _ = node.ask("VERSION", config={"cniVersion": "0.4.0"})
    assert (status, said["cniVersion"], said["supportedVersions"]) == (
        0,
        "0.4.0",
        list(lace_sdn.cni.VERSIONS),
    )


def test_what_was_deleted_without_a_controller_is_detached_by_the_next(node: Node) -> None:
    node.server.start()
    sandbox = node.pod()
    assert node.ask("ADD", sandbox)[0] == 0
    node.server.close()
    assert node.ask("DEL", sandbox)[:2] == (0, None)
    assert len(node.outside.ports) == 1
    node.outside.delete_pod("a")
    node.restart()
    assert node.outside.left() == {}
    assert list((node.path.parent / lace_sdn.cni.SPOOL).iterdir()) == []


def test_a_note_that_cannot_be_read_does_not_stop_the_others(node: Node) -> None:
    folder = node.path.parent / lace_sdn.cni.SPOOL
    folder.mkdir()
    (folder / "0-broken").write_bytes(b"\0{")
    sandbox = node.pod()
    node.runtime.controller.attacher.add(sandbox)
    node.outside.delete_pod("a")
    node.ask("DEL", sandbox)
    node.restart()
    assert node.outside.left() == {}
    assert list(folder.iterdir()) == []


def test_a_container_cannot_name_a_file_elsewhere(node: Node) -> None:
    status, _, _ = node.ask("DEL", node.pod().__class__(NAMESPACE, "a", "", "../escaped", "", "eth0"))
    assert status == 0
    assert not (node.path.parent / "escaped").exists()
    assert len(list((node.path.parent / lace_sdn.cni.SPOOL).iterdir())) == 1


CUT = [
    b"",
    b"0",
    b"1",
    b'0{"cniVersion": "1.1',
    b'0{"cniVersion": "1.1.0"}',
    b'1{"code": 11}',
    b"\xff\xfe",
    b"x{}\n",
]


@pytest.mark.parametrize("answer", CUT)
def test_an_answer_that_is_cut_short_is_none(node: Node, answer: bytes) -> None:
    """Of a controller that was killed while it answered: half an answer must not look like a whole one."""
    with answering(node.path, answer):
        status, error, _ = node.ask("ADD", node.pod())
    assert (status, error["code"], error["msg"]) == (1, 11, "the controller of Lace SDN does not answer")


def test_success_without_a_result_prints_nothing(node: Node) -> None:
    with answering(node.path, b"0\n"):
        assert node.ask("DEL", node.pod()) == (0, None, "")


def test_a_deletion_whose_answer_is_cut_short_is_noted(node: Node) -> None:
    with answering(node.path, b"0"):
        assert node.ask("DEL", node.pod()) == (0, None, "")
    assert len(list((node.path.parent / lace_sdn.cni.SPOOL).iterdir())) == 1


@pytest.mark.parametrize("config", ["[", "x", [], {"cniVersion": []}])
def test_versions_are_told_whatever_is_asked(node: Node, config: Any) -> None:
    config = "[" * 100_000 if config == "[" else config
    status, said, errors = node.ask("VERSION", config=config)
    assert (status, said["cniVersion"], errors) == (0, "1.1.0", "")


def test_a_controller_that_hangs_is_waited_for_so_long_and_no_longer(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lace_sdn.cni, "PATIENCE", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(node.path))
        listener.listen()
        with pytest.raises(TimeoutError):
            lace_sdn.cni._exchange(str(node.path), b"\0{}")


def test_a_request_that_is_none_is_answered(node: Node) -> None:
    node.server.start()
    for message in (b"", b"\0\0", b"\xff" * 1000, b"CNI_COMMAND=ADD\0\0[]"):
        assert node.server.answer(message)[:1] == b"1"


def test_nothing_that_takes_long_is_imported(node: Node) -> None:
    """It starts for every pod: of 60 ms it may take, most would be imports."""
    node.server.start()
    status, result, said = node.ask("ADD", node.pod(), "-X", "importtime")
    assert (status, result["cniVersion"]) == (0, "1.1.0")
    imported = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert {"_socket", "os"} <= imported
    assert imported.isdisjoint({"json", "socket", "typing", "subprocess", "pathlib", "enum"})
