"""Flows, groups and the program of a bridge: what should be, or is, installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.openflow.actions import SET_NAMES, Actions, format_actions
from lace_sdn.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    FIELD_BY_NAME,
    FIELDS,
    IN_PORT,
    IP_PROTO,
    METADATA,
    TCP_FLAGS,
    TCP_SRC,
    TUN_DST,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    VLAN,
    Field,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.openflow.match import Match

# The order of meta-flow.h, in which a switch lists the fields of a group, where it is not that of FIELDS.
_HASH_FIRST = (TUN_ID, TUN_SRC, TUN_DST, TUN_IPV6_SRC, TUN_IPV6_DST, METADATA, IN_PORT)
_HASH_LAST = (IP_PROTO, ARP_OP, ARP_SPA, ARP_TPA, ARP_SHA, ARP_THA)
_TRANSPORT = tuple(each for each in FIELDS[FIELDS.index(TCP_SRC) :] if each is not TCP_FLAGS)
# Tags are never hashed: pods have none; flags of TCP neither, they are no part of who talks to whom.
HASH_ORDER: tuple[Field, ...] = (
    *_HASH_FIRST,
    *(each for each in FIELDS if each not in (*_HASH_FIRST, VLAN, TCP_FLAGS, *_HASH_LAST, *_TRANSPORT)),
    *_HASH_LAST,
    *_TRANSPORT,
)
HASH_NAMES: dict[Field, str] = {
    **{each: SET_NAMES.get(each, each.name) for each in HASH_ORDER},
    IN_PORT: "in_port_oxm",
}
"""In a group, dumps name the port of 32 bits apart from that of 16."""
HASH_FIELD_BY_NAME = {name: each for each, name in HASH_NAMES.items()}


def canonical_hash_fields(names: Iterable[str]) -> tuple[str, ...]:
    """Names as dumps write them, without repetition, in their order. Raises ValueError for a name that is no field's."""
    fields = set()
    for name in names:
        field_ = HASH_FIELD_BY_NAME.get(name) or FIELD_BY_NAME.get(name)
        if field_ is None:
            raise ValueError(
                f"{name!r} is no field to hash; one of {', '.join(HASH_FIELD_BY_NAME)} is expected"
            )
        fields.add(field_)
    return tuple(HASH_NAMES[each] for each in HASH_ORDER if each in fields)


FlowKey = tuple[int, int, "Match"]

COOKIE_OWNER = 0x1ACE
"""The upper 16 bits of every cookie of ours; flows with others belong to somebody else and are left alone."""
LEARNED_CATEGORY = 0x80
"""The 8 bits below them, of flows that the switch learned by a flow of ours: no part of any program.

No other category has the highest bit: a dump asks for ours without it, and the learned ones stay where they are.
"""


DEFAULT_PRIORITY = 0x8000
"""The priority that dumps do not show."""


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
        head = f"cookie={self.cookie:#x}, " if self.cookie else ""
        if self.table:
            head += f"table={self.table}, "
        match = str(self.match)
        if self.priority != DEFAULT_PRIORITY:
            match = f"priority={self.priority},{match}" if match else f"priority={self.priority}"
        return f"{head}{match}{' ' * bool(match)}actions={format_actions(self.actions)}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a select group. ``id`` stays that of its endpoint as long as that lives; weight 0..65535."""

    id: int
    actions: Actions
    weight: int = 100

    def __str__(self) -> str:
        weight = f"weight:{self.weight}," if self.weight != 1 else ""
        return f"bucket=bucket_id:{self.id},{weight}actions={format_actions(self.actions)}"


@dataclass(frozen=True, slots=True)
class Group:
    """A select group. ``hash_fields``: names of the fields hashed (selection method hash); () = dp_hash.

    ``hash_param``: what the method starts from; groups behind each other need different ones, or their choices are alike.
    The names are put in the form and order in which dumps show them. Raises ValueError for a name that is no field's.
    """

    id: int
    buckets: tuple[Bucket, ...]
    hash_fields: tuple[str, ...] = ()
    hash_param: int = 0
    owner: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.hash_fields:
            object.__setattr__(self, "hash_fields", canonical_hash_fields(self.hash_fields))

    def __str__(self) -> str:
        method = "hash" if self.hash_fields else "dp_hash"
        if self.hash_param:
            method += f",selection_method_param={self.hash_param}"
        if self.hash_fields:
            # A single field stands without parentheses.
            names = ",".join(self.hash_fields)
            method += f",fields({names})" if len(self.hash_fields) > 1 else f",fields={names}"
        return ",".join(
            (f"group_id={self.id},type=select,selection_method={method}", *map(str, self.buckets))
        )


@dataclass(frozen=True, slots=True)
class Meter:
    """So many packets a second pass, after a pause up to ``burst`` at once; the switch drops and counts the others.

    OpenFlow 1.5.1 section 6.5. ``id``: 1..0xffff0000; ``rate``: packets a second, at least 1; ``burst``: packets.
    """

    id: int
    rate: int
    burst: int
    owner: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As ``ovs-ofctl add-meter`` takes it."""
        return f"meter={self.id},pktps,burst,stats,bands=type=drop,rate={self.rate},burst_size={self.burst}"


@dataclass(frozen=True, slots=True)
class BridgeProgram:
    """All that a bridge should hold; keys are unique and the tuples sorted (flows by table, priority down, text)."""

    flows: tuple[Flow, ...] = ()
    groups: tuple[Group, ...] = ()
    meters: tuple[Meter, ...] = ()


def program(
    flows: Iterable[Flow], groups: Iterable[Group] = (), meters: Iterable[Meter] = ()
) -> BridgeProgram:
    """All in canonical order. Raises ValueError when two flows have one key, or two groups or meters one id."""
    by_key: dict[FlowKey, Flow] = {}
    for flow in flows:
        other = by_key.setdefault(flow.key, flow)
        if other is not flow:
            raise ValueError(f"two flows with one key: {flow} ({flow.owner}) and {other} ({other.owner})")
    by_id: dict[int, Group] = {}
    for group in groups:
        if by_id.setdefault(group.id, group) is not group:
            raise ValueError(f"two groups numbered {group.id}: {group.owner} and {by_id[group.id].owner}")
    meter_by_id: dict[int, Meter] = {}
    for meter in meters:
        other_meter = meter_by_id.setdefault(meter.id, meter)
        if other_meter is not meter:
            raise ValueError(f"two meters numbered {meter.id}: {meter.owner} and {other_meter.owner}")
    ordered = sorted(by_key.values(), key=lambda flow: (flow.table, -flow.priority, str(flow.match)))
    return BridgeProgram(
        tuple(ordered),
        tuple(by_id[number] for number in sorted(by_id)),
        tuple(meter_by_id[number] for number in sorted(meter_by_id)),
    )
