"""Flows, groups and the program of a bridge: what should be, or is, installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import Actions, format_actions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.openflow.match import Match

FlowKey = tuple[int, int, "Match"]

COOKIE_OWNER = 0x1ACE
"""The upper 16 bits of every cookie of ours; flows with others belong to somebody else and are left alone."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow. ``owner`` names the objects behind it, for humans; it is no part of the flow's value."""

    table: int
    priority: int
    match: Match
    actions: Actions
    cookie: int = 0
    owner: str = field(default="", compare=False)

    @property
    def key(self) -> FlowKey:
        """What identifies a flow in a switch (OpenFlow 1.5.1 section 6.4)."""
        return (self.table, self.priority, self.match)

    def __str__(self) -> str:
        """A line that ``ovs-ofctl add-flows`` takes and ``dump-flows --no-stats --no-names`` shows."""
        parts = [f"cookie={self.cookie:#x}"] if self.cookie else []
        if self.table:
            parts.append(f"table={self.table}")
        head = ", ".join(parts)
        match = ",".join(filter(None, (f"priority={self.priority}" * (self.priority != 0x8000), str(self.match))))
        return " ".join(filter(None, (", ".join(filter(None, (head, match))), f"actions={format_actions(self.actions)}")))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a select group. ``id`` stays that of its endpoint as long as that lives; weight 1..65535."""

    id: int
    actions: Actions
    weight: int = 100

    def __str__(self) -> str:
        return f"bucket=bucket_id:{self.id},weight:{self.weight},actions={format_actions(self.actions)}"


@dataclass(frozen=True, slots=True)
class Group:
    """A select group. ``hash_fields``: names of the fields hashed (selection method hash); () = dp_hash."""

    id: int
    buckets: tuple[Bucket, ...]
    hash_fields: tuple[str, ...] = ()
    owner: str = field(default="", compare=False)

    def __str__(self) -> str:
        method = f"hash,fields({','.join(self.hash_fields)})" if self.hash_fields else "dp_hash"
        return f"group_id={self.id},type=select,selection_method={method}," + ",".join(map(str, self.buckets))


@dataclass(frozen=True, slots=True)
class BridgeProgram:
    """All that a bridge should hold; keys are unique and both tuples sorted (flows by table, priority down, text)."""

    flows: tuple[Flow, ...] = ()
    groups: tuple[Group, ...] = ()


def program(flows: Iterable[Flow], groups: Iterable[Group] = ()) -> BridgeProgram:
    """Flows and groups in canonical order. Raises ValueError when two flows have one key, or two groups one id."""
    by_key: dict[FlowKey, Flow] = {}
    for flow in flows:
        other = by_key.setdefault(flow.key, flow)
        if other is not flow:
            raise ValueError(f"two flows with one key: {flow} ({flow.owner}) and {other} ({other.owner})")
    by_id: dict[int, Group] = {}
    for group in groups:
        if by_id.setdefault(group.id, group) is not group:
            raise ValueError(f"two groups numbered {group.id}: {group.owner} and {by_id[group.id].owner}")
    ordered = sorted(by_key.values(), key=lambda flow: (flow.table, -flow.priority, str(flow.match)))
    return BridgeProgram(tuple(ordered), tuple(by_id[number] for number in sorted(by_id)))
