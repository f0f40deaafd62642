"""Actions to bytes (OpenFlow 1.5.1 section 7.2.8, and Open vSwitch's vendor actions)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.openflow.actions import (
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
    Nat,
    Output,
    OutputTo,
    Pop,
    Push,
    Resubmit,
    SetField,
    format_actions,
)
from lace_sdn.openflow.fields import FIELDS, Port, Slice, Term
from lace_sdn.openflow.wire.oxm import PADDING, VENDOR_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.openflow.actions import Actions

VENDOR: Final = 0x2320
NO_TABLE: Final = 0xFF
OUTPUT, GROUP, DEC_TTL, SET_FIELD, COPY_FIELD, METER, EXPERIMENTER = 0, 22, 24, 25, 28, 29, 0xFFFF
RESUBMIT_TABLE, OUTPUT_REG, LEARN, STACK_PUSH, STACK_POP, CT, NAT, CT_CLEAR = 14, 15, 16, 27, 28, 35, 36, 43
LEARN_LIMITED: Final = 45
CHECK_PKT_LARGER: Final = 49
CT_COMMIT, CT_FORCE = 1 << 0, 1 << 1
"""Flags of a ct action (NX_CT_F_COMMIT, NX_CT_F_FORCE)."""
GOTO_TABLE, APPLY_ACTIONS = 1, 4
RESUBMIT_IN_PORT: Final = 0xFFF8
"""OFPP_IN_PORT in the 16 bits of OpenFlow 1.0, as vendor actions keep it."""

HEAD: Final = struct.Struct("!HH")
_OUTPUT: Final = struct.Struct("!HHIH6x")
_GROUP: Final = struct.Struct("!HHI")
_COPY: Final = struct.Struct("!HHHHH2x4s4s4x")
_RESUBMIT: Final = struct.Struct("!HHIHHB3x")
_OUTPUT_REG: Final = struct.Struct("!HHIHH4sH6x")
_STACK: Final = struct.Struct("!HHIHH4sH6x")
_CHECK_PKT_LARGER: Final = struct.Struct("!HHIHHH4s6x")
_CT: Final = struct.Struct("!HHIHH4sHB3x2x")
_NAT: Final = struct.Struct("!HHIH2xHH")
_CT_CLEAR: Final = struct.pack("!HHIH6x", EXPERIMENTER, 16, VENDOR, CT_CLEAR)
_LEARN: Final = struct.Struct("!HHIHHHHQHB5x")
LEARN_SIZE: Final = _LEARN.size
LEARN_LIMIT: Final = struct.Struct("!I4x")
"""Behind a learn action's head, where it has a limit (nx_action_learn2); the result goes nowhere."""
DELETE_LEARNED: Final = 2
LEARN_IMMEDIATE, LEARN_LOAD, LEARN_BITS = 1 << 13, 1 << 11, 0x7FF
"""Of the header of a learn action's part: a value stands in it; it is a load, not a match; how many bits."""
LEARN_PLACE: Final = struct.Struct("!4sH")
_INSTRUCTION: Final = struct.Struct("!HH4x")
_GOTO: Final = struct.Struct("!HHB3x")

_IN_PORT: Final = _OUTPUT.pack(OUTPUT, 16, Port.IN_PORT, 0)
_DEC_TTL: Final = _GROUP.pack(DEC_TTL, 8, 0)
_RESUBMITS: Final = tuple(
    _RESUBMIT.pack(EXPERIMENTER, 16, VENDOR, RESUBMIT_TABLE, RESUBMIT_IN_PORT, table)
    for table in range(NO_TABLE)
)
_GOTOS: Final = tuple(_GOTO.pack(GOTO_TABLE, 8, table) for table in range(NO_TABLE))


def _output(action: Output) -> bytes:
    return _OUTPUT.pack(OUTPUT, 16, action.port, 0)


_EXACT_SET: Final = {
    field: (
        HEAD.pack(SET_FIELD, 8 + field.octets + len(PADDING[field.octets & 7])) + field.header,
        PADDING[field.octets & 7],
    )
    for field in FIELDS
}
"""What stands before and behind the value in a set_field of the whole field."""


def _set_field(action: SetField) -> bytes:
    field = action.field
    octets = field.octets
    if action.mask == field.all_ones:
        before, behind = _EXACT_SET[field]
        return before + action.value.to_bytes(octets, "big") + behind
    body = field.masked_header + action.value.to_bytes(octets, "big") + action.mask.to_bytes(octets, "big")
    padding = PADDING[2 * octets & 7]
    return HEAD.pack(SET_FIELD, 8 + 2 * octets + len(padding)) + body + padding


def _move(action: Move) -> bytes:
    source, target = action.source, action.target
    if source.width != target.width:
        raise ValueError(f"{action}: source and target are expected to have the same width")
    return _COPY.pack(
        COPY_FIELD, 24, source.width, source.low, target.low, source.field.header, target.field.header
    )


def _stack(subtype: int, bits: Slice) -> bytes:
    return _STACK.pack(EXPERIMENTER, 24, VENDOR, subtype, bits.low, VENDOR_HEADER[bits.field], bits.width)


def _output_to(action: OutputTo) -> bytes:
    bits = action.source
    where = bits.low << 6 | bits.width - 1
    return _OUTPUT_REG.pack(EXPERIMENTER, 24, VENDOR, OUTPUT_REG, where, VENDOR_HEADER[bits.field], 0xFFFF)


def _check_pkt_larger(action: CheckPktLarger) -> bytes:
    bit = action.target
    return _CHECK_PKT_LARGER.pack(
        EXPERIMENTER, 24, VENDOR, CHECK_PKT_LARGER, action.size, bit.low, VENDOR_HEADER[bit.field]
    )


def _nat(nat: Nat) -> bytes:
    flags = 0 if nat.is_source is None else (1 if nat.is_source else 2)
    present, body = 0, b""
    if flags and nat.address is not None:
        present, body = (1 if nat.address.version == 4 else 4), nat.address.packed
        if nat.port:
            present |= 0x10
            body += nat.port.to_bytes(2, "big")
    body += PADDING[len(body) & 7]
    return _NAT.pack(EXPERIMENTER, 16 + len(body), VENDOR, NAT, flags, present) + body


def _ct(action: Ct) -> bytes:
    zone = action.zone
    header, number = b"\0\0\0\0", zone
    if isinstance(zone, Slice):
        header, number = VENDOR_HEADER[zone.field], zone.low << 6 | zone.width - 1
    inner = b"" if action.nat is None else _nat(action.nat)
    inner += b"".join([ENCODERS[each.__class__](each) for each in action.execute])
    table = NO_TABLE if action.table is None else action.table
    flags = (CT_COMMIT if action.commit else 0) | (CT_FORCE if action.force else 0)
    return _CT.pack(EXPERIMENTER, 24 + len(inner), VENDOR, CT, flags, header, number, table) + inner


def _learn(action: Learn) -> bytes:
    parts = b"".join([_learned_match(each) for each in action.matches])
    for load in action.loads:
        if load.source.width != load.target.width:
            raise ValueError(f"{action}: {load} is expected between slices of the same width")
        parts += (
            (LEARN_LOAD | load.source.width).to_bytes(2, "big") + _place(load.source) + _place(load.target)
        )
    if action.limit:
        parts = LEARN_LIMIT.pack(action.limit) + parts
    size = LEARN_SIZE + len(parts)
    padding = PADDING[size & 7]
    flags = DELETE_LEARNED if action.delete_learned else 0
    return (
        _LEARN.pack(
            EXPERIMENTER,
            size + len(padding),
            VENDOR,
            LEARN_LIMITED if action.limit else LEARN,
            action.idle_timeout,
            action.hard_timeout,
            action.priority,
            action.cookie,
            flags,
            action.table,
        )
        + parts
        + padding
    )


def _learned_match(each: Term | Slice) -> bytes:
    if isinstance(each, Slice):
        return each.width.to_bytes(2, "big") + 2 * _place(each)
    value = each.value.to_bytes((each.field.bits + 15) // 16 * 2, "big")
    return (LEARN_IMMEDIATE | each.field.bits).to_bytes(2, "big") + value + _place(each.field.whole)


def _place(bits: Slice) -> bytes:
    return LEARN_PLACE.pack(VENDOR_HEADER[bits.field], bits.low)


ENCODERS: Final[dict[type[Any], Callable[[Any], bytes]]] = {
    SetField: _set_field,
    Move: _move,
    Push: lambda action: _stack(STACK_PUSH, action.source),
    Pop: lambda action: _stack(STACK_POP, action.target),
    Resubmit: lambda action: _RESUBMITS[action.table],
    Output: _output,
    OutputTo: _output_to,
    InPort: lambda _: _IN_PORT,
    DecTtl: lambda _: _DEC_TTL,
    CheckPktLarger: _check_pkt_larger,
    GroupAction: lambda action: _GROUP.pack(GROUP, 8, action.group),
    MeterAction: lambda action: _GROUP.pack(METER, 8, action.meter),
    Ct: _ct,
    CtClear: lambda _: _CT_CLEAR,
    Controller: lambda action: _OUTPUT.pack(OUTPUT, 16, Port.CONTROLLER, action.max_len),
    Learn: _learn,
}


def encode_list(actions: Actions) -> bytes:
    """A list of actions, as in a bucket. Raises ValueError for a Goto in it, and for numbers too large for their place."""
    try:
        return b"".join([ENCODERS[action.__class__](action) for action in actions])
    except (struct.error, OverflowError, IndexError) as error:
        raise ValueError(f"{format_actions(actions)} does not fit into OpenFlow actions: {error}") from error
    except KeyError:
        raise ValueError(
            f"{format_actions(actions)}: goto_table is expected only at the end of a flow's actions"
        ) from None


def encode_instructions(actions: Actions) -> bytes:
    """The instructions of a flow: apply-actions, and goto-table for a Goto at the end; nothing for no actions."""
    if not actions:
        return b""
    last = actions[-1]
    if not isinstance(last, Goto):
        body = encode_list(actions)
        return _INSTRUCTION.pack(APPLY_ACTIONS, len(body) + 8) + body
    if not 0 <= last.table < NO_TABLE:
        raise ValueError(f"{last}: a table from 0 to {NO_TABLE - 1} is expected")
    goto = _GOTOS[last.table]
    if len(actions) == 1:
        return goto
    body = encode_list(actions[:-1])
    return _INSTRUCTION.pack(APPLY_ACTIONS, len(body) + 8) + body + goto
