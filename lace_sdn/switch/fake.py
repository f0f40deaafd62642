"""A bridge in memory, stricter than a real one: what it takes, Open vSwitch takes too. For tests and dry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.openflow.flow import BridgeProgram, program
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
    from collections.abc import Collection, Iterator, Sequence

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.flow import Flow, FlowKey, Group
    from lace_sdn.openflow.wire import ConnectionFilter


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
        self.is_connected = True
        self.commits: list[Delta] = []
        """Every change that was applied, in order; empty ones are none."""
        self.flushed_zones: list[int] = []
        self.flushed_connections: list[ConnectionFilter] = []
        self._tables = frozenset(tables)
        self._foreign = {flow.key: flow for flow in foreign_flows}
        self._flows: dict[FlowKey, Flow] = {}
        self._groups: dict[int, Group] = {}

    @property
    def program(self) -> BridgeProgram:
        """What is installed."""
        return program(self._flows.values(), self._groups.values())

    def disconnect(self) -> None:
        """From now on every call raises SwitchLost; what is installed stays."""
        self.is_connected = False

    def reconnect(self, *, emptied: bool = False) -> None:
        """The switch is back: with its flows, or ``emptied`` as after a restart."""
        self.is_connected = True
        if emptied:
            self._flows, self._groups = {}, {}

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
        groups, flows = dict(self._groups), dict(self._flows)
        refusals = [
            *self._put_groups(groups, delta),
            *self._change_flows(flows, delta),
            *self._remove_groups(groups, delta),
            *faults(flows.values(), groups.values(), self._tables),
        ]
        if refusals:
            raise BundleRefused(f"{self.datapath_id:016x}", tuple(refusals))
        self._groups, self._flows = groups, flows
        self.commits.append(delta)

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

    @staticmethod
    def _put_groups(groups: dict[int, Group], delta: Delta) -> Iterator[Refusal]:
        for group in delta.add_groups:
            if group.id in groups:
                yield Refusal(str(group), group.owner, "the group exists already")
            groups[group.id] = group
        for group in delta.modify_groups:
            if group.id not in groups:
                yield Refusal(str(group), group.owner, "there is no such group")
            groups[group.id] = group

    @staticmethod
    def _remove_groups(groups: dict[int, Group], delta: Delta) -> Iterator[Refusal]:
        for group in delta.remove_groups:
            if groups.pop(group.id, None) is None:
                yield Refusal(str(group), group.owner, "is to be removed and is not there")

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
