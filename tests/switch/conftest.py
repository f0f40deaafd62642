"""Fixtures of the switch tests: an Open vSwitch of one's own and the process that holds its bridges."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from dummy import DummySwitch
from holding import HeldBridge, HolderProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def openvswitch() -> Iterator[DummySwitch]:
    """One for all tests that do not restart it."""
    with DummySwitch() as switch:
        yield switch


@pytest.fixture(scope="session")
def holder(openvswitch: DummySwitch) -> Iterator[HolderProcess]:
    """The process that all tests share which do not kill it."""
    with HolderProcess(openvswitch.folder / "holder.sock") as process:
        yield process


@pytest.fixture
def held_bridge(openvswitch: DummySwitch, holder: HolderProcess) -> Iterator[Callable[[], HeldBridge]]:
    """Makes empty bridges that have connected to the holder; ``name`` on each says which they are."""
    names: list[str] = []

    def make() -> HeldBridge:
        number = next(_NUMBERS)
        names.append(f"held{number}")
        connect(openvswitch, names[-1], number, holder)
        bridge = holder.wait_for_bridge(number)
        bridge.name = names[-1]
        return bridge

    yield make
    for name in names:
        openvswitch.remove_bridge(name)


def connect(switch: DummySwitch, name: str, datapath_id: int, holder: HolderProcess) -> None:
    """A bridge with the datapath id, whose controller is ``holder``."""
    switch.add_bridge(name, f"other-config:datapath-id={datapath_id:016x}")
    switch.vsctl("set-controller", name, f"unix:{holder.openflow}")
