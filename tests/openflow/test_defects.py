"""What a switch would accept in silence, or refuse, and is named before."""

from __future__ import annotations

import pytest

from lace_sdn.openflow.flow import program
from lace_sdn.openflow.simulator import defects, unreached
from lace_sdn.openflow.text import parse_flow, parse_group

TABLES = {0: (1, 2), 1: (2, 5), 2: (5,), 5: ()}
BASE = ("priority=1,tcp actions=goto_table:1", "priority=0 actions=drop")


def group(number: int, *actions: str, method: str = "dp_hash") -> str:
    """A select group, one bucket for each actions."""
    buckets = "".join(
        f",bucket=bucket_id:{index},actions={each}" for index, each in enumerate(actions, start=1)
    )
    return f"group_id={number},type=select,selection_method={method}{buckets}"


def found(*lines: str) -> tuple[str, ...]:
    """The defects of a program of flows and groups."""
    groups = [parse_group(each) for each in lines if each.startswith("group_id")]
    flows = [parse_flow(each) for each in lines if not each.startswith("group_id")]
    return defects(program(flows, groups), TABLES)


SOUND = {
    "flows": (*BASE, "table=1, actions=resubmit(,2),goto_table:5"),
    "a group that leads on": ("table=0, actions=group:1", group(1, "resubmit(,1)", "resubmit(,2)")),
    "a group behind a group that hashes otherwise": (
        "table=1, actions=group:1",
        group(1, "group:2", method="hash,fields(ip_src,tcp_src)"),
        group(2, "resubmit(,5)"),
    ),
    "a group behind a group that starts otherwise": (
        "table=1, actions=group:1",
        group(1, "group:2", method="hash,fields=ip_src"),
        group(2, "resubmit(,5)", method="hash,selection_method_param=1,fields=ip_src"),
    ),
    "flows that are learned for a declared table": ("table=1, actions=learn(table=5,NXM_NX_REG1[])",),
}


@pytest.mark.parametrize("lines", SOUND.values(), ids=list(SOUND))
def test_a_sound_program_has_no_defects(lines: tuple[str, ...]) -> None:
    assert found(*lines) == ()


DEFECTS = {
    "a TTL of any packet": (("actions=dec_ttl,output:1",), "not about IP packets alone"),
    "a translation of any packet": (("actions=ct(table=1,zone=1,nat)",), "not about IP packets alone"),
    "an undeclared table": (("table=9, actions=drop",), "table 9 is not declared"),
    "a jump to an undeclared table": (("actions=goto_table:9",), "table 9 is not declared"),
    "a jump back": (("table=2, actions=resubmit(,1)",), "jump back to table 1"),
    "an undeclared jump": (("table=0, actions=goto_table:5",), "does not declare that it goes to table 5"),
    "learning for an undeclared table": (
        ("actions=learn(table=9,NXM_NX_REG1[])",),
        "table 9 is not declared",
    ),
    "a missing group": (("actions=group:7",), "group 7 does not exist: actions"),
    "a jump out of a group to an undeclared table": (
        ("actions=group:1", group(1, "resubmit(,1)", "resubmit(,9)")),
        "table 9 is not declared: actions=group:1",
    ),
    "a jump back out of a group": (
        ("table=2, actions=group:1", group(1, "resubmit(,2)")),
        "jump back to table 2: table=2",
    ),
    "a jump out of a group that its table does not declare": (
        ("table=0, actions=group:1", group(1, "resubmit(,5)")),
        "table 0 does not declare that it goes to table 5: actions=group:1",
    ),
    "a jump out of a group behind a group": (
        (
            "table=2, actions=group:1",
            group(1, "group:2"),
            group(2, "resubmit(,1)", method="hash,fields=ip_src"),
        ),
        "jump back to table 1: table=2, actions=group:1",
    ),
    "a missing group behind a group": (
        ("actions=group:1", group(1, "resubmit(,1)", "group:7")),
        "group 7 does not exist: group_id=1",
    ),
    "a missing group behind a group that no flow uses": (
        (group(1, "group:7"),),
        "group 7 does not exist: group_id=1",
    ),
    "groups behind each other that hash alike": (
        (
            "table=1, actions=group:1",
            group(1, "group:2", method="hash,fields=ip_src"),
            group(2, "resubmit(,5)", method="hash,fields=ip_src"),
        ),
        "groups 1 and 2 behind it hash alike",
    ),
    "dp_hash behind dp_hash": (
        ("table=1, actions=group:1", group(1, "group:2"), group(2, "resubmit(,5)")),
        "groups 1 and 2 behind it hash alike",
    ),
    "an overlap": (
        ("priority=5,tcp actions=drop", "priority=5,in_port=1 actions=output:2"),
        "a packet may hit both",
    ),
    "a flow that is hidden": (
        ("priority=5,ip actions=drop", "priority=4,tcp actions=output:2"),
        "never hit: priority=4,tcp",
    ),
}


@pytest.mark.parametrize(("lines", "message"), DEFECTS.values(), ids=list(DEFECTS))
def test_a_defect_is_named_once(lines: tuple[str, ...], message: str) -> None:
    """With the flow or the group behind it, and no other is found beside it."""
    [sentence] = found(*lines)
    assert message in sentence


UNREACHED: dict[str, tuple[tuple[str, ...], set[int]]] = {
    "through a group": (("actions=group:1", group(1, "resubmit(,2)")), {1}),
    "through a group behind a group": (
        ("actions=group:1", group(1, "group:2"), group(2, "resubmit(,1)")),
        {2},
    ),
    "through any bucket": (("actions=group:1", group(1, "resubmit(,1)", "resubmit(,2)")), set()),
    "through a group that no flow uses": (("actions=drop", group(1, "resubmit(,1)")), {1, 2}),
    "through groups that lead to each other": (
        ("actions=group:1", group(1, "group:2"), group(2, "group:1", "resubmit(,1)")),
        {2},
    ),
    "through flows": (("actions=goto_table:1",), {2}),
}


@pytest.mark.parametrize(("lines", "tables"), UNREACHED.values(), ids=list(UNREACHED))
def test_flows_that_nothing_leads_to_are_found(lines: tuple[str, ...], tables: set[int]) -> None:
    """In tables 1 and 2, which hold a flow each."""
    groups = [parse_group(each) for each in lines if each.startswith("group_id")]
    flows = [parse_flow(each) for each in lines if not each.startswith("group_id")]
    more = [parse_flow(f"table={number}, actions=drop") for number in (1, 2)]
    assert {flow.table for flow in unreached(program([*flows, *more], groups))} == tables
