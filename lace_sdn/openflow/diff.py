"""The difference between what a bridge holds and what it should hold, as a value. Nothing here sends anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lace_sdn.openflow.flow import BridgeProgram, Flow, Group, Meter, program

if TYPE_CHECKING:
    from collections.abc import Iterable

_Numbered = TypeVar("_Numbered", Group, Meter)


@dataclass(frozen=True, slots=True)
class Delta:
    """What must be done, each part in canonical order. A put flow replaces the one with its key."""

    add_groups: tuple[Group, ...] = ()
    modify_groups: tuple[Group, ...] = ()
    put_flows: tuple[Flow, ...] = ()
    remove_flows: tuple[Flow, ...] = ()
    remove_groups: tuple[Group, ...] = ()
    add_meters: tuple[Meter, ...] = ()
    modify_meters: tuple[Meter, ...] = ()
    remove_meters: tuple[Meter, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not len(self)

    @property
    def bundled(self) -> int:
        """How many messages a bundle takes, without its own; meters cannot be in one (OpenFlow 1.5.1 section 7.3.9.6)."""
        return (
            len(self.add_groups)
            + len(self.modify_groups)
            + len(self.put_flows)
            + len(self.remove_flows)
            + len(self.remove_groups)
        )

    def __len__(self) -> int:
        """How many flows, groups and meters change."""
        return self.bundled + len(self.add_meters) + len(self.modify_meters) + len(self.remove_meters)

    def __str__(self) -> str:
        """A line each: ``+`` new, ``~`` changed, ``-`` gone."""
        return "\n".join(
            f"{sign} {value}"
            for sign, values in (
                ("+", self.add_meters),
                ("~", self.modify_meters),
                ("+", self.add_groups),
                ("~", self.modify_groups),
                ("+", self.put_flows),
                ("-", self.remove_flows),
                ("-", self.remove_groups),
                ("-", self.remove_meters),
            )
            for value in values
        )


def diff(installed: BridgeProgram, desired: BridgeProgram) -> Delta:
    """The least that makes ``desired`` of ``installed``: what is equal is not touched."""
    old_flows = {flow.key: flow for flow in installed.flows}
    new_keys = {flow.key for flow in desired.flows}
    add_groups, modify_groups, remove_groups = _numbered(installed.groups, desired.groups)
    add_meters, modify_meters, remove_meters = _numbered(installed.meters, desired.meters)
    return Delta(
        add_groups=add_groups,
        modify_groups=modify_groups,
        put_flows=tuple(flow for flow in desired.flows if old_flows.get(flow.key) != flow),
        remove_flows=tuple(flow for flow in installed.flows if flow.key not in new_keys),
        remove_groups=remove_groups,
        add_meters=add_meters,
        modify_meters=modify_meters,
        remove_meters=remove_meters,
    )


def _numbered(
    installed: tuple[_Numbered, ...], desired: tuple[_Numbered, ...]
) -> tuple[tuple[_Numbered, ...], tuple[_Numbered, ...], tuple[_Numbered, ...]]:
    """Those that are new, that are there and differ, that go."""
    old = {each.id: each for each in installed}
    new_ids = {each.id for each in desired}
    return (
        tuple(each for each in desired if each.id not in old),
        tuple(each for each in desired if each.id in old and old[each.id] != each),
        tuple(each for each in installed if each.id not in new_ids),
    )


def apply(installed: BridgeProgram, delta: Delta) -> BridgeProgram:
    """What a switch that held ``installed`` holds after ``delta``. Raises ValueError if the delta is not for it."""
    flows = {flow.key: flow for flow in installed.flows}
    for flow in delta.remove_flows:
        if flows.pop(flow.key, None) is None:
            raise ValueError(f"the delta removes a flow that is not installed: {flow}")
    flows.update((flow.key, flow) for flow in delta.put_flows)
    groups = _changed("group", installed.groups, (delta.add_groups, delta.modify_groups, delta.remove_groups))
    meters = _changed("meter", installed.meters, (delta.add_meters, delta.modify_meters, delta.remove_meters))
    return program(flows.values(), groups, meters)


def _changed(
    kind: str, installed: Iterable[_Numbered], change: tuple[tuple[_Numbered, ...], ...]
) -> Iterable[_Numbered]:
    """``change``: those that are added, modified, removed."""
    held: dict[int, _Numbered] = {each.id: each for each in installed}
    added, modified, removed = change
    for wanted, is_there in zip(change, (False, True, True), strict=True):
        for each in wanted:
            if (each.id in held) is not is_there:
                state = "is not installed" if is_there else "is installed already"
                raise ValueError(f"the delta does not fit: {kind} {each.id} {state}")
    gone = {each.id for each in removed}
    held.update({each.id: each for each in added + modified})
    return [each for each in held.values() if each.id not in gone]
