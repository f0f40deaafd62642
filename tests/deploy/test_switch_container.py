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
    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.database = folder / "database"
        self.environment = {**os.environ, "OVS_RUNDIR": str(self.run), "OVS_DBDIR": str(self.database)}
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

    def kill(self, daemon: str) -> None:
        os.kill(int((self.run / f"{daemon}.pid").read_text()), signal.SIGKILL)

    def end(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Callable[[], Switch]]:
    """Starts the switch of one folder, as often as it is called."""
    made: list[Switch] = []

    def start() -> Switch:
        made.append(Switch(tmp_path).start())
        return made[-1]

    yield start
    for each in made:
        assert each.process is not None
        if each.process.poll() is None:
            each.end()


def test_bridges_outlive_the_container(switch: Callable[[], Switch]) -> None:
    first = switch()
    first.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy")
    assert first.end() == 0
    assert switch().vsctl("list-br").split() == ["br-int"]


@pytest.mark.parametrize("daemon", ["ovsdb-server", "ovs-vswitchd"])
def test_when_one_ends_the_container_ends(switch: Callable[[], Switch], daemon: str) -> None:
    running = switch()
    assert running.process is not None
    running.kill(daemon)
    assert running.process.wait(PATIENCE) == 1


def test_a_killed_container_starts_again(switch: Callable[[], Switch]) -> None:
    first = switch()
    assert first.process is not None
    for daemon in ("ovs-vswitchd", "ovsdb-server"):
        first.kill(daemon)
    first.process.wait(PATIENCE)
    assert switch().vsctl("list-br") == ""


def test_a_switch_that_runs_already_is_left_alone(switch: Callable[[], Switch]) -> None:
    running = switch()
    second = subprocess.run(
        [SCRIPT], env=running.environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (second.returncode, "use the overlay host-ovs" in second.stderr) == (1, True)
    assert running.vsctl("list-br") == ""
