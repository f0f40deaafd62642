"""A bridge in memory, stricter than a real one: what it takes, Open vSwitch takes too. For tests and dry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from lace_sdn.openflow.flow import BridgeProgram, Group, Meter, program
from lace_sdn.switch.contract import (
    BundleRefused,
    ForeignFlow,
    Installed,
    Refusal,
    SwitchLost,
    is_learned,
)
from lace_sdn.switch.strictness import faults

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.flow import Flow, FlowKey
    from lace_sdn.openflow.wire import ConnectionFilter, Metered

_Numbered = TypeVar("_Numbered", Group, Meter)


class FakeBridge:
    """A ProgrammableBridge that holds its flows in two dicts.

    Refused, where a real one says nothing: overlapping flows of one priority with different actions, undeclared tables,
    flows to remove that are not there, keys put twice, cookies that are not ours, flows in the place of foreign ones.
    """

    def __init__(
        self, datapath_id: int, tables: Collection[int], foreign_flows: tuple[Flow, ...] = ()
    ) -> None:
        """``tables``: the numbers that flows may be in and lead to; ``foreign_flows``: there from the start, not ours or learned."""
        self.datapath_id = datapath_id
        self.address = ""
        self.is_connected = True
        self.commits: list[Delta] = []
        """Every change that was applied, in order; empty ones are none."""
        self.flushed_zones: list[int] = []
        self.flushed_connections: list[ConnectionFilter] = []
        self._tables = frozenset(tables)
        self._foreign = {flow.key: flow for flow in foreign_flows}
        self._flows: dict[FlowKey, Flow] = {}
        self._groups: dict[int, Group] = {}
        self._meters: dict[int, Meter] = {}
        self.counted: dict[int, Metered] = {}
        """What the meters are to have counted."""

    @property
    def program(self) -> BridgeProgram:
        """What is installed."""
        return program(self._flows.values(), self._groups.values(), self._meters.values())

    def disconnect(self) -> None:
        """From now on every call raises SwitchLost; what is installed stays."""
        self.is_connected = False

    def reconnect(self, *, emptied: bool = False) -> None:
        """The switch is back: with its flows, or ``emptied`` as after a restart."""
        self.is_connected = True
        if emptied:
            self._flows, self._groups, self._meters = {}, {}, {}

    def dump(self) -> Installed:
        """Raises SwitchLost."""
        self._check_connection()
        foreign = tuple(
            ForeignFlow(each.table, each.priority, each.cookie, str(each))
            for each in self._foreign.values()
            if not is_learned(each.cookie)
        )
        return Installed(self.program, foreign)

    def commit(self, delta: Delta) -> None:
        """All of ``delta`` or nothing; an empty one leaves no trace. Raises BundleRefused, SwitchLost."""
        if delta.is_empty:
            return
        self._check_connection()
        groups, flows, meters = dict(self._groups), dict(self._flows), dict(self._meters)
        refusals = [
            *_put(groups, delta.add_groups, delta.modify_groups),
            *_put(meters, delta.add_meters, delta.modify_meters),
            *self._change_flows(flows, delta),
            *_remove(groups, delta.remove_groups),
            *_remove(meters, delta.remove_meters),
        ]
        if not refusals:
            changed = program(flows.values(), groups.values(), meters.values())
            refusals = list(faults(changed, self._tables))
        if refusals:
            raise BundleRefused(f"{self.datapath_id:016x}", tuple(refusals))
        self._groups, self._flows, self._meters = groups, flows, meters
        self.commits.append(delta)

    def metered(self) -> Mapping[int, Metered]:
        """Raises SwitchLost."""
        self._check_connection()
        return dict(self.counted)

    def flush_zone(self, zone: int) -> None:
        """Raises SwitchLost, ValueError for what is no zone."""
        self._check_connection()
        if not 0 <= zone <= 0xFFFF:
            raise ValueError(f"conntrack zone {zone} is not in 0..65535")
        self.flushed_zones.append(zone)

    def flush_connections(self, which: Sequence[ConnectionFilter]) -> None:
        """Raises SwitchLost."""
        self._check_connection()
        self.flushed_connections.extend(which)

    def _check_connection(self) -> None:
        if not self.is_connected:
            raise SwitchLost(f"bridge {self.datapath_id:016x} is not connected")

    def _change_flows(self, flows: dict[FlowKey, Flow], delta: Delta) -> Iterator[Refusal]:
        for flow in delta.remove_flows:
            if flows.pop(flow.key, None) is None:
                yield Refusal(str(flow), flow.owner, "is to be removed and is not there")
        put: set[FlowKey] = set()
        for flow in delta.put_flows:
            if flow.key in put:
                yield Refusal(str(flow), flow.owner, "is put twice")
            if flow.key in self._foreign:
                yield Refusal(
                    str(flow), flow.owner, f"would replace a foreign flow, {str(self._foreign[flow.key])!r}"
                )
            put.add(flow.key)
            flows[flow.key] = flow


def _put(
    held: dict[int, _Numbered], added: Iterable[_Numbered], modified: Iterable[_Numbered]
) -> Iterator[Refusal]:
    for each in added:
        if each.id in held:
            yield Refusal(str(each), each.owner, "it exists already")
        held[each.id] = each
    for each in modified:
        if each.id not in held:
            yield Refusal(str(each), each.owner, "there is none to change")
        held[each.id] = each


def _remove(held: dict[int, _Numbered], removed: Iterable[_Numbered]) -> Iterator[Refusal]:
    for each in removed:
        if held.pop(each.id, None) is None:
            yield Refusal(str(each), each.owner, "is to be removed and is not there")
