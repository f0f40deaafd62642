"""The judges of Services judged: each seeded fault is found, by simulated bridges and by real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conversation import programs, simulated
from dummy_fabric import DummyFabric
from judges import first_finding
from service_arena import SERVED
from service_faults import SERVICE_FAULTS
from service_judges import SERVICE_JUDGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from faults import Fault
    from judges import Lab

    from lace_sdn.openflow.flow import BridgeProgram

EVERY_FAULT = pytest.mark.parametrize("fault", SERVICE_FAULTS, ids=str)
EVERY_JUDGE = pytest.mark.parametrize("judge", SERVICE_JUDGES, ids=lambda judge: judge.__name__)


INSIDE = (
    "direct connections keep a port that a VIP's has",
    "no look for replies that a VIP's connection has",
)
"""Of two connections with one reply tuple, Open vSwitch finds either, by the order in its hash table."""


def simulator(installed: Mapping[str, BridgeProgram]) -> object:
    return simulated(SERVED, installed)


@pytest.fixture(scope="module")
def switches() -> Iterator[Lab]:
    """Real bridges for the arena with Services."""
    with DummyFabric(nodes=3, ports=10) as fabric:

        def fresh(installed: Mapping[str, BridgeProgram]) -> DummyFabric:
            fabric.reset(installed)
            return fabric

        yield fresh


def is_found(lab: Lab, fault: Fault) -> bool:
    """By one judge or another; those that take long are the last."""
    return any(first_finding(judge, lab, fault.compile) for judge in SERVICE_JUDGES)


@EVERY_JUDGE
def test_judges_find_nothing_in_what_is_compiled(judge: object) -> None:
    assert list(judge(simulator, programs)) == []  # type: ignore[operator]


@EVERY_FAULT
def test_simulated_bridges_show_the_fault(fault: Fault) -> None:
    assert is_found(simulator, fault)  # type: ignore[arg-type]


@pytest.mark.switch
@EVERY_JUDGE
def test_judges_find_nothing_on_real_bridges(judge: object, switches: Lab) -> None:
    assert list(judge(switches, programs)) == []  # type: ignore[operator]


@pytest.mark.switch
@pytest.mark.parametrize("fault", [each for each in SERVICE_FAULTS if each.name not in INSIDE], ids=str)
def test_real_bridges_show_the_fault(fault: Fault, switches: Lab) -> None:
    """To one judge at least: which endpoint a switch chooses is its own."""
    assert is_found(switches, fault)
