"""What a switch would accept in silence, or refuse: overlaps, jumps to nowhere, missing groups, flows nothing can hit."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Ct, DecTtl, Goto, GroupAction, Learn, MeterAction, Resubmit
from lace_sdn.openflow.fields import ETH_TYPE, EthType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.flow import BridgeProgram, Flow, Group
    from lace_sdn.openflow.match import Match


def defects(program: BridgeProgram, tables: Mapping[int, Iterable[int]]) -> tuple[str, ...]:
    """A sentence a defect, none for a sound program. ``tables``: each declared table -> where its flows may go on."""
    return (
        *_jumps(program, {number: frozenset(targets) for number, targets in tables.items()}),
        *_missing_groups(program),
        *_missing_meters(program),
        *_overlaps(program.flows),
        *_hidden(program.flows),
        *_refused(program.flows),
    )


def unreached(program: BridgeProgram) -> tuple[Flow, ...]:
    """Flows of tables that no flow leads to, from table 0 on."""
    behind = _behind_groups(program)
    leads: dict[int, set[int]] = defaultdict(set)
    for flow in program.flows:
        leads[flow.table].update(_onward(flow, behind))
    reached, waiting = {0}, [0]
    while waiting:
        new = leads[waiting.pop()] - reached
        reached |= new
        waiting.extend(new)
    return tuple(flow for flow in program.flows if flow.table not in reached)


def _behind_groups(program: BridgeProgram) -> Mapping[int, frozenset[int]]:
    """Group -> the tables that its buckets lead to, directly or through other groups."""
    groups = {group.id: group for group in program.groups}
    found: dict[int, frozenset[int]] = {}

    def behind(number: int, above: frozenset[int]) -> frozenset[int]:
        if number in above or number not in groups:
            return frozenset()
        if number not in found:
            tables: set[int] = set()
            for bucket in groups[number].buckets:
                tables |= set(targets(bucket.actions))
                for inner in groups_of(bucket.actions):
                    tables |= behind(inner, above | {number})
            found[number] = frozenset(tables)
        return found[number]

    for number in groups:
        behind(number, frozenset())
    return found


def groups_of(actions: Iterable[Action]) -> Iterator[int]:
    """The groups that a packet is given to."""
    return (action.group for action in actions if isinstance(action, GroupAction))


def _onward(flow: Flow, behind: Mapping[int, frozenset[int]]) -> Iterator[int]:
    """Where a packet of a flow goes on, also through its groups."""
    yield from targets(flow.actions)
    for number in groups_of(flow.actions):
        yield from behind.get(number, ())


def targets(actions: Iterable[Action]) -> Iterator[int]:
    """The tables where a packet goes on."""
    for action in actions:
        if isinstance(action, Goto | Resubmit | Ct):
            target = action.table
            if target is not None:
                yield target


def _jumps(program: BridgeProgram, tables: Mapping[int, frozenset[int]]) -> Iterator[str]:
    behind = _behind_groups(program)
    for flow in program.flows:
        if flow.table not in tables:
            yield f"table {flow.table} is not declared: {flow}"
            continue
        yield from (
            f"table {each.table} is not declared: {flow}"
            for each in flow.actions
            if isinstance(each, Learn) and each.table not in tables
        )
        for target in _onward(flow, behind):
            if target not in tables:
                yield f"table {target} is not declared: {flow}"
            elif target <= flow.table:
                yield f"jump back to table {target}: {flow}"
            elif target not in tables[flow.table]:
                yield f"table {flow.table} does not declare that it goes to table {target}: {flow}"
        if any(isinstance(action, Goto) for action in flow.actions[:-1]):
            yield f"goto_table is not the last action: {flow}"


def _missing_groups(program: BridgeProgram) -> Iterator[str]:
    known = {group.id: group for group in program.groups}
    for flow in program.flows:
        for number in groups_of(flow.actions):
            if number not in known:
                yield f"group {number} does not exist: {flow}"
    for group in program.groups:
        for bucket in group.buckets:
            for number in groups_of(bucket.actions):
                if number not in known:
                    yield f"group {number} does not exist: {group}"
                elif _are_alike(group, known[number]):
                    yield f"groups {group.id} and {number} behind it hash alike: most of its buckets are never chosen"


def _missing_meters(program: BridgeProgram) -> Iterator[str]:
    known = {meter.id for meter in program.meters}
    for flow in program.flows:
        for action in flow.actions:
            if isinstance(action, MeterAction) and action.meter not in known:
                yield f"meter {action.meter} does not exist: {flow}"


def _are_alike(outer: Group, inner: Group) -> bool:
    return (outer.hash_fields, outer.hash_param) == (inner.hash_fields, inner.hash_param)


def _by_priority(flows: Iterable[Flow]) -> Iterable[list[Flow]]:
    alike: dict[tuple[int, int], list[Flow]] = defaultdict(list)
    for flow in flows:
        alike[flow.table, flow.priority].append(flow)
    return alike.values()


def _overlaps(flows: Iterable[Flow]) -> Iterator[str]:
    for alike in _by_priority(flows):
        for one, other in combinations(alike, 2):
            if one.actions != other.actions and one.match.overlaps(other.match):
                yield f"a packet may hit both, and which is undefined: {one} | {other}"


def covers(wide: Match, narrow: Match) -> bool:
    """Whether every packet of ``narrow`` is one of ``wide``."""
    for term in wide.terms:
        own = narrow.get(term.field)
        if own is None or term.mask & ~own.mask or (own.value ^ term.value) & term.mask:
            return False
    return True


def _hidden(flows: tuple[Flow, ...]) -> Iterator[str]:
    """Flows behind a single flow of higher priority that takes all their packets."""
    by_table: dict[int, list[Flow]] = defaultdict(list)
    for flow in flows:
        by_table[flow.table].append(flow)
    for held in by_table.values():
        for flow in held:
            above = (
                each for each in held if each.priority > flow.priority and covers(each.match, flow.match)
            )
            if (hiding := next(above, None)) is not None:
                yield f"never hit: {flow} is behind {hiding}"


def _refused(flows: Iterable[Flow]) -> Iterator[str]:
    """Actions on IP packets that the match does not ask for (ovs-fields(7), prerequisites; OpenFlow 1.5.1 section 7.5.4.3)."""
    for flow in flows:
        needs = any(
            isinstance(each, DecTtl) or (isinstance(each, Ct) and each.nat is not None)
            for each in flow.actions
        )
        kind = flow.match.get(ETH_TYPE)
        if needs and (kind is None or kind.value not in (EthType.IPV4, EthType.IPV6)):
            yield f"refused by a switch, it is not about IP packets alone: {flow}"
