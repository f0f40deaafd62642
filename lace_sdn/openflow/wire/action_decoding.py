"""Bytes to actions: the inverse of ``action_encoding``, in the form in which Open vSwitch writes them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

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
)
from lace_sdn.openflow.fields import Port, Slice, Term
from lace_sdn.openflow.wire import action_encoding as code
from lace_sdn.openflow.wire.oxm import FIELD_BY_HEADER, Cache, Unreadable, decode_term, slice_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.openflow.actions import Action, Actions

_HEAD: Final = code.HEAD
_WORD: Final = struct.Struct("!4xI")
_OUTPUT: Final = struct.Struct("!4xIH")
_LEARN: Final = struct.Struct("!10xHHHQHBxHH")
_COPY: Final = struct.Struct("!4xHHH2x4s4s")
_VENDOR: Final = struct.Struct("!4xIH")
_SHORTS: Final = struct.Struct("!10xH4sH")
_CHECK_PKT_LARGER: Final = struct.Struct("!10xHH4s")
_RESUBMIT: Final = struct.Struct("!10xHB3x")
_CT: Final = struct.Struct("!10xH4sHB3xH")
_NAT: Final = struct.Struct("!12xHH")
_FIRST_RESERVED: Final = 0xFFFFFF00


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and whole bytes of each structure that begins with 16 bits of type and 16 of length. Raises Unreadable."""
    start = 0
    while start < len(data):
        try:
            kind, size = _HEAD.unpack_from(data, start)
        except struct.error:
            raise Unreadable(f"{len(data) - start} bytes are left over behind the last action") from None
        if size < 4 or start + size > len(data):
            raise Unreadable(f"a length of {size} bytes at {start} of {len(data)}")
        yield kind, data[start : start + size]
        start += size


def _output(data: bytes) -> Action:
    port, max_len = _OUTPUT.unpack_from(data)
    if port == Port.IN_PORT:
        return InPort()
    if port == Port.CONTROLLER:
        return Controller(max_len)
    if port >= _FIRST_RESERVED and port not in Port.NAMES:
        raise Unreadable(f"output to the reserved port {port:#x}")
    return Output(port)


_new_action: Final = SetField.__new__
_set_target = vars(SetField)["field"].__set__
_set_value = vars(SetField)["value"].__set__
_set_mask = vars(SetField)["mask"].__set__


def _set_field(data: bytes) -> SetField:
    """Made without its checks: the switch has checked the bits."""
    field = FIELD_BY_HEADER.get(data[4:8])
    if field is None:
        field, value, mask = decode_term(data[4 : 8 + data[7]])
    else:
        value, mask = int.from_bytes(data[8 : 8 + field.octets], "big"), field.all_ones
    action = _new_action(SetField)
    _set_target(action, field)
    _set_value(action, value)
    _set_mask(action, mask)
    return action


def _copy_field(data: bytes) -> Move:
    width, source, target, source_header, target_header = _COPY.unpack_from(data)
    return Move(slice_of(source_header, source, width), slice_of(target_header, target, width))


def _vendor(data: bytes) -> Action:
    vendor, subtype = _VENDOR.unpack_from(data)
    decode = _VENDOR_DECODERS.get(subtype) if vendor == code.VENDOR else None
    if decode is None:
        raise Unreadable(f"vendor action {subtype} of {vendor:#x}")
    return decode(data)


def _resubmit(data: bytes) -> Resubmit:
    port, table = _RESUBMIT.unpack_from(data)
    if port != code.RESUBMIT_IN_PORT or table == code.NO_TABLE:
        raise Unreadable("resubmit with a port, or without a table")
    return Resubmit(table)


def _bits(where: int, header: bytes) -> Slice:
    return slice_of(header, where >> 6, (where & 0x3F) + 1)


def _output_to(data: bytes) -> OutputTo:
    where, header, _ = _SHORTS.unpack_from(data)
    return OutputTo(_bits(where, header))


def _stacked(data: bytes) -> Slice:
    low, header, width = _SHORTS.unpack_from(data)
    return slice_of(header, low, width)


def _check_pkt_larger(data: bytes) -> CheckPktLarger:
    size, low, header = _CHECK_PKT_LARGER.unpack_from(data)
    return CheckPktLarger(size, slice_of(header, low, 1))


def _ct(data: bytes) -> Ct:
    flags, header, number, table, algorithm = _CT.unpack_from(data)
    if flags & ~(code.CT_COMMIT | code.CT_FORCE) or algorithm:
        raise Unreadable("ct with flags that are not known or an algorithm")
    nat: Nat | None = None
    execute: list[SetField | Move] = []
    for kind, piece in pieces(data[24:]):
        if kind == code.EXPERIMENTER and nat is None:
            nat = _nat(piece)
            continue
        action = _decode_one(kind, piece)
        if not isinstance(action, SetField | Move):
            raise Unreadable(f"ct that executes {action}")
        execute.append(action)
    zone = number if header == b"\0\0\0\0" else _bits(number, header)
    commit, force = bool(flags & code.CT_COMMIT), bool(flags & code.CT_FORCE)
    return Ct(zone, None if table == code.NO_TABLE else table, commit, nat, tuple(execute), force)


def _nat(data: bytes) -> Nat:
    if _VENDOR.unpack_from(data) != (code.VENDOR, code.NAT):
        raise Unreadable("an action other than nat, set_field or move in ct")
    flags, present = _NAT.unpack_from(data)
    if flags not in (0, 1, 2) or present not in (0, 0x01, 0x04, 0x11, 0x14):
        raise Unreadable(f"nat with flags {flags:#x} and ranges {present:#x}")
    if not flags:
        return Nat()
    end = 32 if present & 4 else 20
    packed = data[16:end]
    address = None if not present else (IPv6Address(packed) if present & 4 else IPv4Address(packed))
    return Nat(flags == 1, address, int.from_bytes(data[end : end + 2], "big") if present & 0x10 else None)


def _learn(data: bytes, limit: int = 0, start: int = code.LEARN_SIZE) -> Learn:
    idle, hard, priority, cookie, flags, table, fin_idle, fin_hard = _LEARN.unpack_from(data)
    if flags & ~code.DELETE_LEARNED or fin_idle or fin_hard:
        raise Unreadable("learn with flags or timeouts that are not known")
    matches: list[Term | Slice] = []
    loads: list[Move] = []
    while start + 2 <= len(data) and (head := int.from_bytes(data[start : start + 2], "big")):
        start, source, target = _learned(data, start + 2, head)
        if head & code.LEARN_LOAD:
            if not isinstance(source, Slice):
                raise Unreadable("learn with a constant to load")
            loads.append(Move(source, target))
        elif isinstance(source, int):
            if target != target.field.whole:
                raise Unreadable("learn with a match on some bits of a field")
            matches.append(Term(target.field, source, target.field.all_ones))
        elif source == target:
            matches.append(target)
        else:
            raise Unreadable("learn with a match on another field than the one it is copied from")
    parts = (tuple(matches), tuple(loads))
    return Learn(table, priority, cookie, idle, hard, bool(flags), *parts, limit)


def _learn_limited(data: bytes) -> Learn:
    (limit,) = code.LEARN_LIMIT.unpack_from(data, code.LEARN_SIZE)
    return _learn(data, limit, code.LEARN_SIZE + code.LEARN_LIMIT.size)


def _learned(data: bytes, start: int, head: int) -> tuple[int, Slice | int, Slice]:
    """A part of a learn action behind its header: where the next begins, the source (bits or a value), the target."""
    width = head & code.LEARN_BITS
    if head & ~(code.LEARN_BITS | code.LEARN_IMMEDIATE | code.LEARN_LOAD):
        raise Unreadable("learn with a part of a kind that is not known")
    source: Slice | int
    if head & code.LEARN_IMMEDIATE:
        end = start + (width + 15) // 16 * 2
        source = int.from_bytes(data[start:end], "big")
    else:
        end = start + code.LEARN_PLACE.size
        source = _place(data, start, width)
    return end + code.LEARN_PLACE.size, source, _place(data, end, width)


def _place(data: bytes, start: int, width: int) -> Slice:
    header, low = code.LEARN_PLACE.unpack_from(data, start)
    return slice_of(header, low, width)


_DECODERS: Final[dict[int, Callable[[bytes], Action]]] = {
    code.OUTPUT: _output,
    code.GROUP: lambda data: GroupAction(_WORD.unpack_from(data)[0]),
    code.DEC_TTL: lambda _: DecTtl(),
    code.SET_FIELD: _set_field,
    code.COPY_FIELD: _copy_field,
    code.METER: lambda data: MeterAction(_WORD.unpack_from(data)[0]),
    code.EXPERIMENTER: _vendor,
}
_VENDOR_DECODERS: Final[dict[int, Callable[[bytes], Action]]] = {
    code.RESUBMIT_TABLE: _resubmit,
    code.OUTPUT_REG: _output_to,
    code.STACK_PUSH: lambda data: Push(_stacked(data)),
    code.STACK_POP: lambda data: Pop(_stacked(data)),
    code.CHECK_PKT_LARGER: _check_pkt_larger,
    code.CT: _ct,
    code.CT_CLEAR: lambda _: CtClear(),
    code.LEARN: _learn,
    code.LEARN_LIMITED: _learn_limited,
}


def _decode_one(kind: int, data: bytes) -> Action:
    decode = _DECODERS.get(kind)
    if decode is None:
        raise Unreadable(f"action of type {kind}")
    return decode(data)


def decode_list(data: bytes) -> Actions:
    """A list of actions, as in a bucket. Raises Unreadable."""
    actions = []
    start, total = 0, len(data)
    try:
        while start < total:
            end = start + (data[start + 2] << 8 | data[start + 3])
            if end < start + 8 or end > total:
                raise Unreadable("an action that is cut off")
            actions.append(_decode_one(data[start] << 8 | data[start + 1], data[start:end]))
            start = end
    except (struct.error, IndexError, ValueError) as error:
        raise Unreadable(f"actions {data.hex()}: {error}") from error
    return tuple(actions)


def forget() -> None:
    """Begin anew, as in a new process."""
    INSTRUCTION_ACTIONS.clear()


def _decode_instructions(data: bytes) -> Actions:
    if data[:4] == code.HEAD.pack(code.APPLY_ACTIONS, len(data)):
        return decode_list(data[8:])
    actions: Actions = ()
    for kind, piece in pieces(data):
        if actions and isinstance(actions[-1], Goto):
            raise Unreadable("an instruction behind goto_table")
        if kind == code.APPLY_ACTIONS and not actions:
            actions = decode_list(piece[8:])
        elif kind == code.GOTO_TABLE:
            actions = (*actions, Goto(piece[4]))
        else:
            raise Unreadable(f"instruction of type {kind}")
    return actions


INSTRUCTION_ACTIONS: Final = Cache(_decode_instructions)
"""The actions of a flow from the bytes of its instructions. Raises Unreadable."""
