"""``deploy/openvswitch.sh``: both daemons of Open vSwitch in the foreground of a container."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.switch

SCRIPT = Path(__file__).parents[2] / "deploy/openvswitch.sh"
PATIENCE = 20.0


class Switch:
    def __init__(self, folder: Path, **environment: str) -> None:
        self.run = folder / "run"
        self.database = folder / "database"
        self.environment = {**os.environ, "OVS_RUNDIR": str(self.run), "OVS_DBDIR": str(self.database)}
        self.environment |= environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Switch:
        """Returns when it answers."""
        (self.run / "ovs-vswitchd.pid").unlink(missing_ok=True)  # of one that was killed
        words = [SCRIPT, "--enable-dummy=override", "--disable-system"]
        self.process = subprocess.Popen(words, env=self.environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not (self.run / "ovs-vswitchd.pid").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def vsctl(self, *words: str) -> str:
        """Waits for ovs-vswitchd too."""
        call = ["ovs-vsctl", f"--db=unix:{self.run}/db.sock", "--timeout=10", *words]
        return subprocess.run(call, check=True, capture_output=True, text=True, env=self.environment).stdout

    def kill(self, daemon: str) -> int:
        """Its pid."""
        pid = int((self.run / f"{daemon}.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        return pid

    def await_other(self, daemon: str, former: int) -> None:
        """Until another process than ``former`` answers."""
        deadline = time.monotonic() + PATIENCE
        while not (self.run / f"{daemon}.pid").exists() or self._pid(daemon) in (former, 0):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _pid(self, daemon: str) -> int:
        return int((self.run / f"{daemon}.pid").read_text() or 0)

    def end(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Callable[..., Switch]]:
    """Starts the switch of one folder, as often as it is called; named arguments are added to its environment."""
    made: list[Switch] = []

    def start(**environment: str) -> Switch:
        made.append(Switch(tmp_path, **environment).start())
        return made[-1]

    yield start
    for each in made:
        assert each.process is not None
        if each.process.poll() is None:
            each.end()


KERNEL_PORTS = """system@ovs-system:
  lookups: hit:0 missed:0 lost:0
  port 0: ovs-system (internal)
  port 1: br-int (internal)
  port 2: lo
"""


def kernel(folder: Path, ports: str) -> str:
    """A PATH with a kernel's datapath that has ``ports``; not every machine has one."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "ovs-dpctl").write_text(f"#!/bin/sh\ncat <<'END'\n{ports}END\n")
    (tools / "ovs-dpctl").chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("ports", "kind", "waits"),
    [
        (KERNEL_PORTS, "system", True),
        (KERNEL_PORTS, "netdev", False),
        (KERNEL_PORTS.replace("port 2: lo", "port 2: lo2"), "system", False),
        ("", "system", False),
    ],
    ids=["all ports are there", "userspace", "a port is new", "no datapath"],
)
def test_the_kernel_goes_on_until_the_flows_are_there_if_it_has_all_ports(
    switch: Callable[..., Switch], tmp_path: Path, ports: str, kind: str, waits: bool
) -> None:
    """Those that have no device, as of pods that have gone, are none."""
    first = switch()
    first.vsctl(
        *("--no-wait", "add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={kind}"),
        *("--", "add-port", "br-int", "lo", "--", "add-port", "br-int", "gone0"),
    )
    first.end()
    second = switch(PATH=kernel(tmp_path, ports))
    settings = second.vsctl("--no-wait", "get", "Open_vSwitch", ".", "other_config")
    assert ("flow-restore-wait" in settings) is waits


def test_a_bridge_that_connected_to_its_controller_is_called_from_now_on(
    switch: Callable[..., Switch],
) -> None:
    """The first controller that it connects to would flush its flows."""
    first = switch()
    first.vsctl("--no-wait", "add-br", "br-int", "--", "set-controller", "br-int", "unix:/run/x.sock")
    first.end()
    second = switch()
    assert second.vsctl("--no-wait", "get-controller", "br-int") == ""
    assert "called-by" in second.vsctl("--no-wait", "get", "Open_vSwitch", ".", "external_ids")


def test_bridges_outlive_the_container(switch: Callable[..., Switch]) -> None:
    first = switch()
    first.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy")
    assert first.end() == 0
    assert switch().vsctl("list-br").split() == ["br-int"]


def test_when_the_switch_ends_the_container_ends(switch: Callable[..., Switch]) -> None:
    running = switch()
    assert running.process is not None
    running.kill("ovs-vswitchd")
    assert running.process.wait(PATIENCE) == 1


def test_a_database_that_ends_is_served_again_and_the_switch_goes_on(switch: Callable[..., Switch]) -> None:
    """It hears of the change that came after, for it is connected again."""
    running = switch()
    running.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=dummy")
    daemon = (running.run / "ovs-vswitchd.pid").read_text()
    former = running.kill("ovsdb-server")
    running.await_other("ovsdb-server", former)
    running.vsctl("add-br", "br1", "--", "set", "Bridge", "br1", "datapath_type=dummy")
    assert (running.run / "ovs-vswitchd.pid").read_text() == daemon


def test_a_database_that_cannot_be_served_ends_the_container(switch: Callable[..., Switch]) -> None:
    """It would be started for ever; the kubelet waits longer and longer."""
    running = switch()
    assert running.process is not None
    (running.database / "conf.db").write_text("none\n")
    running.kill("ovsdb-server")
    assert running.process.wait(PATIENCE) == 1


def test_a_killed_container_starts_again(switch: Callable[..., Switch]) -> None:
    first = switch()
    assert first.process is not None
    for daemon in ("ovs-vswitchd", "ovsdb-server"):
        first.kill(daemon)
    first.process.wait(PATIENCE)
    assert switch().vsctl("list-br") == ""


def test_a_switch_that_runs_already_is_left_alone(switch: Callable[..., Switch]) -> None:
    running = switch()
    second = subprocess.run(
        [SCRIPT], env=running.environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (second.returncode, "use the overlay host-ovs" in second.stderr) == (1, True)
    assert running.vsctl("list-br") == ""
