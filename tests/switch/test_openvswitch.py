"""What only a real Open vSwitch can do: come and go, be full of other people's flows, be large."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import programs
import pytest
from conftest import connect
from dummy import DummySwitch, wait_until
from holding import BOUND_S, HolderProcess, library_name

from lace_sdn.openflow.diff import diff
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.switch.contract import BundleRefused, SwitchLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holding import HeldBridge

pytestmark = pytest.mark.switch

EMPTY = BridgeProgram()
NODE = programs.of_book("dual-stack", "node1")
FOREIGN = "table=3, priority=7,ip actions=move:NXM_NX_REG0[]->NXM_NX_REG1[],group:7"
UNREADABLE = "table=4, priority=8,tcp actions=note:00.01.02.03.04.05"
FOREIGN_GROUP = "group_id=7,type=all,bucket=actions=output:1,bucket=actions=output:2"


@pytest.fixture
def own() -> Iterator[tuple[DummySwitch, HolderProcess]]:
    """A switch and a holder for one test, that it may restart and kill."""
    with DummySwitch() as switch, HolderProcess(switch.folder / "holder.sock") as holder:
        yield switch, holder


def install(bridge: HeldBridge, desired: BridgeProgram) -> None:
    bridge.commit(diff(bridge.dump().program, desired))


def test_the_holder_runs_on_the_library_that_was_chosen(holder: HolderProcess) -> None:
    """One setting decides."""
    assert holder.ask("library") == library_name()


def test_the_switch_holds_the_text_of_the_book(
    openvswitch: DummySwitch, held_bridge: Callable[[], HeldBridge]
) -> None:
    """ovs-ofctl, which shares no code with us, finds no difference between the file and the bridge."""
    bridge = held_bridge()
    install(bridge, NODE)
    book = programs.BOOK / "dual-stack" / "node1.flows"
    assert openvswitch.ofctl("diff-flows", bridge.name, str(book)) == ""


def test_an_empty_change_writes_nothing(held_bridge: Callable[[], HeldBridge], holder: HolderProcess) -> None:
    """Not one byte."""
    bridge = held_bridge()
    install(bridge, NODE)
    nothing = diff(bridge.dump().program, NODE)
    before = holder.ask("written")
    bridge.commit(nothing)
    assert holder.ask("written") == before


def test_foreign_flows_and_groups_are_reported_and_left_alone(
    openvswitch: DummySwitch, held_bridge: Callable[[], HeldBridge]
) -> None:
    """Also those that use actions that we cannot read; our own go from between them."""
    bridge = held_bridge()
    openvswitch.ofctl("add-group", bridge.name, FOREIGN_GROUP)
    for flow in (FOREIGN, UNREADABLE):
        openvswitch.ofctl("add-flow", bridge.name, flow)
    install(bridge, NODE)
    installed = bridge.dump()
    assert installed.program == NODE
    assert sorted((each.table, each.priority) for each in installed.foreign_flows) == [(3, 7), (4, 8)]
    assert installed.foreign_groups == (7,)
    install(bridge, EMPTY)
    left = openvswitch.ofctl("dump-flows", bridge.name, "--no-stats")
    assert left.count("actions=") == 2
    assert "group_id=7" in openvswitch.ofctl("dump-groups", bridge.name)


def test_only_one_controller_at_a_time_but_many_bridges(held_bridge: Callable[[], HeldBridge]) -> None:
    """Bridges of one process hold different programs."""
    first, second = held_bridge(), held_bridge()
    install(first, NODE)
    install(second, programs.of_book("dual-stack", "node2"))
    assert first.dump().program == NODE
    assert second.dump().program == programs.of_book("dual-stack", "node2")


def test_a_switch_may_connect_by_tcp(openvswitch: DummySwitch, holder: HolderProcess) -> None:
    """As well as by the unix socket."""
    openvswitch.add_bridge("tcp0", f"other-config:datapath-id={0x7C9:016x}")
    openvswitch.vsctl("set-controller", "tcp0", f"tcp:127.0.0.1:{holder.ask('tcp_port')}")
    bridge = holder.wait_for_bridge(0x7C9)
    install(bridge, NODE)
    assert bridge.dump().program == NODE
    openvswitch.remove_bridge("tcp0")


def test_each_refused_flow_of_a_bundle_is_named(held_bridge: Callable[[], HeldBridge]) -> None:
    """Three bad ones among five hundred good ones, found as they come in."""
    bridge = held_bridge()
    bad = programs.flows(
        *(f"{programs.OURS}, table=2, priority={n},ip actions=goto_table:1 # Pod x/{n}" for n in (1, 2, 3))
    )
    many = programs.many(500).flows
    with pytest.raises(BundleRefused) as caught:
        install(bridge, BridgeProgram((*many[:250], *bad.flows, *many[250:])))
    assert sorted(each.owner for each in caught.value.refusals) == ["Pod x/1", "Pod x/2", "Pod x/3"]
    assert bridge.dump().program == EMPTY


def test_a_restarted_switch_goes_down_and_comes_up_empty(own: tuple[DummySwitch, HolderProcess]) -> None:
    """Down first, then up, as a new bridge that takes the program again."""
    switch, holder = own
    connect(switch, "br0", 1, holder)
    install(holder.wait_for_bridge(1), NODE)
    switch.restart_vswitchd()
    wait_until(lambda: len(holder.ask("events")) == 3, "the bridge's return", BOUND_S)
    assert holder.ask("events") == [("up", 1), ("down", 1), ("up", 1)]
    bridge = holder.wait_for_bridge(1)
    assert bridge.dump().program == EMPTY
    install(bridge, NODE)
    assert bridge.dump().program == NODE


def test_a_killed_controller_changes_nothing_and_the_next_reads_it_back(
    own: tuple[DummySwitch, HolderProcess],
) -> None:
    """Kill -9: the flows stay, and the difference to them is nothing."""
    switch, holder = own
    connect(switch, "br0", 1, holder)
    install(holder.wait_for_bridge(1), NODE)
    before = switch.ofctl("dump-flows", "br0", "--no-stats")
    holder.kill()
    assert switch.ofctl("dump-flows", "br0", "--no-stats") == before
    holder.start()
    assert diff(holder.wait_for_bridge(1).dump().program, NODE).is_empty


def test_a_bridge_that_is_gone_raises_at_once(own: tuple[DummySwitch, HolderProcess]) -> None:
    """And the process goes on."""
    switch, holder = own
    connect(switch, "br0", 1, holder)
    bridge = holder.wait_for_bridge(1)
    switch.remove_bridge("br0")
    wait_until(lambda: not bridge.is_connected, "the end of the bridge", BOUND_S)
    with pytest.raises(SwitchLost):
        bridge.dump()
    with pytest.raises(SwitchLost):
        bridge.commit(diff(EMPTY, NODE))


def test_a_switch_that_hangs_is_given_up(own: tuple[DummySwitch, HolderProcess]) -> None:
    """It answers no probe: whoever waits for it gets SwitchLost, and nobody waits for ever."""
    switch, holder = own
    holder.ask("probe_every", 0.2)
    connect(switch, "br0", 1, holder)
    bridge = holder.wait_for_bridge(1)
    switch.freeze_vswitchd()
    with pytest.raises(SwitchLost):
        install(bridge, NODE)
    assert not bridge.is_connected


def test_twenty_thousand_flows_come_back(held_bridge: Callable[[], HeldBridge]) -> None:
    """In many replies; equal to the last one."""
    bridge = held_bridge()
    desired = programs.many(20_000)
    bridge.commit(diff(EMPTY, desired))
    assert diff(bridge.dump().program, desired).is_empty


def test_a_large_push_leaves_room_for_others(
    held_bridge: Callable[[], HeldBridge],
    holder: HolderProcess,
    record_property: Callable[[str, object], None],
) -> None:
    """While 50,000 flows go out, nobody in the process waits for a quarter of it: a busy machine makes both longer."""
    bridge = held_bridge()
    took, gap = holder.ask("commit_timed", bridge.datapath_id, diff(EMPTY, programs.many(50_000)))
    record_property("push", json.dumps({"seconds": took, "worst_gap": gap}))
    assert gap < max(0.5, took / 4)
