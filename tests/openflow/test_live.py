"""Text and bytes against a real Open vSwitch: it shows what we print, and holds what we send."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openflow_client import OpenFlowClient

sys.path.insert(0, str(Path(__file__).parent))

from strategies import GROUPS, METERS, flows, groups, meters

from lace_sdn.openflow import wire
from lace_sdn.openflow.diff import Delta, apply, diff
from lace_sdn.openflow.flow import BridgeProgram, Bucket, Flow, Group, Meter, program
from lace_sdn.openflow.text import parse_flow, parse_group, parse_meters
from lace_sdn.openflow.wire.dumps import FLOW_DESC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dummy import DummySwitch

pytestmark = pytest.mark.switch

BRIDGE = "oftext"
SAMPLES = [line for line in (Path(__file__).parent / "flows.txt").read_text().splitlines() if line]
GROUP_SAMPLES = [line for line in (Path(__file__).parent / "groups.txt").read_text().splitlines() if line]
METERED = tuple(Meter(number, 10, 10) for number in METERS)
TARGETS = tuple(Group(number, (Bucket(1, ()),)) for number in GROUPS)

live = settings(
    max_examples=15,
    phases=[Phase.generate],  # a shrunk example would cost minutes of a switch; the first says enough
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Bridge:
    """An empty bridge, our client on it, and ovs-ofctl beside."""

    def __init__(self, switch: DummySwitch, client: OpenFlowClient) -> None:
        self.switch, self.client = switch, client

    def clear(self) -> None:
        self.switch.ofctl("del-flows", BRIDGE)
        self.switch.ofctl("del-groups", BRIDGE)
        self.switch.ofctl("del-meters", BRIDGE)

    def shown(self) -> list[str]:
        """The lines of ovs-ofctl's dump, sorted."""
        lines = self.switch.ofctl("dump-flows", BRIDGE, "--no-stats", "--no-names").splitlines()
        return sorted(line[1:] for line in lines if "actions=" in line)

    def shown_groups(self) -> list[str]:
        lines = self.switch.ofctl("dump-groups", BRIDGE).splitlines()
        return sorted(line[1:] for line in lines if "group_id=" in line)

    def difference(self, expected: list[Flow]) -> str:
        """What ``ovs-ofctl diff-flows`` finds between the bridge and the flows' text."""
        file = self.switch.folder / "expected.txt"
        file.write_text("".join(f"{flow}\n" for flow in expected))
        return self.switch.ofctl("diff-flows", BRIDGE, str(file))


@pytest.fixture
def bridge(dummy_switch: DummySwitch) -> Iterator[Bridge]:
    """An empty bridge, removed afterwards."""
    dummy_switch.add_bridge(BRIDGE)
    with OpenFlowClient(dummy_switch.management_socket(BRIDGE)) as client:
        yield Bridge(dummy_switch, client)
    dummy_switch.remove_bridge(BRIDGE)


def distinct(made: list[Flow]) -> tuple[Flow, ...]:
    return tuple({flow.key: flow for flow in made}.values())


def test_the_switch_shows_every_sample_as_we_print_it(bridge: Bridge) -> None:
    """Sent as text by ovs-ofctl, dumped, byte by byte what str(flow) says; and read as the same flow."""
    bridge.client.commit(Delta(add_groups=TARGETS))
    bridge.switch.ofctl("add-flows", BRIDGE, "-", stdin="\n".join(SAMPLES))
    ours = [parse_flow(line) for line in SAMPLES]
    assert bridge.shown() == sorted(SAMPLES) == sorted(map(str, ours))
    assert set(bridge.client.flows()) == set(ours)


def test_the_switch_holds_every_sample_as_we_send_it(bridge: Bridge) -> None:
    """Sent by our bundle, dumped by ovs-ofctl and by us, and no difference to the text that ovs-ofctl reads."""
    ours = [parse_flow(line) for line in SAMPLES]
    bridge.client.commit(Delta(add_groups=TARGETS, put_flows=tuple(ours)))
    assert bridge.shown() == sorted(SAMPLES)
    assert set(bridge.client.flows()) == set(ours)
    assert bridge.difference(ours) == ""


def test_groups_are_shown_as_we_print_them(bridge: Bridge) -> None:
    ours = [parse_group(line) for line in GROUP_SAMPLES]
    bridge.client.commit(Delta(add_groups=tuple(ours)))
    assert bridge.shown_groups() == sorted(GROUP_SAMPLES) == sorted(map(str, ours))
    assert sorted(map(str, bridge.client.groups())) == sorted(GROUP_SAMPLES)


@live
@given(st.lists(flows(), min_size=20, max_size=40))
def test_random_flows_come_back_as_they_were_sent(bridge: Bridge, made: list[Flow]) -> None:
    """In text and in bytes; ovs-ofctl finds no difference either."""
    bridge.clear()
    ours = distinct(made)
    bridge.client.commit(Delta(add_groups=TARGETS, put_flows=ours, add_meters=METERED))
    assert bridge.shown() == sorted(map(str, ours))
    assert set(bridge.client.flows()) == set(ours)
    assert bridge.difference(list(ours)) == ""


@live
@given(st.lists(groups(ids=tuple(range(1, 20))), max_size=8))
def test_random_groups_come_back_as_they_were_sent(bridge: Bridge, made: list[Group]) -> None:
    bridge.clear()
    ours = tuple({group.id: group for group in made}.values())
    bridge.client.commit(Delta(add_groups=ours))
    assert set(bridge.client.groups()) == set(ours)
    assert bridge.shown_groups() == sorted(map(str, ours))


@live
@given(st.lists(meters(ids=tuple(range(1, 20))), max_size=8))
def test_random_meters_come_back_as_they_were_sent(bridge: Bridge, made: list[Meter]) -> None:
    """In bytes, and as ovs-ofctl shows them."""
    bridge.clear()
    ours = {meter.id: meter for meter in made}
    bridge.client.commit(Delta(add_meters=tuple(ours.values())))
    assert {each.id: each for each in bridge.client.meters()} == ours
    assert set(parse_meters(bridge.switch.ofctl("dump-meters", BRIDGE))) == set(ours.values())


def test_meters_of_another_kind_are_no_secret(bridge: Bridge) -> None:
    """Whoever made them."""
    bridge.switch.ofctl("add-meter", BRIDGE, "meter=9,kbps,band=type=drop,rate=5")
    assert bridge.client.meters() == [Meter(9, 0, 0)]


def test_a_difference_moves_a_live_bridge(bridge: Bridge) -> None:
    """Flows put, changed and gone, groups added, changed and gone, in one bundle; meters around it."""
    lines = ("table=1, priority=5,in_port=1 actions=group:7", "table=2, priority=5,in_port=1 actions=meter:1")
    old = program(map(parse_flow, lines), TARGETS, (Meter(1, 5, 5), Meter(2, 5, 5)))
    lines = (
        "table=1, priority=5,in_port=1 actions=group:9",
        "table=3, priority=5,in_port=1 actions=meter:3,output:3",
    )
    limits = (Meter(2, 6, 5), Meter(3, 5, 5))
    new = program(map(parse_flow, lines), (Group(7, (Bucket(4, ()),)), Group(9, ())), limits)
    bridge.client.commit(diff(BridgeProgram(), old))
    bridge.client.commit(diff(old, new))
    held = program(bridge.client.flows(), bridge.client.groups(), bridge.client.meters())
    assert held == new == apply(old, diff(old, new))


def test_a_refused_message_undoes_its_whole_bundle(bridge: Bridge) -> None:
    """The error names the transaction of the message that was refused."""
    good = parse_flow("table=1, priority=5,in_port=1 actions=drop")
    bad = parse_flow("table=1, priority=6,in_port=1 actions=group:77")
    answers = bridge.client.ask(wire.bundle(Delta(put_flows=(good, bad)), 5, iter(range(1000, 1010))))
    refused = {xid for xid, _, _ in bridge.client.errors(answers)}
    assert 1002 in refused | {xid - 1 for xid in refused}
    assert bridge.client.flows() == []


def test_a_flow_of_somebody_else_is_kept_apart_and_can_be_removed(bridge: Bridge) -> None:
    """One that uses what we do not know is reported with cookie, table and priority; ours are read beside it."""
    ours = parse_flow("cookie=0x1ace000000000001, table=4, priority=9,ip actions=dec_ttl")
    bridge.switch.ofctl(
        "add-flow", BRIDGE, "cookie=0x77,table=5,priority=8,dl_vlan=5,actions=strip_vlan,controller"
    )
    bridge.switch.ofctl("add-flow", BRIDGE, "cookie=0x78,table=5,priority=7,ip,actions=note:00.01.02")
    bridge.client.commit(Delta(put_flows=(ours,)))
    read, foreign = wire.read_flow_dump(wire.bodies(bridge.client.ask(wire.flow_dump_request(3)), FLOW_DESC))
    assert read == [ours]
    assert sorted((each.cookie, each.table, each.priority) for each in foreign) == [
        (0x77, 5, 8),
        (0x78, 5, 7),
    ]
    bridge.client.ask(*(wire.foreign_delete_strict(each, 4) for each in foreign))
    assert bridge.shown() == [str(ours)]


FOREIGN_LEARNING = (
    "learn(table=5,fin_idle_timeout=3,NXM_NX_REG1[])",
    "learn(table=5,send_flow_rem,NXM_NX_REG1[])",
    "learn(table=5,limit=3,result_dst=NXM_NX_REG2[0],NXM_NX_REG1[])",
    "learn(table=5,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])",
    "learn(table=5,reg1[0..3]=0x5)",
    "learn(table=5,NXM_NX_REG1[],load:0x5->NXM_NX_REG2[])",
    "learn(table=5,NXM_NX_REG1[],output:NXM_NX_REG2[])",
)


@pytest.mark.parametrize("learning", FOREIGN_LEARNING)
def test_learning_of_a_kind_that_is_not_ours_is_foreign(bridge: Bridge, learning: str) -> None:
    """Never read as something else."""
    bridge.switch.ofctl("add-flow", BRIDGE, f"cookie=0x79,table=3,priority=6,actions={learning}")
    read, foreign = wire.read_flow_dump(wire.bodies(bridge.client.ask(wire.flow_dump_request(3)), FLOW_DESC))
    assert read == []
    assert [(each.cookie, each.table, each.priority) for each in foreign] == [(0x79, 3, 6)]


def test_a_dump_of_many_parts_is_read_whole(bridge: Bridge) -> None:
    """2,000 flows do not fit into one reply."""
    ours = [parse_flow(f"table=1, priority={number} actions=output:1") for number in range(1, 2001)]
    bridge.client.commit(Delta(put_flows=tuple(ours)))
    answer = bridge.client.ask(wire.flow_dump_request(3))
    assert int.from_bytes(answer[2:4], "big") < len(answer)
    assert set(wire.decode_flow_dump(wire.bodies(answer, FLOW_DESC))) == set(ours)


def test_a_group_of_foreign_kind_is_reported_by_its_number(bridge: Bridge) -> None:
    bridge.switch.ofctl("add-group", BRIDGE, "group_id=5,type=all,bucket=actions=output:1")
    entries = wire.bodies(bridge.client.ask(wire.group_dump_request(3)), 7)
    assert wire.read_group_dump(entries) == ([], [5])
