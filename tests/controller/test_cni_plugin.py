"""The CNI plugin as a runtime starts it, and the controller's side of its socket, with a node in memory behind it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from attaching_site import NAMESPACE, Controller, Outside, Runtime

import lace_sdn.cni
from lace_sdn.controller.cni import CniServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lace_sdn.controller.attaching import Sandbox

CONFIG = {"cniVersion": "1.1.0", "name": "lace-sdn", "type": "lace-sdn-cni"}


class Node:
    """A controller in memory, and the plugin beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cni.sock"
        self.outside = Outside()
        self.runtime = Runtime.of(self.outside)
        self.lacking = ""
        self.server = self._server()

    def _server(self) -> CniServer:
        its = self.runtime.controller = Controller(self.outside)
        return CniServer(self.path, its.attacher, its.sweeper, lambda: self.lacking)

    def restart(self) -> None:
        self.server.close()
        self.server = self._server()
        self.server.start()
        self.server.consume_spool()

    def pod(self, name: str = "a") -> Sandbox:
        return self.runtime.sandbox(name, self.outside.create_pod(name))

    def ask(
        self, command: str, sandbox: Sandbox | None = None, *flags: str, config: Any = CONFIG
    ) -> tuple[int, Any, str]:
        """Exit status, what it printed, and standard error."""
        environment = {"CNI_COMMAND": command, lace_sdn.cni.SOCKET_VARIABLE: str(self.path)}
        if sandbox:
            names = f"K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={sandbox.pod_name};K8S_POD_UID={sandbox.uid}"
            environment |= {
                "CNI_CONTAINERID": sandbox.container,
                "CNI_NETNS": sandbox.namespace,
                "CNI_IFNAME": sandbox.device,
                "CNI_ARGS": f"IgnoreUnknown=1;{names}",
            }
        done = subprocess.run(
            [sys.executable, "-I", "-S", *flags, lace_sdn.cni.__file__],
            input=json.dumps(config),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=60,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


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


@pytest.mark.parametrize("answer", [b"", b"0", b"x{}"])
def test_an_answer_that_is_cut_short_is_none(node: Node, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(node.path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(1 << 16):
                    pass
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        status, error, _ = node.ask("ADD", node.pod())
        thread.join(5)
    if answer == b"0":
        assert (status, error) == (0, None), "success without a result: it is whole"
    else:
        assert (status, error["code"]) == (1, 11)


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
