"""Where the fake is stricter than Open vSwitch, which takes all of this and says nothing."""

from __future__ import annotations

import programs
import pytest

from lace_sdn.openflow.diff import Delta, diff
from lace_sdn.openflow.fields import IpProto
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.wire import ConnectionFilter, TupleFilter
from lace_sdn.pipeline.tables import TABLE_BY_NUMBER
from lace_sdn.switch.contract import BundleRefused, SwitchLost
from lace_sdn.switch.fake import FakeBridge

EMPTY = BridgeProgram()
GOOD = programs.flows(f"{programs.OURS}, table=2, priority=5,ip actions=goto_table:11")


@pytest.fixture
def bridge() -> FakeBridge:
    return FakeBridge(0xA, TABLE_BY_NUMBER)


STRICT = {
    "overlaps": (
        f"{programs.OURS}, table=2, priority=5,ip,nw_src=10.0.0.0/8 actions=goto_table:11",
        f"{programs.OURS}, table=2, priority=5,ip,nw_dst=10.0.0.0/8 actions=drop",
    ),
    "is not declared": (f"{programs.OURS}, table=4, priority=5,ip actions=drop",),
    "table 17 is not declared": (f"{programs.OURS}, table=2, priority=5,ip actions=resubmit(,17),drop",),
    "is not ours": ("cookie=0x1, table=2, priority=5,ip actions=drop",),
    "resubmit to its own table": (f"{programs.OURS}, table=2, priority=5,ip actions=resubmit(,2)",),
}


@pytest.mark.parametrize(("reason", "lines"), STRICT.items(), ids=STRICT.keys())
def test_a_program_that_makes_no_sense_is_refused(
    bridge: FakeBridge, reason: str, lines: tuple[str, ...]
) -> None:
    """With the reason."""
    lines = tuple(line.replace(",drop", "") for line in lines)
    with pytest.raises(BundleRefused, match=reason):
        bridge.commit(diff(EMPTY, programs.flows(*lines)))
    assert bridge.program == EMPTY


def test_overlapping_flows_that_do_the_same_are_allowed(bridge: FakeBridge) -> None:
    """Which of them the switch takes makes no difference."""
    desired = programs.flows(
        f"{programs.OURS}, table=2, priority=5,ip,nw_src=10.0.0.0/8 actions=goto_table:11",
        f"{programs.OURS}, table=2, priority=5,ip,nw_dst=10.0.0.0/8 actions=goto_table:11",
    )
    bridge.commit(diff(EMPTY, desired))
    assert bridge.program == desired


def test_removing_what_is_not_there_is_refused(bridge: FakeBridge) -> None:
    """The change was made for another state."""
    with pytest.raises(BundleRefused, match="is not there"):
        bridge.commit(Delta(remove_flows=GOOD.flows))


def test_a_foreign_flow_is_reported_and_not_replaced() -> None:
    """A flow of ours with its key is refused."""
    foreign = programs.flows("cookie=0x5, table=2, priority=5,ip actions=drop").flows
    bridge = FakeBridge(0xA, TABLE_BY_NUMBER, foreign)
    assert [each.cookie for each in bridge.dump().foreign_flows] == [5]
    with pytest.raises(BundleRefused, match="foreign"):
        bridge.commit(diff(EMPTY, GOOD))


def test_what_was_learned_is_neither_ours_nor_foreign() -> None:
    """And nothing replaces it."""
    learned = programs.flows("cookie=0x1ace800000000001, table=106, priority=200,ip actions=drop").flows
    bridge = FakeBridge(0xA, TABLE_BY_NUMBER, learned)
    found = bridge.dump()
    assert (found.program, found.foreign_flows) == (EMPTY, ())
    with pytest.raises(BundleRefused, match="foreign"):
        bridge.commit(diff(EMPTY, programs.flows(str(learned[0]).replace("1ace80", "1ace01"))))


def test_what_was_to_be_forgotten_is_known(bridge: FakeBridge) -> None:
    """In order."""
    first, second = (ConnectionFilter(IpProto.UDP, TupleFilter(destination_port=port)) for port in (53, 54))
    bridge.flush_connections([first])
    bridge.flush_connections([second, first])
    assert bridge.flushed_connections == [first, second, first]


def test_an_empty_change_leaves_no_trace(bridge: FakeBridge) -> None:
    """A reconcile without change sends nothing."""
    bridge.commit(diff(EMPTY, GOOD))
    bridge.commit(diff(bridge.dump().program, GOOD))
    assert len(bridge.commits) == 1


def test_a_lost_bridge_says_so_at_every_call(bridge: FakeBridge) -> None:
    """And is itself again when it is back."""
    bridge.commit(diff(EMPTY, GOOD))
    bridge.disconnect()
    with pytest.raises(SwitchLost):
        bridge.dump()
    with pytest.raises(SwitchLost):
        bridge.commit(diff(GOOD, EMPTY))
    with pytest.raises(SwitchLost):
        bridge.flush_connections([])
    bridge.reconnect()
    assert bridge.program == GOOD
    bridge.reconnect(emptied=True)
    assert bridge.program == EMPTY
