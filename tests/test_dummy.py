"""The dummy switch that other tests rely on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
