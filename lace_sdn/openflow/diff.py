"""The difference between what a bridge holds and what it should hold, as a value. Nothing here sends anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.openflow.flow import BridgeProgram, Flow, Group, program

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Delta:
    """What must be done, each part in canonical order. A put flow replaces the one with its key."""

    add_groups: tuple[Group, ...] = ()
    modify_groups: tuple[Group, ...] = ()
    put_flows: tuple[Flow, ...] = ()
    remove_flows: tuple[Flow, ...] = ()
    remove_groups: tuple[Group, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not len(self)

    def __len__(self) -> int:
        """How many messages it takes, without those of the bundle."""
        return (
            len(self.add_groups)
            + len(self.modify_groups)
            + len(self.put_flows)
            + len(self.remove_flows)
            + len(self.remove_groups)
        )

    def __str__(self) -> str:
        """A line each: ``+`` new, ``~`` changed, ``-`` gone."""
        return "\n".join(
            f"{sign} {value}"
            for sign, values in (
                ("+", self.add_groups),
                ("~", self.modify_groups),
                ("+", self.put_flows),
                ("-", self.remove_flows),
                ("-", self.remove_groups),
            )
            for value in values
        )


def diff(installed: BridgeProgram, desired: BridgeProgram) -> Delta:
    """The least that makes ``desired`` of ``installed``: what is equal is not touched."""
    old_groups = {group.id: group for group in installed.groups}
    new_ids = {group.id for group in desired.groups}
    old_flows = {flow.key: flow for flow in installed.flows}
    new_keys = {flow.key for flow in desired.flows}
    return Delta(
        add_groups=tuple(group for group in desired.groups if group.id not in old_groups),
        modify_groups=tuple(
            group for group in desired.groups if group.id in old_groups and old_groups[group.id] != group
        ),
        put_flows=tuple(flow for flow in desired.flows if old_flows.get(flow.key) != flow),
        remove_flows=tuple(flow for flow in installed.flows if flow.key not in new_keys),
        remove_groups=tuple(group for group in installed.groups if group.id not in new_ids),
    )


def apply(installed: BridgeProgram, delta: Delta) -> BridgeProgram:
    """What a switch that held ``installed`` holds after ``delta``. Raises ValueError if the delta is not for it."""
    flows = {flow.key: flow for flow in installed.flows}
    groups = {group.id: group for group in installed.groups}
    _expect(delta.add_groups, groups, is_there=False)
    _expect(delta.modify_groups, groups, is_there=True)
    _expect(delta.remove_groups, groups, is_there=True)
    for flow in delta.remove_flows:
        if flows.pop(flow.key, None) is None:
            raise ValueError(f"the delta removes a flow that is not installed: {flow}")
    flows.update((flow.key, flow) for flow in delta.put_flows)
    groups.update((group.id, group) for group in (*delta.add_groups, *delta.modify_groups))
    for group in delta.remove_groups:
        del groups[group.id]
    return program(flows.values(), groups.values())


def _expect(wanted: Iterable[Group], groups: dict[int, Group], *, is_there: bool) -> None:
    for group in wanted:
        if (group.id in groups) is not is_there:
            state = "is not installed" if is_there else "is installed already"
            raise ValueError(f"the delta does not fit: group {group.id} {state}")
