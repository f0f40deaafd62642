"""The judges judged: each seeded fault of a compiler is found, by simulated bridges and by real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from arena import ARENA
from conversation import programs, simulated
from dummy_fabric import DummyFabric
from faults import FAULTS
from judges import JUDGES, first_finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from faults import Fault
    from judges import Lab

    from lace_sdn.openflow.flow import BridgeProgram

EVERY_FAULT = pytest.mark.parametrize("fault", FAULTS, ids=str)
EVERY_JUDGE = pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)


def simulator(installed: Mapping[str, BridgeProgram]) -> object:
    return simulated(ARENA, installed)


@pytest.fixture(scope="module")
def switches() -> Iterator[Lab]:
    """Real bridges for the arena."""
    with DummyFabric(nodes=3, ports=10) as fabric:

        def fresh(installed: Mapping[str, BridgeProgram]) -> DummyFabric:
            fabric.reset(installed)
            return fabric

        yield fresh


def found_by(lab: Lab, fault: Fault) -> dict[str, str]:
    """The judges that find the fault, and the first thing that each says."""
    found = {judge.__name__: first_finding(judge, lab, fault.compile) for judge in JUDGES}
    return {judge: sentence for judge, sentence in found.items() if sentence}


def test_there_are_at_least_twenty_faults() -> None:
    assert len({fault.name for fault in FAULTS}) >= 20


@EVERY_JUDGE
def test_judges_find_nothing_in_what_is_compiled(judge: object) -> None:
    assert list(judge(simulator, programs)) == []  # type: ignore[operator]


@EVERY_FAULT
def test_simulated_bridges_show_the_fault(fault: Fault) -> None:
    assert found_by(simulator, fault)  # type: ignore[arg-type]


@pytest.mark.switch
@EVERY_JUDGE
def test_judges_find_nothing_on_real_bridges(judge: object, switches: Lab) -> None:
    assert list(judge(switches, programs)) == []  # type: ignore[operator]


@pytest.mark.switch
@EVERY_FAULT
def test_real_bridges_show_the_fault_to_the_same_judges(fault: Fault, switches: Lab) -> None:
    """Simulated and real, the fault is seen in the same way, down to the sentence."""
    assert found_by(switches, fault) == found_by(simulator, fault)  # type: ignore[arg-type]
