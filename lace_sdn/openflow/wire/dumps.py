"""Dumps of flows and groups (OpenFlow 1.5.1 sections 7.3.5.2 and 7.3.5.7): requests, and replies of any number of parts."""

from __future__ import annotations

import gc
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.fields import Port
from lace_sdn.openflow.flow import HASH_NAMES, Bucket, Flow, Group
from lace_sdn.openflow.match import Match
from lace_sdn.openflow.wire.action_decoding import INSTRUCTION_ACTIONS, decode_list, pieces
from lace_sdn.openflow.wire.oxm import FIELD_BY_HEADER, Unreadable
from lace_sdn.openflow.wire.shapes import read_match

if TYPE_CHECKING:
    from collections.abc import Iterator


MULTIPART_REQUEST, MULTIPART_REPLY = 18, 19
FLOW_DESC, GROUP_DESC = 1, 7
_ALL_TABLES: Final = 0xFF
_ALL_GROUPS: Final = 0xFFFFFFFC
_SELECT: Final = 1
_WEIGHT, _EXPERIMENTER = 0, 0xFFFF

_MULTIPART: Final = struct.Struct("!BBHIHH4x")
_FLOW_REQUEST: Final = struct.Struct("!B3xII4xQQHH4x")
_GROUP_REQUEST: Final = struct.Struct("!I4x")
# ofp_flow_desc up to the fields of the match: length, table, priority, (timeouts, flags, importance), cookie, match.
_FLOW: Final = struct.Struct("!H2xBxH8xQ2xH")
_STATS: Final = struct.Struct("!2xH")
_GROUP: Final = struct.Struct("!HBxIH6x")
_BUCKET: Final = struct.Struct("!HHI")
_WEIGHT_VALUE: Final = struct.Struct("!4xH")
_SELECTION: Final = struct.Struct("!4xII4x16sQ")
_NETRONOME: Final = 0x154D
_METHODS: Final = {b"hash": True, b"dp_hash": False}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A flow with a match or actions that this program never uses. ``raw`` is the entry as the switch gave it."""

    cookie: int
    table: int
    priority: int
    raw: bytes

    @property
    def match(self) -> bytes:
        """The bytes of its match fields."""
        return self.raw[_FLOW.size : 24 + _FLOW.unpack_from(self.raw)[4]]


def flow_dump_request(xid: int, cookie: int = 0, mask: int = 0) -> bytes:
    """Asks for the flows of all tables whose cookies have these bits."""
    body = _FLOW_REQUEST.pack(_ALL_TABLES, Port.ANY, Port.ANY, cookie, mask, 1, 4)
    return _MULTIPART.pack(6, MULTIPART_REQUEST, 16 + len(body), xid, FLOW_DESC, 0) + body


def group_dump_request(xid: int) -> bytes:
    """Asks for all groups."""
    return _MULTIPART.pack(6, MULTIPART_REQUEST, 24, xid, GROUP_DESC, 0) + _GROUP_REQUEST.pack(_ALL_GROUPS)


def bodies(messages: bytes, kind: int) -> bytes:
    """The entries in the parts of replies of ``kind`` (FLOW_DESC, GROUP_DESC), joined; other messages are skipped.

    Raises ValueError for a message that is cut off.
    """
    found = []
    start = 0
    while start < len(messages):
        size = int.from_bytes(messages[start + 2 : start + 4], "big")
        if size < 8 or start + size > len(messages):
            raise ValueError(
                f"message at byte {start} of {len(messages)}: {size} bytes long, so it is cut off"
            )
        if (
            messages[start + 1] == MULTIPART_REPLY
            and int.from_bytes(messages[start + 8 : start + 10], "big") == kind
        ):
            found.append(messages[start + 16 : start + size])
        start += size
    return b"".join(found)


def decode_flow_dump(entries: bytes) -> list[Flow]:
    """The readable flows among the entries of replies (without the 16 bytes before them). Raises ValueError if cut off."""
    return read_flow_dump(entries)[0]


# Flows come by the ten thousand: values are made without their checks, which bytes of a switch have passed.
_new_match = Match.__new__
_set_terms = vars(Match)["terms"].__set__
_set_table = vars(Flow)["table"].__set__
_set_priority = vars(Flow)["priority"].__set__
_set_match = vars(Flow)["match"].__set__
_set_actions = vars(Flow)["actions"].__set__
_set_cookie = vars(Flow)["cookie"].__set__
_new_flow = Flow.__new__
_set_owner = vars(Flow)["owner"].__set__


def read_flow_dump(entries: bytes) -> tuple[list[Flow], list[Foreign]]:
    """All flows: those that can be read, whoever's they are (see their cookies), and the rest. Raises ValueError if cut off."""
    # Measured: the collector walks all that was made so far again and again, and takes longer than the reading.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _read_flows(entries)
    finally:
        if was_enabled:
            gc.enable()


def _read_flows(entries: bytes) -> tuple[list[Flow], list[Foreign]]:
    flows: list[Flow] = []
    foreign: list[Foreign] = []
    start, total = 0, len(entries)
    while start < total:
        if start + _FLOW.size > total:
            raise ValueError(f"flow at byte {start} of {total}: it is cut off")
        size, table, priority, cookie, match_size = _FLOW.unpack_from(entries, start)
        end = start + size
        if size < _FLOW.size or end > total:
            raise ValueError(f"flow at byte {start} of {total}: it is cut off")
        stats = start + 24 + (match_size + 7 & ~7)
        try:
            terms = read_match(entries, start + 28, match_size - 4, table) if stats + 4 <= end else None
            instructions = stats + ((entries[stats + 2] << 8 | entries[stats + 3]) + 7 & ~7)
            actions = INSTRUCTION_ACTIONS[entries[instructions:end]]
        except (Unreadable, IndexError):
            terms = None
        if terms is None:
            foreign.append(Foreign(cookie, table, priority, entries[start:end]))
        else:
            flow = _new_flow(Flow)
            match = _new_match(Match)
            _set_terms(match, terms)
            _set_table(flow, table)
            _set_priority(flow, priority)
            _set_match(flow, match)
            _set_actions(flow, actions)
            _set_cookie(flow, cookie)
            _set_owner(flow, "")
            flows.append(flow)
        start = end
    return flows, foreign


def decode_group_dump(entries: bytes) -> list[Group]:
    """The readable groups among the entries of replies (without the 16 bytes before them). Raises ValueError if cut off."""
    return read_group_dump(entries)[0]


def read_group_dump(entries: bytes) -> tuple[list[Group], list[int]]:
    """All groups: those that can be read, and the numbers of the rest. Raises ValueError if cut off."""
    groups: list[Group] = []
    foreign: list[int] = []
    start, total = 0, len(entries)
    while start < total:
        size = int.from_bytes(entries[start : start + 2], "big")
        if size < _GROUP.size or start + size > total:
            raise ValueError(f"group at byte {start} of {total}: {size} bytes long, so it is cut off")
        entry = entries[start : start + size]
        try:
            groups.append(_group(entry))
        except (Unreadable, struct.error):
            foreign.append(int.from_bytes(entry[4:8], "big"))
        start += size
    return groups, foreign


def _group(entry: bytes) -> Group:
    _, kind, number, buckets_size = _GROUP.unpack_from(entry)
    if kind != _SELECT:
        raise Unreadable(f"a group of type {kind}")
    end = _GROUP.size + buckets_size
    buckets = tuple(_buckets(entry[_GROUP.size : end]))
    properties = list(pieces(_aligned(entry[end:])))
    if len(properties) != 1:
        raise Unreadable("a group without a selection method")
    fields, parameter = _selection(*properties[0])
    return Group(number, buckets, fields, parameter)


def _aligned(data: bytes) -> bytes:
    """Properties are padded to 8 bytes, their lengths say nothing of it: at most one is expected, so this suffices."""
    return (
        data[: int.from_bytes(data[2:4], "big")]
        if 0 <= len(data) - int.from_bytes(data[2:4], "big") < 8
        else data
    )


def _buckets(data: bytes) -> Iterator[Bucket]:
    start = 0
    while start < len(data):
        size, actions_size, number = _BUCKET.unpack_from(data, start)
        if size < _BUCKET.size:
            raise Unreadable("a bucket that is cut off")
        first = start + _BUCKET.size
        weight = 1
        for kind, piece in pieces(data[first + actions_size : start + size]):
            if kind != _WEIGHT:
                raise Unreadable(f"a bucket with a property of type {kind}")
            (weight,) = _WEIGHT_VALUE.unpack_from(piece)
        yield Bucket(number, decode_list(data[first : first + actions_size]), weight)
        start += size


def _selection(kind: int, data: bytes) -> tuple[tuple[str, ...], int]:
    """The fields hashed, and the parameter."""
    vendor, subtype, name, parameter = _SELECTION.unpack_from(data)
    method = _METHODS.get(name.rstrip(b"\0"))
    if (kind, vendor, subtype) != (_EXPERIMENTER, _NETRONOME, 1) or method is None:
        raise Unreadable("a selection method that is not known")
    names = []
    start = _SELECTION.size
    while start < len(data):
        field = FIELD_BY_HEADER.get(data[start : start + 4])
        if (
            field is None
            or int.from_bytes(data[start + 4 : start + 4 + field.octets], "big") != field.all_ones
        ):
            raise Unreadable("a field to hash that is not known, or only bits of one")
        names.append(HASH_NAMES[field])
        start += 4 + field.octets
    if bool(names) is not method:
        raise Unreadable("a selection method with the wrong fields")
    return tuple(names), parameter
