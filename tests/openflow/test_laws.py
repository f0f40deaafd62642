"""Laws of the OpenFlow vocabulary, for random flows, groups and programs."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from strategies import flows, groups, meters, programs

from lace_sdn.openflow import wire
from lace_sdn.openflow.diff import apply, diff
from lace_sdn.openflow.flow import BridgeProgram, Flow, Group, Meter, program
from lace_sdn.openflow.text import parse_flow, parse_group, parse_meter


def as_entry(flow: Flow) -> bytes:
    """A flow-mod rewritten as the entry of a dump: head, match, no statistics, instructions."""
    message = wire.flow_add(flow, 1)
    match_size = (int.from_bytes(message[50:52], "big") + 7) & ~7
    body = message[48 : 48 + match_size] + b"\0\0\0\4\0\0\0\0" + message[48 + match_size :]
    head = (
        b"\0\0"
        + bytes((flow.table, 0))
        + flow.priority.to_bytes(2, "big")
        + bytes(8)
        + flow.cookie.to_bytes(8, "big")
    )
    return (len(head) + 2 + len(body)).to_bytes(2, "big") + head + body


def as_group_entry(group: Group) -> bytes:
    """A group-mod rewritten as the entry of a dump."""
    message = wire.group_add(group, 1)
    body = message[24:]
    return b"".join(
        ((16 + len(body)).to_bytes(2, "big"), b"\1\0", message[12:16], message[16:18], bytes(6), body)
    )


def inner(message: bytes) -> tuple[int, int]:
    """Type and command of a message in a bundle; nothing for the bundle's own."""
    if not message:
        return (0, 0)
    return (message[1], message[25] if message[1] == 14 else message[9])


@given(flows())
def test_what_a_flow_prints_is_read_as_that_flow(flow: Flow) -> None:
    """parse(render(flow)) == flow."""
    assert parse_flow(str(flow)) == flow


@given(flows(), st.text(st.characters(codec="ascii", categories=("L", "N"))))
def test_a_comment_names_the_owner_and_changes_nothing(flow: Flow, owner: str) -> None:
    read = parse_flow(f"{flow}   # {owner}")
    assert (read, read.owner) == (flow, owner)


@given(groups())
def test_what_a_group_prints_is_read_as_that_group(group: Group) -> None:
    """parse(render(group)) == group."""
    assert parse_group(str(group)) == group


@given(meters())
def test_what_a_meter_prints_is_read_as_that_meter(meter: Meter) -> None:
    """parse(render(meter)) == meter."""
    assert parse_meter(f"{meter} # Pod a/b") == meter


@given(flows())
def test_a_flow_survives_the_wire(flow: Flow) -> None:
    """decode(encode(flow)) == flow, also in the hash by which dictionaries find it."""
    (read,) = wire.decode_flow_dump(as_entry(flow))
    assert read == flow
    assert hash(read) == hash(flow)


@given(groups())
def test_a_group_survives_the_wire(group: Group) -> None:
    assert wire.decode_group_dump(as_group_entry(group)) == [group]


@given(st.lists(flows(), max_size=8), st.binary(min_size=1, max_size=200))
def test_bytes_of_no_sense_never_stop_the_flows_around_them(known: list[Flow], noise: bytes) -> None:
    """An entry with unknown contents is kept apart, with its cookie, table and priority."""
    head = b"\0\7\0\0\1" + bytes(8) + (99).to_bytes(8, "big")
    match = b"\0\1" + (4 + len(noise)).to_bytes(2, "big") + noise
    rest = b"\0" + head + match
    strange = (2 + len(rest)).to_bytes(2, "big") + rest
    entries = b"".join(map(as_entry, known))
    read, foreign = wire.read_flow_dump(entries + strange + entries)
    others = [(each.cookie, each.table, each.priority, each.raw) for each in foreign]
    extra = len(read) - 2 * len(known)
    assert [each for each in read if each.cookie != 99 or each in known][: len(known)] == known
    assert extra == 1 or others == [(99, 7, 1, strange)]


@given(programs(), programs())
def test_a_difference_applied_gives_what_is_desired(installed: BridgeProgram, desired: BridgeProgram) -> None:
    assert apply(installed, diff(installed, desired)) == desired


@given(programs())
def test_nothing_is_to_be_done_for_what_is_there(installed: BridgeProgram) -> None:
    delta = diff(installed, installed)
    assert delta.is_empty
    assert len(delta) == 0


@given(programs(), programs())
def test_there_and_back_restores_the_tables(one: BridgeProgram, other: BridgeProgram) -> None:
    there = apply(one, diff(one, other))
    assert apply(there, diff(there, one)) == one


@given(programs(), st.randoms(use_true_random=False))
def test_a_program_does_not_depend_on_the_order_of_its_flows(one: BridgeProgram, random: object) -> None:
    shuffled_flows, shuffled_groups = list(one.flows), list(one.groups)
    random.shuffle(shuffled_flows)
    random.shuffle(shuffled_groups)
    assert program(shuffled_flows, shuffled_groups, reversed(one.meters)) == one


@given(programs(), programs())
def test_a_bundle_is_ordered_and_every_message_has_its_transaction(
    one: BridgeProgram, other: BridgeProgram
) -> None:
    """Open, groups, flows put, flows gone, groups gone, commit: as many messages as the delta says, and no other."""
    delta = diff(one, other)
    data = wire.bundle(delta, 9, itertools.count(50))
    kinds, xids = [], []
    while data:
        size = int.from_bytes(data[2:4], "big")
        kinds.append((data[1], *inner(data[16:size])))
        xids.append(
            (int.from_bytes(data[4:8], "big"), int.from_bytes(data[20:24], "big") if data[1] == 34 else 0)
        )
        data = data[size:]
    assert [outer for outer, _ in xids] == list(range(50, 52 + delta.bundled))
    assert all(inner == outer for outer, inner in xids[1:-1])
    assert kinds[1:-1] == (
        [(34, 15, 0)] * len(delta.add_groups)
        + [(34, 15, 1)] * len(delta.modify_groups)
        + [(34, 14, 0)] * len(delta.put_flows)
        + [(34, 14, 4)] * len(delta.remove_flows)
        + [(34, 15, 2)] * len(delta.remove_groups)
    )
