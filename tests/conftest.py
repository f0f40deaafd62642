"""Fixtures for all tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# tests/ is no package: modules beside this file are imported by name from any folder below.
sys.path.insert(0, str(Path(__file__).parent))

from dummy import DummySwitch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# No example fails because the machine was busy while it ran.
settings.register_profile("lace-sdn", deadline=None)
settings.load_profile("lace-sdn")


def pytest_collection_finish() -> None:
    """The tests fork and run threads: eventlet, which makes neither safe, stays in processes of its own."""
    if "eventlet" in sys.modules:
        raise pytest.UsageError(
            "a test module imports eventlet (by ovs, os_ken's hub or lace_sdn.switch.patched): use a process of its own"
        )


@pytest.fixture(scope="session")
def dummy_switches() -> Iterator[Callable[[], DummySwitch]]:
    """A factory of running switches of one's own; all end with the session."""
    running: list[DummySwitch] = []

    def start() -> DummySwitch:
        running.append(DummySwitch())
        return running[-1].start()

    yield start
    for switch in running:
        switch.stop()


@pytest.fixture(scope="session")
def dummy_switch(dummy_switches: Callable[[], DummySwitch]) -> DummySwitch:
    """One running switch for the whole session: add bridges with names of your own."""
    return dummy_switches()
