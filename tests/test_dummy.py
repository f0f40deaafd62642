"""The dummy switch that other tests rely on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dummy import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from dummy import DummySwitch

pytestmark = pytest.mark.switch


def test_a_bridge_takes_flows_and_shows_them(dummy_switch: DummySwitch) -> None:
    """What is added over the management socket is dumped again, and secure bridges start empty."""
    dummy_switch.add_bridge("dtest")
    assert dummy_switch.ofctl("dump-flows", "dtest", "--no-stats").strip() == ""
    dummy_switch.ofctl("add-flows", "dtest", "-", stdin="table=3 priority=7,ip actions=drop\n")
    shown = dummy_switch.ofctl("dump-flows", "dtest", "--no-stats", "--no-names").split("\n")
    dummy_switch.remove_bridge("dtest")
    assert shown == [" table=3, priority=7,ip actions=drop", ""]


def test_stopping_leaves_nothing_behind(dummy_switches: Callable[[], DummySwitch]) -> None:
    """Neither process nor folder, and a second stop is harmless."""
    switch = dummy_switches()
    pids = [daemon.pid for daemon in switch._daemons]
    switch.stop()
    switch.stop()
    assert not switch.folder.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_killed_test_process_takes_its_daemons_along() -> None:
    """Not even SIGKILL, after which no cleanup runs, leaves a daemon behind."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from dummy import DummySwitch; s = DummySwitch().start();"
        "print(s.folder, *(d.pid for d in s._daemons), flush=True); os.kill(os.getpid(), 9)"
    )
    here = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=False)
    folder, *pids = killed.stdout.split()
    try:
        wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "the daemons' end")
    finally:
        shutil.rmtree(folder)
    assert killed.returncode == -9
    assert len(pids) == 2
