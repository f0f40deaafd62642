"""What is refused, and how it is said: the offending text, and what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lace_sdn.openflow import wire
from lace_sdn.openflow.actions import CheckPktLarger, Goto, Output, SetField
from lace_sdn.openflow.diff import Delta, apply
from lace_sdn.openflow.fields import IN_PORT, REG, Slice
from lace_sdn.openflow.flow import BridgeProgram, Bucket, Flow, Group, Meter, program
from lace_sdn.openflow.match import Match, term
from lace_sdn.openflow.text import parse_flow, parse_group, parse_meter
from lace_sdn.openflow.wire.metering import meter_add, read_meter_dump, read_meter_stats

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS = [
    ("table=1, priority=5,ip", "actions=... is expected"),
    ("table=x actions=drop", "'x' is no number"),
    ("nonsense=5 actions=drop", "'nonsense=5' in a match"),
    ("tp_dst=80 actions=drop", "'tp_dst=80' in a match"),
    ("ct_state=+tracked actions=drop", "'\\+tracked'"),
    ("ct_state=new|old actions=drop", "'old' is no connection state"),
    ("ip,nw_src=10.0.0.0/33 actions=drop", "a prefix length up to 32 is expected"),
    ("dl_src=0a:00 actions=drop", "'0a:00' is not a MAC address"),
    ("reg0=0x1ffffffff actions=drop", "has bits outside"),
    ("in_port=1,in_port=2 actions=drop", "contradicts"),
    ("actions=note:00.01", "'note:00.01' is no action"),
    ("actions=set_field:1->nothing", "'nothing' is no field"),
    ("actions=set_field:3/0x1->reg0", "bits outside its mask"),
    ("actions=move:NXM_NX_REG0[40]->NXM_NX_REG1[0]", "bits up to 31"),
    ("actions=move:REG0->REG1", "bits of a field"),
    ("actions=resubmit(3,4)", "without a port"),
    ("ip actions=ct(force)", "commit is expected beside it"),
    ("ip actions=ct(commit,alg=ftp)", "'alg=ftp' is not expected"),
    ("ip actions=ct(commit,exec(output:1))", "only set_field and move"),
    ("actions=learn(table=5,nothing=3)", "'nothing' is no field"),
    ("actions=learn(table=5,reg0=0x1/0x3)", "a whole field is expected"),
    ("actions=learn(table=5,fin_idle_timeout=3)", "'fin_idle_timeout' is no field"),
    ("actions=learn(table=5,send_flow_rem)", "bits of a field"),
    ("actions=learn(table=x)", "'table=x'"),
    ("actions=check_pkt_larger(1464)", "bits of a field"),
    ("actions=check_pkt_larger(big)->NXM_NX_REG0[0]", "'big"),
    ("actions=check_pkt_larger(1464)->NXM_NX_REG0[0..1]", "one bit"),
    ("ip actions=ct(commit)->NXM_NX_REG0[0]", "is not expected"),
    ("actions=CONTROLLER:all", "'CONTROLLER:all'"),
    ("ip actions=ct(nat(both))", "nat\\(src=ADDRESS:PORT\\) is expected"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS, ids=[text for text, _ in TEXTS])
def test_a_text_that_is_no_flow_is_quoted(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_flow(text)


@pytest.mark.parametrize(
    "text",
    [
        "group_id=1,type=all,bucket=bucket_id:1,actions=drop",
        "group_id=1,type=select,bucket=bucket_id:1,actions=drop",
        "group_id=1,type=select,selection_method=dp_hash,colour=red",
        "group_id=1,type=select,selection_method=dp_hash,bucket=weight:1,actions=drop",
        "group_id=1,type=select,selection_method=hash,fields(colour)",
    ],
)
def test_a_text_that_is_no_group_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_group(text)


def test_two_flows_with_one_key_are_no_program() -> None:
    """Both are named, with the objects behind them."""
    match = Match(term(IN_PORT, 1))
    flows = (Flow(1, 5, match, (), owner="Pod a/b"), Flow(1, 5, match, (Output(1),), owner="Pod a/c"))
    with pytest.raises(ValueError, match=r"two flows with one key: .*Pod a/c.*Pod a/b"):
        program(flows)


def test_two_groups_with_one_number_are_no_program() -> None:
    with pytest.raises(ValueError, match="two groups numbered 4"):
        program((), (Group(4, ()), Group(4, (Bucket(1, ()),))))


def test_two_meters_with_one_number_are_no_program() -> None:
    with pytest.raises(ValueError, match="two meters numbered 4"):
        program((), (), (Meter(4, 1, 1), Meter(4, 2, 1)))


@pytest.mark.parametrize("text", ["meter=1", "meter=1,kbps,bands=type=drop,rate=5,burst_size=5", ""])
def test_a_text_that_is_no_meter_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_meter(text)


def test_a_meter_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        meter_add(Meter(1, 1 << 32, 1), 5)


@pytest.mark.parametrize("read", [read_meter_dump, read_meter_stats])
def test_meters_that_are_cut_off_are_refused(read: Callable[[bytes], object]) -> None:
    with pytest.raises(ValueError, match="cut off"):
        read(b"\0\x18\0\x0e" * 3)


@pytest.mark.parametrize(
    "delta",
    [
        Delta(add_meters=(Meter(1, 5, 5),)),
        Delta(modify_meters=(Meter(2, 5, 5),)),
        Delta(remove_meters=(Meter(2, 5, 5),)),
        Delta(add_groups=(Group(1, ()),)),
        Delta(modify_groups=(Group(2, ()),)),
        Delta(remove_groups=(Group(2, ()),)),
        Delta(remove_flows=(Flow(1, 5, Match(), ()),)),
    ],
)
def test_a_delta_for_another_bridge_is_refused(delta: Delta) -> None:
    with pytest.raises(ValueError, match="delta"):
        apply(BridgeProgram(groups=(Group(1, ()),), meters=(Meter(1, 5, 5),)), delta)


@pytest.mark.parametrize(
    "flow",
    [
        Flow(1, 70_000, Match(), ()),
        Flow(1, 5, Match(), (), cookie=1 << 64),
        Flow(1, 5, Match(), (Goto(255),)),
        Flow(1, 5, Match(), (Goto(2), Output(1))),
        Flow(1, 5, Match(), (Output(1 << 32),)),
        Flow(1, 5, Match(), (CheckPktLarger(1 << 16, Slice(REG[0], 13, 1)),)),
        Flow(1, 5, Match(), (SetField(REG[0], 1), Goto(2), Goto(3))),
    ],
)
def test_a_flow_that_no_message_can_carry_is_refused(flow: Flow) -> None:
    with pytest.raises(ValueError, match=r"fit|expected"):
        wire.flow_add(flow, 1)


def test_a_group_larger_than_a_message_is_refused() -> None:
    """The message says how many buckets there are; nothing half is sent."""
    group = Group(7, tuple(Bucket(number, (Output(1), Output(2), Output(3))) for number in range(1100)))
    with pytest.raises(ValueError, match="group 7 of nobody: 1100 buckets take"):
        wire.group_add(group, 1)


def test_a_dump_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        wire.decode_flow_dump(b"\0\x40" + bytes(30))
    with pytest.raises(ValueError, match="cut off"):
        wire.decode_group_dump(b"\0\x40" + bytes(10))
    with pytest.raises(ValueError, match="cut off"):
        wire.bodies(wire.barrier(1)[:7], 1)
