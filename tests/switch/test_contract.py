"""What a bridge promises, the fake and a real Open vSwitch alike."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import programs
import pytest

from lace_sdn.openflow.diff import diff
from lace_sdn.openflow.fields import IpProto
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.wire import ConnectionFilter, Metered, TupleFilter
from lace_sdn.pipeline.tables import TABLE_BY_NUMBER
from lace_sdn.switch.contract import BundleRefused
from lace_sdn.switch.fake import FakeBridge

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.switch.contract import ProgrammableBridge

EMPTY = BridgeProgram()
SMALL = programs.flows(
    f"{programs.OURS}, priority=100,in_port=1 actions=set_field:0x1->reg1,goto_table:2",
    f"{programs.OURS}, table=2, priority=100,ip,in_port=1 actions=group:7",
    groups=(
        "group_id=7,type=select,selection_method=dp_hash,bucket=bucket_id:1,weight:100,actions=output:1",
    ),
)
METERED = programs.flows(
    f"{programs.OURS}, table=2, priority=100,ip,in_port=1 actions=meter:7,output:1",
    f"{programs.OURS}, table=2, priority=100,ip,in_port=2 actions=meter:8,output:1",
    meters=(
        "meter=7,pktps,burst,stats,bands=type=drop,rate=100,burst_size=50",
        "meter=8,pktps,burst,stats,bands=type=drop,rate=1,burst_size=1",
    ),
)
OTHERWISE_METERED = programs.flows(
    f"{programs.OURS}, table=2, priority=100,ip,in_port=1 actions=meter:7,output:1",
    f"{programs.OURS}, table=2, priority=100,ip,in_port=2 actions=meter:9,output:1",
    meters=(
        "meter=7,pktps,burst,stats,bands=type=drop,rate=200,burst_size=50",
        "meter=9,pktps,burst,stats,bands=type=drop,rate=1,burst_size=1",
    ),
)
CHANGED = programs.flows(
    f"{programs.OURS}, priority=100,in_port=1 actions=set_field:0x2->reg1,goto_table:2",
    f"{programs.OURS}, table=2, priority=90,ip,in_port=1 actions=output:2",
)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.switch)])
def bridge(request: pytest.FixtureRequest) -> ProgrammableBridge:
    """An empty bridge with our tables."""
    if request.param == "fake":
        return FakeBridge(1, TABLE_BY_NUMBER)
    make: Callable[[], ProgrammableBridge] = request.getfixturevalue("held_bridge")
    return make()


def install(bridge: ProgrammableBridge, desired: BridgeProgram) -> None:
    bridge.commit(diff(bridge.dump().program, desired))


def test_a_new_bridge_is_empty(bridge: ProgrammableBridge) -> None:
    """Nothing of ours and nothing foreign."""
    installed = bridge.dump()
    assert (installed.program, installed.foreign_flows, installed.foreign_groups) == (EMPTY, (), ())


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_what_was_committed_is_what_is_dumped(bridge: ProgrammableBridge, node: str) -> None:
    """A whole node of the book comes back as the same value."""
    desired = programs.of_book("dual-stack", node)
    install(bridge, desired)
    assert bridge.dump().program == desired


def test_groups_come_back_as_they_went(bridge: ProgrammableBridge) -> None:
    """A group and a flow that leads to it."""
    install(bridge, SMALL)
    assert bridge.dump().program == SMALL


def test_meters_are_there_before_their_flows_and_go_after_them(bridge: ProgrammableBridge) -> None:
    """They come back as they went; a change makes, changes and removes them, and back again."""
    for desired in (METERED, OTHERWISE_METERED, METERED, EMPTY):
        install(bridge, desired)
        assert bridge.dump().program == desired


def test_meters_say_what_they_have_counted(bridge: ProgrammableBridge) -> None:
    """Nothing, when nothing came."""
    if isinstance(bridge, FakeBridge):
        bridge.counted = dict.fromkeys((7, 8), Metered(0, 0))
    install(bridge, METERED)
    assert bridge.metered() == dict.fromkeys((7, 8), Metered(0, 0))


def test_a_change_takes_what_is_gone_and_replaces_what_changed(bridge: ProgrammableBridge) -> None:
    """One flow changes its actions, one its priority, the group goes."""
    install(bridge, SMALL)
    install(bridge, CHANGED)
    assert bridge.dump().program == CHANGED


def test_there_and_back_restores_the_tables(bridge: ProgrammableBridge) -> None:
    """Nothing stays behind."""
    install(bridge, SMALL)
    install(bridge, CHANGED)
    install(bridge, SMALL)
    assert bridge.dump().program == SMALL
    install(bridge, EMPTY)
    assert bridge.dump().program == EMPTY


def test_installing_again_is_no_change(bridge: ProgrammableBridge) -> None:
    """What the switch reports differs in nothing from what was sent."""
    desired = programs.of_book("three-nodes", "node1")
    install(bridge, desired)
    assert diff(bridge.dump().program, desired).is_empty


REFUSED = {
    "a meter that does not exist": f"{programs.OURS}, table=2, priority=7,ip actions=meter:99",
    "a group that does not exist": f"{programs.OURS}, table=2, priority=7,ip actions=group:99",
    "a jump backwards": f"{programs.OURS}, table=37, priority=7,ip actions=goto_table:2",
    "a field without its protocol": f"{programs.OURS}, table=2, priority=7,ip,tcp_dst=80 actions=drop",
    "an address of the other family": f"{programs.OURS}, table=2, priority=7,ipv6,nw_src=10.0.0.1 actions=drop",
    "conntrack of what is not IP": f"{programs.OURS}, table=2, priority=7,arp actions=ct(table=12,zone=1)",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_flow_is_named_and_nothing_of_the_bundle_is_applied(
    bridge: ProgrammableBridge, text: str
) -> None:
    """By its text and the object behind it, with a reason; the good flows of the bundle are not applied either."""
    install(bridge, SMALL)
    bad = programs.flows(f"{text} # Pod shop/web-0")
    desired = BridgeProgram((*CHANGED.flows, *bad.flows), CHANGED.groups)
    with pytest.raises(BundleRefused) as caught:
        install(bridge, desired)
    refusal = caught.value.refusals[0]
    assert (refusal.text, refusal.owner) == (str(bad.flows[0]), "Pod shop/web-0")
    assert refusal.reason
    assert bridge.dump().program == SMALL


def test_a_bridge_goes_on_after_a_refusal(bridge: ProgrammableBridge) -> None:
    """The next bundle is judged by itself."""
    with pytest.raises(BundleRefused):
        install(bridge, programs.flows(REFUSED["a group that does not exist"]))
    install(bridge, SMALL)
    assert bridge.dump().program == SMALL


def test_flushing_a_zone_leaves_the_flows(bridge: ProgrammableBridge) -> None:
    """First and last zone."""
    install(bridge, SMALL)
    bridge.flush_zone(1)
    bridge.flush_zone(65535)
    assert bridge.dump().program == SMALL


def test_forgetting_connections_leaves_the_flows(bridge: ProgrammableBridge) -> None:
    """Those that there are not, too; and none is asked for by nothing."""
    install(bridge, SMALL)
    to_endpoint = TupleFilter(source=ip_address("10.0.0.1"), source_port=5353)
    to_vip = TupleFilter(destination=ip_address("fd00:96::1"), destination_port=53)
    bridge.flush_connections([ConnectionFilter(IpProto.UDP, TupleFilter(), to_endpoint)])
    bridge.flush_connections([ConnectionFilter(IpProto.UDP, to_vip)] * 3)
    bridge.flush_connections([])
    assert bridge.dump().program == SMALL
