"""Raw replies of a dump, told apart into what is ours and what is foreign. Pure, but for the breath its caller gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow import wire
from lace_sdn.openflow.actions import GroupAction
from lace_sdn.openflow.flow import BridgeProgram, Flow, Group, Meter
from lace_sdn.pipeline.limits import LAST_METER
from lace_sdn.switch.contract import ForeignFlow, Installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lace_sdn.openflow.actions import Action

    Breathe = Callable[[], None]

_MULTIPART_HEADER: Final = 16
_FLOWS_A_BREATH: Final = 500


@dataclass(frozen=True, slots=True)
class RawDump:
    """The multipart replies to the requests, each with its header. ``others``: flows of somebody else, once or more often."""

    flows: Sequence[bytes]
    others: Sequence[bytes]
    groups: Sequence[bytes]
    meters: Sequence[bytes]


def read_dump(raw: RawDump, breathe: Breathe) -> tuple[Installed, tuple[wire.Foreign, ...]]:
    """What a bridge holds, and flows with our cookie that we cannot read.

    The latter are of another version of this program. ``breathe`` is called between pieces of work of a few ms.
    """
    ours, unreadable = _read_flows(raw.flows, breathe)
    others, strange = _read_flows(raw.others, breathe)
    others = list(dict.fromkeys(others))
    described = (
        *(ForeignFlow(each.table, each.priority, each.cookie, str(each)) for each in others),
        *map(_describe, strange),
    )
    foreign = tuple(dict.fromkeys(described))
    groups, foreign_groups = _read_groups(raw.groups, _targets_of(ours), _targets_of(others))
    program = BridgeProgram(_ordered(ours, breathe), groups, _read_meters(raw.meters))
    return Installed(program, foreign, foreign_groups), tuple(unreadable)


def _read_flows(parts: Iterable[bytes], breathe: Breathe) -> tuple[list[Flow], list[wire.Foreign]]:
    flows: list[Flow] = []
    unreadable: list[wire.Foreign] = []
    for part in parts:
        found, rest = wire.read_flow_dump(part[_MULTIPART_HEADER:])
        flows += found
        unreadable += rest
        breathe()
    return flows, unreadable


def _describe(each: wire.Foreign) -> ForeignFlow:
    text = f"cookie={each.cookie:#x}, table={each.table}, priority={each.priority} (uses what this program cannot read)"
    return ForeignFlow(each.table, each.priority, each.cookie, text)


def _read_groups(
    parts: Iterable[bytes], our_targets: set[int], foreign_targets: set[int]
) -> tuple[tuple[Group, ...], tuple[int, ...]]:
    """Ours by id, and the ids of foreign ones: groups of a kind that we never make, or that only foreign flows lead to."""
    found: dict[int, Group] = {}
    foreign: set[int] = set()
    for part in parts:
        groups, unreadable = wire.read_group_dump(part[_MULTIPART_HEADER:])
        found |= {group.id: group for group in groups}
        foreign |= set(unreadable)
    foreign |= (_reach(foreign_targets, found) - _reach(our_targets, found)) & found.keys()
    return tuple(found[number] for number in sorted(found.keys() - foreign)), tuple(sorted(foreign))


def _read_meters(parts: Iterable[bytes]) -> tuple[Meter, ...]:
    """Ours by id. A meter has no cookie: those with our numbers are ours, whatever is in them."""
    found = [meter for part in parts for meter in wire.read_meter_dump(part[_MULTIPART_HEADER:])]
    return tuple(sorted((each for each in found if each.id <= LAST_METER), key=lambda each: each.id))


def _reach(targets: set[int], groups: dict[int, Group]) -> set[int]:
    """The groups that flows lead to, directly or through other groups."""
    reached: set[int] = set()
    waiting = list(targets)
    while waiting:
        number = waiting.pop()
        if number in reached:
            continue
        reached.add(number)
        group = groups.get(number)
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


def read_metered(parts: Iterable[bytes]) -> dict[int, wire.Metered]:
    """What each meter of ours has counted, by its number, from the raw replies."""
    found: dict[int, wire.Metered] = {}
    for part in parts:
        found |= wire.read_meter_stats(part[_MULTIPART_HEADER:])
    return {number: counted for number, counted in found.items() if number <= LAST_METER}
