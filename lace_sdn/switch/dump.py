"""Raw replies of a dump, told apart into what is ours and what is foreign. Pure, but for the breath its caller gives it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow import wire
from lace_sdn.openflow.actions import GroupAction
from lace_sdn.openflow.flow import BridgeProgram, Flow, Group
from lace_sdn.switch.contract import ForeignFlow, Installed, is_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lace_sdn.openflow.actions import Action

    Breathe = Callable[[], None]

_MULTIPART_HEADER: Final = 16
# Both kinds of entries begin with their length (OpenFlow 1.5.1, 7.3.5.2 and 7.3.5.7).
_LENGTH: Final = struct.Struct("!H")
_FLOW_HEAD: Final = struct.Struct(
    "!H2xBxH8xQ"
)  # length, table, priority, (timeouts, flags, importance), cookie
_GROUP_HEAD: Final = struct.Struct("!H2xI")  # length, id
_FLOWS_A_BREATH: Final = 500


def read_dump(flow_parts: Sequence[bytes], group_parts: Sequence[bytes], breathe: Breathe) -> Installed:
    """What a bridge holds, from its raw multipart replies. ``breathe`` is called between pieces of work of about 1 ms."""
    flows: list[Flow] = []
    foreign: list[ForeignFlow] = []
    foreign_targets: set[int] = set()
    for part in flow_parts:
        ours = bytearray()
        for entry in _entries(part):
            _, table, priority, cookie = _FLOW_HEAD.unpack_from(entry)
            if is_ours(cookie):
                ours += entry
                continue
            flow = _readable_flow(entry)
            text = (
                str(flow)
                if flow
                else f"cookie={cookie:#x}, table={table}, priority={priority} (not readable)"
            )
            foreign.append(ForeignFlow(table, priority, cookie, text))
            foreign_targets |= _targets(flow.actions) if flow else set()
        flows += wire.decode_flow_dump(bytes(ours))
        breathe()
    groups, foreign_groups = _read_groups(group_parts, _targets_of(flows), foreign_targets)
    return Installed(BridgeProgram(_ordered(flows, breathe), groups), tuple(foreign), foreign_groups)


def _entries(part: bytes) -> Iterator[bytes]:
    start = _MULTIPART_HEADER
    while start < len(part):
        (length,) = _LENGTH.unpack_from(part, start)
        yield part[start : start + length]
        start += length


def _readable_flow(entry: bytes) -> Flow | None:
    """None for a flow with matches or actions that we never use: only somebody else's can be one."""
    try:
        return wire.decode_flow_dump(entry)[0]
    except (ValueError, KeyError, IndexError, struct.error):
        return None


def _readable_group(entry: bytes) -> Group | None:
    try:
        return wire.decode_group_dump(entry)[0]
    except (ValueError, KeyError, IndexError, struct.error):
        return None


def _read_groups(
    parts: Iterable[bytes], our_targets: set[int], foreign_targets: set[int]
) -> tuple[tuple[Group, ...], tuple[int, ...]]:
    """Ours by id, and the ids of foreign ones: groups of a kind that we never make, or that only foreign flows lead to."""
    found = {
        _GROUP_HEAD.unpack_from(entry)[1]: _readable_group(entry)
        for part in parts
        for entry in _entries(part)
    }
    our_reach, foreign_reach = _reach(our_targets, found), _reach(foreign_targets, found)
    ours = {
        number: group
        for number, group in found.items()
        if group is not None and (number in our_reach or number not in foreign_reach)
    }
    return tuple(ours[number] for number in sorted(ours)), tuple(sorted(found.keys() - ours.keys()))


def _reach(targets: set[int], groups: dict[int, Group | None]) -> set[int]:
    """The groups that flows lead to, directly or through other groups."""
    reached: set[int] = set()
    waiting = list(targets)
    while waiting:
        number = waiting.pop()
        group = groups.get(number)
        if number in reached:
            continue
        reached.add(number)
        for bucket in group.buckets if group else ():
            waiting += _targets(bucket.actions)
    return reached


def _targets_of(flows: Iterable[Flow]) -> set[int]:
    return {number for flow in flows for number in _targets(flow.actions)}


def _targets(actions: Iterable[Action]) -> set[int]:
    return {action.group for action in actions if isinstance(action, GroupAction)}


def _ordered(flows: list[Flow], breathe: Breathe) -> tuple[Flow, ...]:
    """In the order of a BridgeProgram. Making the keys takes long, sorting by them does not."""
    keyed: list[tuple[int, int, str, int]] = []
    for index, flow in enumerate(flows):
        keyed.append((flow.table, -flow.priority, str(flow.match), index))
        if index % _FLOWS_A_BREATH == 0:
            breathe()
    keyed.sort()
    return tuple(flows[index] for *_, index in keyed)
