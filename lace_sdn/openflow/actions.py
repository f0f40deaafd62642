"""Actions, as frozen values whose text is ovs-ofctl's own (ovs-actions(7)), in the form that dumps show under OpenFlow 1.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.fields import (
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    IPV4_DST,
    IPV4_SRC,
    IPV6_SRC,
    Field,
    Port,
    Slice,
    Term,
)
from lace_sdn.openflow.match import format_mask, format_value

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

# Under set_field, dumps use the OpenFlow names of these fields.
SET_NAMES: Final[dict[Field, str]] = {
    ETH_SRC: "eth_src",
    ETH_DST: "eth_dst",
    ETH_TYPE: "eth_type",
    IPV4_SRC: "ip_src",
    IPV4_DST: "ip_dst",
}


LEARNED_PRIORITY: Final = 0x8000
"""Of a learned flow, where a dump does not say it."""


@dataclass(frozen=True, slots=True)
class SetField:
    """Load ``value`` into the bits of ``mask`` (default: all). Raises ValueError for bits outside the mask or the field."""

    field: Field
    value: int
    mask: int = -1

    def __post_init__(self) -> None:
        if self.mask == -1:
            object.__setattr__(self, "mask", self.field.all_ones)
        if self.value & ~self.mask or not 0 <= self.mask <= self.field.all_ones:
            raise ValueError(
                f"set_field: {self.field.name}={self.value:#x}/{self.mask:#x} has bits outside its mask or its field"
            )

    def __str__(self) -> str:
        name = SET_NAMES.get(self.field, self.field.name)
        value = format_value(self.field, self.value)
        if self.mask != self.field.all_ones:
            value += "/" + format_mask(self.field, self.mask)
        return f"set_field:{value}->{name}"


@dataclass(frozen=True, slots=True)
class Move:
    source: Slice
    target: Slice

    def __str__(self) -> str:
        return f"move:{self.source}->{self.target}"


@dataclass(frozen=True, slots=True)
class Push:
    source: Slice

    def __str__(self) -> str:
        return f"push:{self.source}"


@dataclass(frozen=True, slots=True)
class Pop:
    target: Slice

    def __str__(self) -> str:
        return f"pop:{self.target}"


@dataclass(frozen=True, slots=True)
class Resubmit:
    table: int

    def __str__(self) -> str:
        return f"resubmit(,{self.table})"


@dataclass(frozen=True, slots=True)
class Goto:
    table: int

    def __str__(self) -> str:
        return f"goto_table:{self.table}"


@dataclass(frozen=True, slots=True)
class Output:
    port: int

    def __str__(self) -> str:
        return Port.NAMES.get(self.port) or f"output:{self.port}"


@dataclass(frozen=True, slots=True)
class OutputTo:
    """To the port whose number the slice holds."""

    source: Slice

    def __str__(self) -> str:
        return f"output:{self.source}"


@dataclass(frozen=True, slots=True)
class Controller:
    """To the controller, the first ``max_len`` octets of the packet (OpenFlow 1.5.1 section 7.2.8, output action)."""

    max_len: int

    def __str__(self) -> str:
        return f"CONTROLLER:{self.max_len}"


@dataclass(frozen=True, slots=True)
class InPort:
    """Back to the port the packet came from."""

    def __str__(self) -> str:
        return "IN_PORT"


@dataclass(frozen=True, slots=True)
class DecTtl:
    def __str__(self) -> str:
        return "dec_ttl"


@dataclass(frozen=True, slots=True)
class CheckPktLarger:
    """Whether the frame has more than ``size`` octets, into one bit (ovs-actions(7), "The check_pkt_larger action").

    Raises ValueError for a target of more bits.
    """

    size: int
    target: Slice

    def __post_init__(self) -> None:
        if self.target.width != 1:
            raise ValueError(f"check_pkt_larger: {self.target} is expected to be one bit")

    def __str__(self) -> str:
        return f"check_pkt_larger({self.size})->{self.target}"


@dataclass(frozen=True, slots=True)
class GroupAction:
    group: int

    def __str__(self) -> str:
        return f"group:{self.group}"


@dataclass(frozen=True, slots=True)
class MeterAction:
    """The packet ends here when the meter has no room for it (OpenFlow 1.5.1 section 7.2.8, meter action)."""

    meter: int

    def __str__(self) -> str:
        return f"meter:{self.meter}"


@dataclass(frozen=True, slots=True)
class Nat:
    """``nat``; ``nat(src)`` when ``is_source`` without address; ``nat(src=A:P)``, ``nat(dst=A:P)`` otherwise."""

    is_source: bool | None = None
    address: IPv4Address | IPv6Address | None = None
    port: int | None = None

    def __str__(self) -> str:
        if self.is_source is None:
            return "nat"
        side = "src" if self.is_source else "dst"
        if self.address is None:
            return f"nat({side})"
        field = IPV4_SRC if self.address.version == 4 else IPV6_SRC
        host = format_value(field, int(self.address))
        if self.port:
            host = f"[{host}]:{self.port}" if self.address.version == 6 else f"{host}:{self.port}"
        return f"nat({side}={host})"


@dataclass(frozen=True, slots=True)
class Ct:
    """Conntrack (ovs-actions(7), "The ct action"); ``table``: where the tracked packet goes on, None: nowhere.

    ``force``: of a packet of a connection's reply direction, commit another connection in its place, in the packet's direction.
    Raises ValueError for ``force`` without ``commit``, which a switch refuses.
    """

    zone: int | Slice
    table: int | None = None
    commit: bool = False
    nat: Nat | None = None
    execute: tuple[SetField | Move, ...] = ()
    force: bool = False

    def __post_init__(self) -> None:
        if self.force and not self.commit:
            raise ValueError("ct(force): commit is expected beside it")

    def __str__(self) -> str:
        parts = ["commit"] if self.commit else []
        parts += ["force"] if self.force else []
        if self.table is not None:
            parts.append(f"table={self.table}")
        # Dumps do not show zone 0.
        if self.zone:
            parts.append(f"zone={self.zone}")
        if self.nat is not None:
            parts.append(str(self.nat))
        if self.execute:
            parts.append(f"exec({','.join(str(action) for action in self.execute)})")
        return f"ct({','.join(parts)})"


@dataclass(frozen=True, slots=True)
class CtClear:
    """What conntrack said of the packet is forgotten; its connection is not (ovs-actions(7), "The ct_clear action")."""

    def __str__(self) -> str:
        return "ct_clear"


@dataclass(frozen=True, slots=True)
class Learn:
    """Put a flow into ``table`` (ovs-actions(7), "The learn action"); timeouts in seconds, 0 for none.

    ``matches``: a term of a whole field, or a slice that must be as in this packet. ``loads``: what the flow then loads, with
    the values of this packet's sources. ``delete_learned``: it goes with the last flow that learns with this table and cookie.
    ``limit``: flows with this table and cookie at most, 0 for any number; what is known already is refreshed all the same.
    """

    table: int
    priority: int
    cookie: int
    idle_timeout: int = 0
    hard_timeout: int = 0
    delete_learned: bool = False
    matches: tuple[Term | Slice, ...] = ()
    loads: tuple[Move, ...] = ()
    limit: int = 0

    def __str__(self) -> str:
        parts = [f"table={self.table}"]
        parts += [f"idle_timeout={self.idle_timeout}"] if self.idle_timeout else []
        parts += [f"hard_timeout={self.hard_timeout}"] if self.hard_timeout else []
        parts += [f"priority={self.priority}"] if self.priority != LEARNED_PRIORITY else []
        parts += ["delete_learned"] if self.delete_learned else []
        parts += [f"cookie={self.cookie:#x}"] if self.cookie else []
        parts += [f"limit={self.limit}"] if self.limit else []
        parts += map(_learned_match, self.matches)
        parts += [f"load:{each.source}->{each.target}" for each in self.loads]
        return f"learn({','.join(parts)})"


def _learned_match(each: Term | Slice) -> str:
    if isinstance(each, Slice):
        return str(each)
    return f"{SET_NAMES.get(each.field, each.field.name)}={format_value(each.field, each.value)}"


Action = (
    SetField
    | Move
    | Push
    | Pop
    | Resubmit
    | Goto
    | Output
    | OutputTo
    | Controller
    | InPort
    | DecTtl
    | CheckPktLarger
    | GroupAction
    | MeterAction
    | Ct
    | CtClear
    | Learn
)
Actions = tuple[Action, ...]
"""In order; a ``Goto`` only at the end (it is an instruction). No action at all: drop."""


def format_actions(actions: Actions) -> str:
    """As behind ``actions=``; nothing to do is ``drop``."""
    return ",".join(map(str, actions)) if actions else "drop"
