"""The judges of the world outside judged: each seeded fault is found, by simulated bridges and by real ones."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import pytest
from beyond import Beyond
from conversation import simulated
from dummy_fabric import DummyFabric
from judges import first_finding
from outside_arena import OUTER
from outside_edits import right
from outside_faults import OUTSIDE_FAULTS
from outside_judges import OUTSIDE_JUDGES, agree, outer_connections

from lace_sdn.openflow.simulator import Tracker
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from faults import Fault
    from judges import Compile, Lab

    from lace_sdn.openflow.flow import BridgeProgram

    Judge = Callable[[Lab, Compile], Iterator[str]]

EVERY_FAULT = pytest.mark.parametrize("fault", OUTSIDE_FAULTS, ids=str)
EVERY_JUDGE = pytest.mark.parametrize("judge", OUTSIDE_JUDGES, ids=lambda judge: judge.__name__)
EVERY_TRACKER = pytest.mark.parametrize("tracker", Tracker, ids=lambda tracker: tracker.value)


def simulator(tracker: Tracker, installed: Mapping[str, BridgeProgram]) -> object:
    return simulated(OUTER, installed, tracker)


@pytest.fixture(scope="module")
def switches() -> Iterator[Lab]:
    """Real bridges for the arena."""
    with DummyFabric(nodes=3, ports=8) as fabric:

        def fresh(installed: Mapping[str, BridgeProgram]) -> DummyFabric:
            fabric.reset(installed)
            return fabric

        yield fresh


def finders(lab: Lab, fault: Fault) -> Iterator[Judge]:
    """The judges that find the fault; those that take long are the last."""
    return (judge for judge in OUTSIDE_JUDGES if first_finding(judge, lab, fault.compile))


@cache
def first_finder(fault: Fault) -> Judge | None:
    """By simulated bridges."""
    return next(finders(partial(simulator, Tracker.USERSPACE), fault), None)  # type: ignore[arg-type]


def test_there_are_at_least_twenty_faults() -> None:
    assert len({fault.name for fault in OUTSIDE_FAULTS}) >= 20


@EVERY_TRACKER
def test_oracle_and_bridges_agree_about_every_connection(tracker: Tracker) -> None:
    """All with an end outside, one after the other, and all of them are remembered."""
    asked = outer_connections()
    assert sum(verdict(OUTER, each).allowed for each in asked) > len(asked) // 4
    assert list(agree(Beyond.of(OUTER, simulated(OUTER, None, tracker)), asked)) == []


@EVERY_TRACKER
@EVERY_JUDGE
def test_judges_find_nothing_in_what_is_compiled(judge: object, tracker: Tracker) -> None:
    assert list(judge(partial(simulator, tracker), right)) == []  # type: ignore[operator]


@EVERY_FAULT
def test_simulated_bridges_show_the_fault(fault: Fault) -> None:
    assert first_finder(fault) is not None


@pytest.mark.switch
@EVERY_JUDGE
def test_judges_find_nothing_on_real_bridges(judge: object, switches: Lab) -> None:
    assert list(judge(switches, right)) == []  # type: ignore[operator]


@pytest.mark.switch
@EVERY_FAULT
def test_real_bridges_show_the_fault(fault: Fault, switches: Lab) -> None:
    """To the judge that simulated ones showed it to, or to another: which endpoint a switch chooses is its own."""
    judge = first_finder(fault)
    assert judge is not None
    assert next(judge(switches, fault.compile), "") or next(finders(switches, fault), None)
