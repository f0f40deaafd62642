"""One bridge and one packet: tables, actions, recirculation (ovs-actions(7); ofproto/ofproto-dpif-xlate.c)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from lace_sdn.openflow.actions import (
    Action,
    CheckPktLarger,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    Goto,
    GroupAction,
    InPort,
    Learn,
    MeterAction,
    Move,
    Output,
    OutputTo,
    Pop,
    Push,
    Resubmit,
    SetField,
)
from lace_sdn.openflow.fields import (
    CT_LABEL,
    CT_MARK,
    CT_STATE,
    CT_ZONE,
    IN_PORT,
    TCP_FLAGS,
    VLAN,
    IpProto,
    Port,
    Slice,
    State,
    Term,
)
from lace_sdn.openflow.flow import Flow
from lace_sdn.openflow.match import Match
from lace_sdn.openflow.simulator.conntrack import Request, SimulationError, Tracker
from lace_sdn.openflow.simulator.frames import PIPELINE_FIELDS, repacked, sighting, translated
from lace_sdn.openflow.simulator.strays import Fragment, Held, Lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lace_sdn.openflow.actions import Actions
    from lace_sdn.openflow.fields import Field
    from lace_sdn.openflow.flow import Bucket, FlowKey, Group
    from lace_sdn.openflow.simulator.conntrack import Conntrack, Key, Outcome, Sighting, Tuple
    from lace_sdn.openflow.simulator.packet import Packet
    from lace_sdn.openflow.simulator.table_index import TableIndex

    Chooser = Callable[[Group, Packet], Bucket]

MAX_DEPTH: Final = 64
"""Open vSwitch's own limit of nested resubmits (MAX_DEPTH)."""

CT_FIELDS: Final = (CT_STATE, CT_ZONE, CT_MARK, CT_LABEL)


class Step(NamedTuple):
    """One lookup; ``flow`` None: table miss, the packet ends there."""

    table: int
    flow: Flow | None


class Emission(NamedTuple):
    """A packet that left by ``port``; ``tunnel``: the tunnel fields it carried."""

    port: int
    packet: Packet
    tunnel: Mapping[Field, int]


@dataclass
class Fragments:
    """What conntrack holds of other packets while this one, the ``number``-th of its fabric, is on its way.

    ``is_beside``: it came out of a ``ct`` beside another, and lets nothing go itself. ``astray``: what left so, and whose it was.
    """

    number: int = 0
    held: Held = field(default_factory=Held)
    is_beside: bool = False
    astray: list[tuple[int, Emission]] = field(default_factory=list)


@dataclass(frozen=True)
class Bridge:
    """What a packet meets. ``choose`` picks the bucket of a select group; ``learned``: flows that flows have made; ``meters``: numbers."""

    flows: TableIndex
    groups: Mapping[int, Group]
    choose: Chooser
    learned: Mapping[FlowKey, Flow] = field(default_factory=dict)
    fragments: Fragments = field(default_factory=Fragments)
    meters: frozenset[int] = frozenset()

    def find(self, table: int, fields: Mapping[Field, int]) -> Flow | None:
        """The flow of ``table`` that a packet with these fields hits; None: table miss."""
        best = self.flows.find(table, fields)
        for flow in self.learned.values():
            if flow.table == table and (best is None or flow.priority > best.priority):
                hits = (fields.get(each.field) == each.value for each in flow.match.terms)
                best = flow if all(hits) else best
        return best


@dataclass
class Run:
    """What came of a packet: what left, the trace of its lookups, the connections after it."""

    bridge: Bridge
    conntrack: Conntrack
    emissions: list[Emission] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    learned: dict[FlowKey, Flow] = field(default_factory=dict)


@dataclass
class _State:
    """A packet on its way: its fields, the stack, and what datapath metadata a recirculation keeps.

    ``carried``: zone and tuple of its last lookup, translated as that zone did.
    """

    packet: Packet
    fields: dict[Field, int]
    stack: list[int] = field(default_factory=list)
    tracked: int = 0
    entry: Key | None = None
    carried: tuple[int, Tuple | None] | None = None

    def copy(self) -> _State:
        return replace(self, fields=dict(self.fields), stack=list(self.stack))

    def lookup(self) -> Lookup:
        return Lookup({each: self.fields[each] for each in CT_FIELDS}, self.tracked, self.entry, self.carried)

    def beside(self, fragment: Fragment) -> _State:
        """The state of a fragment that goes on by this one's registers."""
        fields = {
            each: value
            for each, value in self.fields.items()
            if each not in self.packet.headers and each is not TCP_FLAGS
        }
        lookup = fragment.lookup
        fields.update({**fragment.packet.headers, **lookup.fields})
        return _State(fragment.packet, fields, list(self.stack), lookup.tracked, lookup.entry, lookup.carried)

    def untrack(self) -> None:
        self.tracked, self.entry, self.carried = 0, None, None
        self.fields.update(dict.fromkeys(CT_FIELDS, 0))

    def read(self, source: Slice) -> int:
        return (self.fields.get(source.field, 0) & source.mask) >> source.low

    def write(self, target: Slice, value: int) -> None:
        old = self.fields.get(target.field, 0)
        self.fields[target.field] = (old & ~target.mask) | (value << target.low & target.mask)


def run(
    bridge: Bridge,
    conntrack: Conntrack,
    in_port: int,
    packet: Packet,
    tunnel: Mapping[Field, int],
) -> Run:
    """``packet`` comes in by ``in_port``, with these tunnel fields if that is a tunnel.

    Raises SimulationError for a program that a switch would not run.
    """
    result = Run(bridge, conntrack)
    fields = {**dict.fromkeys(PIPELINE_FIELDS, 0), VLAN: 0, **packet.headers, **tunnel, IN_PORT: in_port}
    if packet.protocol == IpProto.TCP:
        fields[TCP_FLAGS] = packet.tcp_flags
    _table(result, _State(packet, fields), 0, 0)
    return result


def _table(result: Run, state: _State, table: int, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise SimulationError(f"resubmits nest deeper than {MAX_DEPTH}: last table {table}")
    flow = result.bridge.find(table, state.fields)
    result.steps.append(Step(table, flow))
    if flow is not None:
        _actions(result, state, flow.actions, depth)


def _actions(result: Run, state: _State, actions: Actions, depth: int) -> None:
    for action in actions:
        if isinstance(action, DecTtl):
            if not _decrement_ttl(state):
                return
        elif isinstance(action, SetField | Move | Push | Pop | CheckPktLarger):
            _modify(state, action)
        elif isinstance(action, CtClear):
            state.untrack()
        else:
            _forward(result, state, action, depth)


def _modify(state: _State, action: SetField | Move | Push | Pop | CheckPktLarger) -> None:
    match action:
        case SetField():
            state.fields[action.field] = _set(state, action)
        case Move():
            state.write(action.target, state.read(action.source))
        case Push():
            state.stack.append(state.read(action.source))
        case Pop() if state.stack:
            state.write(action.target, state.stack.pop())
        case CheckPktLarger():
            state.write(action.target, state.packet.size > action.size)


def _forward(result: Run, state: _State, action: Action, depth: int) -> None:
    match action:
        case Resubmit(table) | Goto(table):
            _table(result, state, table, depth + 1)
        case Output(port):
            _output(result, state, port)
        case OutputTo(source):
            _output(result, state, state.read(source))
        case InPort():
            _emit(result, state, state.fields[IN_PORT])
        case Controller():
            _emit(result, state, Port.CONTROLLER)
        case Learn():
            _learn(result, state, action)
        case GroupAction(number):
            _group(result, state, number, depth)
        case MeterAction(number):
            _meter(result, number)
        case Ct():
            _track(result, state, action, depth)


def _set(state: _State, action: SetField) -> int:
    return (state.fields.get(action.field, 0) & ~action.mask) | (action.value & action.mask)


def _output(result: Run, state: _State, port: int) -> None:
    """A packet does not go back by itself: only IN_PORT sends it there (OpenFlow 1.5.1 section 7.2.5.1)."""
    if port != state.fields[IN_PORT]:
        _emit(result, state, port)


def _emit(result: Run, state: _State, port: int) -> None:
    packet, tunnel = repacked(state.packet, state.fields)
    result.emissions.append(Emission(port, packet, tunnel))


def _learn(result: Run, state: _State, action: Learn) -> None:
    """The flow is there for packets that come after this one."""
    terms = (
        each if isinstance(each, Term) else Term(each.field, state.read(each) << each.low, each.mask)
        for each in action.matches
    )
    loads = tuple(
        SetField(each.target.field, state.read(each.source) << each.target.low, each.target.mask)
        for each in action.loads
    )
    flow = Flow(action.table, action.priority, Match(*terms), loads, action.cookie)
    known = {**result.bridge.learned, **result.learned}
    alike = (each for each in known.values() if (each.table, each.cookie) == (flow.table, flow.cookie))
    if flow.key in known or not action.limit or sum(1 for _ in alike) < action.limit:
        result.learned[flow.key] = flow


def _decrement_ttl(state: _State) -> bool:
    """A TTL that would end drops the packet, or rather the rest of its actions."""
    if state.packet.protocol is None:
        return True
    if state.packet.ttl <= 1:
        return False
    state.packet = repacked(state.packet, state.fields, ttl=state.packet.ttl - 1)[0]
    return True


def _group(result: Run, state: _State, number: int, depth: int) -> None:
    """A bucket works on a copy: what it sets is gone after the group."""
    group = result.bridge.groups.get(number)
    if group is None:
        raise SimulationError(f"group {number} does not exist: a switch refuses the flow")
    if group.buckets:
        bucket = result.bridge.choose(group, repacked(state.packet, state.fields)[0])
        _actions(result, state.copy(), bucket.actions, depth + 1)


def _meter(result: Run, number: int) -> None:
    """Packets come one by one here: a meter has room for each."""
    if number not in result.bridge.meters:
        raise SimulationError(f"meter {number} does not exist: a switch refuses the flow")


def _track(result: Run, state: _State, action: Ct, depth: int) -> None:
    """The tracked packet goes on in ``action.table`` only; for what follows here it is untracked again."""
    zone = action.zone if isinstance(action.zone, int) else state.read(action.zone)
    request = Request(zone, action.commit, action.nat, *_written(state, action), action.force)
    tracker = result.conntrack.tracker
    before = state.lookup()
    seen = sighting(state.packet, state.fields, state.tracked, state.entry, tracker)
    _expect_untouched(state, seen, zone, action)
    result.conntrack, outcome = result.conntrack.track(seen, request)
    if tracker is Tracker.USERSPACE and request.translates:
        _expect_translation(outcome, seen, action)
    if outcome.tuple is not None and seen.tuple is not None and outcome.tuple != seen.tuple:
        state.packet, changed = translated(state.packet, state.fields, seen, outcome.tuple)
        state.fields.update(changed)
    state.tracked = outcome.state
    state.entry = outcome.entry.key if outcome.entry else None
    is_kept = outcome.tuple is not None and not outcome.state & State.INV
    state.carried = (zone, outcome.tuple) if is_kept else None
    if action.table is not None:
        onward = state.copy()
        values = (outcome.state, zone, outcome.mark, outcome.label)
        onward.fields.update(zip(CT_FIELDS, values, strict=True))
        frozen = onward.copy()
        _table(result, onward, action.table, depth + 1)
        if tracker is Tracker.USERSPACE and result.bridge.fragments.held.at_once:
            _let_go(result, frozen, before, Resubmit(action.table), depth)
    state.fields.update(dict.fromkeys(CT_FIELDS, 0))


def _let_go(result: Run, frozen: _State, before: Lookup, onward: Resubmit, depth: int) -> None:
    """Fragments of others come out of the ``ct`` of this packet, and go on as it does; some of it stay for later ones.

    What they commit is not kept: each is asked alone.
    """
    fragments = result.bridge.fragments
    packet, _ = repacked(frozen.packet, frozen.fields)
    rest = Fragment(fragments.number, packet, frozen.lookup())
    if not fragments.is_beside:
        for each in fragments.held.let_go():
            beside = Fragments(each.number, fragments.held, is_beside=True)
            apart = Run(replace(result.bridge, fragments=beside), result.conntrack)
            with suppress(SimulationError):
                _forward(apart, frozen.beside(each), onward, depth)
            fragments.astray += [(each.number, emission) for emission in apart.emissions]
    fragments.held.add(rest, rest.expired(before))


def _expect_untouched(state: _State, seen: Sighting, zone: int, action: Ct) -> None:
    """The kernel looks no packet up in the zone whose connection it carries (net/openvswitch/conntrack.c, skb_nfct_cached)."""
    if state.carried is not None and state.carried[0] == zone and state.carried[1] != seen.tuple:
        raise SimulationError(
            f"{action} in zone {zone}, where the packet was looked up as {state.carried[1]} and is {seen.tuple} now:"
            " ct_clear is expected before it"
        )


def _expect_translation(outcome: Outcome, seen: Sighting, action: Ct) -> None:
    if outcome.entry and not outcome.entry.is_translated:
        raise SimulationError(
            f"{action} translates nothing of {seen.tuple}: Open vSwitch before 3.3 dies of it"
        )


def _written(state: _State, action: Ct) -> tuple[tuple[int, int], tuple[int, int]]:
    """Mark and label that ``exec`` writes, as (value, mask): read and written like any other field."""
    scratch = state.copy()
    masks = {CT_MARK: 0, CT_LABEL: 0}
    for each in action.execute:
        target = each.target if isinstance(each, Move) else Slice(each.field, 0, each.field.bits)
        masks[target.field] |= each.mask if isinstance(each, SetField) else target.mask
        value = scratch.read(each.source) if isinstance(each, Move) else _set(scratch, each)
        scratch.write(target, value)
    return (
        (scratch.fields[CT_MARK], masks[CT_MARK]),
        (scratch.fields[CT_LABEL], masks[CT_LABEL]),
    )
