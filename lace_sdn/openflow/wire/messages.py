"""Whole messages to a switch: changes of flows and groups, bundles, barriers (OpenFlow 1.5.1 sections 7.3.4, 7.3.9)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.flow import HASH_FIELD_BY_NAME
from lace_sdn.openflow.wire.action_encoding import encode_instructions, encode_list
from lace_sdn.openflow.wire.oxm import PADDING, encode_terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.flow import Bucket, Flow, Group
    from lace_sdn.openflow.wire.dumps import Foreign

VERSION: Final = 6
HELLO, FLOW_MOD, GROUP_MOD, BARRIER_REQUEST, BUNDLE_CONTROL, BUNDLE_ADD = 0, 14, 15, 20, 33, 34
MAX_MESSAGE: Final = 0xFFFF

_ADD, _DELETE_STRICT = 0, 4
_GROUP_ADD, _GROUP_MODIFY, _GROUP_DELETE = 0, 1, 2
_SELECT: Final = 1
_BUCKET_ALL: Final = 0xFFFFFFFF
_OPEN_REQUEST, _COMMIT_REQUEST = 0, 4
_ATOMIC_ORDERED: Final = 3

_HEADER: Final = struct.Struct("!BBHI")
# ofp_flow_mod up to the fields of the match; buffer, out_port and out_group are all ones (none, ANY, ANY): a deletion
# with any other value there deletes nothing, silently. No flags, no timeouts, no importance.
_FLOW_MOD: Final = struct.Struct("!BBHIQ8xBB4xH12s4xHH")
_ANY: Final = b"\xff" * 12
_GROUP_MOD: Final = struct.Struct("!BBHIHBxIH2xI")
_BUCKET: Final = struct.Struct("!HHI")
_WEIGHT: Final = struct.Struct("!HHH2x")
# ntr_group_property_selection_method: an experimenter property of vendor 0x154d, type 1; method, parameter, fields.
_SELECTION: Final = struct.Struct("!HHII4x16sQ")
_SELECTION_PROPERTY: Final = (0xFFFF, 0x154D, 1)
_BUNDLE_CONTROL: Final = struct.Struct("!BBHIIHH")
_BUNDLE_ADD: Final = struct.Struct("!BBHII2xH")


def flow_add(flow: Flow, xid: int) -> bytes:
    """Puts a flow; one with its key is replaced."""
    fields = encode_terms(flow.match.terms)
    instructions = encode_instructions(flow.actions)
    match = len(fields) + 4
    padding = PADDING[match & 7]
    size = 48 + match + len(padding) + len(instructions)
    try:
        return (
            _FLOW_MOD.pack(6, 14, size, xid, flow.cookie, flow.table, 0, flow.priority, _ANY, 1, match)
            + fields
            + padding
            + instructions
        )
    except struct.error as error:
        raise ValueError(f"{flow} does not fit into an OpenFlow message: {error}") from error


def flow_delete_strict(flow: Flow, xid: int) -> bytes:
    """Removes the flow with this key, whatever its cookie and actions."""
    return _delete_strict((flow.table, flow.priority), encode_terms(flow.match.terms), xid)


def foreign_delete_strict(foreign: Foreign, xid: int) -> bytes:
    """Removes a flow that could not be read, by the match that the switch gave."""
    return _delete_strict((foreign.table, foreign.priority), foreign.match, xid)


def _delete_strict(place: tuple[int, int], fields: bytes, xid: int) -> bytes:
    table, priority = place
    match = len(fields) + 4
    padding = PADDING[match & 7]
    size = 48 + match + len(padding)
    head = _FLOW_MOD.pack(VERSION, FLOW_MOD, size, xid, 0, table, _DELETE_STRICT, priority, _ANY, 1, match)
    return head + fields + padding


def group_add(group: Group, xid: int) -> bytes:
    """Raises ValueError for more buckets than a message holds (about 500 to 800)."""
    return _group_mod(_GROUP_ADD, group, xid)


def group_modify(group: Group, xid: int) -> bytes:
    """Replaces buckets and method of an installed group; flows that use it stay. Raises ValueError as group_add."""
    return _group_mod(_GROUP_MODIFY, group, xid)


def group_delete(group: Group, xid: int) -> bytes:
    """Removes a group. The switch removes the flows that use it as well."""
    return _GROUP_MOD.pack(VERSION, GROUP_MOD, 24, xid, _GROUP_DELETE, _SELECT, group.id, 0, _BUCKET_ALL)


def _group_mod(command: int, group: Group, xid: int) -> bytes:
    buckets = b"".join([_bucket(each) for each in group.buckets])
    body = buckets + _selection(group)
    size = _GROUP_MOD.size + len(body)
    if size > MAX_MESSAGE - _BUNDLE_ADD.size:
        raise ValueError(
            f"group {group.id} of {group.owner or 'nobody'}: {len(group.buckets)} buckets take {size} bytes, a message"
            f" holds {MAX_MESSAGE - _BUNDLE_ADD.size}; nothing is sent"
        )
    head = _GROUP_MOD.pack(
        VERSION, GROUP_MOD, size, xid, command, _SELECT, group.id, len(buckets), _BUCKET_ALL
    )
    return head + body


def _bucket(bucket: Bucket) -> bytes:
    actions = encode_list(bucket.actions)
    return (
        _BUCKET.pack(16 + len(actions), len(actions), bucket.id) + actions + _WEIGHT.pack(0, 8, bucket.weight)
    )


def _selection(group: Group) -> bytes:
    fields = [HASH_FIELD_BY_NAME[name] for name in group.hash_fields]
    body = b"".join([field.header + field.all_ones.to_bytes(field.octets, "big") for field in fields])
    kind, vendor, subtype = _SELECTION_PROPERTY
    size = _SELECTION.size + len(body)
    method = b"hash" if fields else b"dp_hash"
    head = _SELECTION.pack(kind, size, vendor, subtype, method, group.hash_param)
    return head + body + PADDING[size & 7]


def bundle_open(bundle_id: int, xid: int) -> bytes:
    """Opens an ordered and atomic bundle."""
    return _BUNDLE_CONTROL.pack(VERSION, BUNDLE_CONTROL, 16, xid, bundle_id, _OPEN_REQUEST, _ATOMIC_ORDERED)


def bundle_commit(bundle_id: int, xid: int) -> bytes:
    """Puts all of a bundle into force, or nothing if one message fails."""
    return _BUNDLE_CONTROL.pack(VERSION, BUNDLE_CONTROL, 16, xid, bundle_id, _COMMIT_REQUEST, _ATOMIC_ORDERED)


def bundle_add(bundle_id: int, message: bytes) -> bytes:
    """``message`` inside a bundle, under its own transaction id, which errors then name."""
    xid = int.from_bytes(message[4:8], "big")
    return _BUNDLE_ADD.pack(6, 34, 16 + len(message), xid, bundle_id, _ATOMIC_ORDERED) + message


def bundle(delta: Delta, bundle_id: int, xids: Iterable[int]) -> bytes:
    """A whole ordered atomic bundle: open, groups, flows, flows gone, groups gone, commit.

    ``xids`` gives one transaction id a message, in that order: ``delta.bundled + 2``. Its meters are not in it.
    """
    ids = iter(xids)
    parts = [bundle_open(bundle_id, next(ids))]
    parts += [bundle_add(bundle_id, message) for message in messages(delta, ids)]
    parts.append(bundle_commit(bundle_id, next(ids)))
    return b"".join(parts)


def messages(delta: Delta, xids: Iterator[int]) -> Iterator[bytes]:
    """The messages of ``delta`` in the order in which no flow ever lacks its group."""
    for group in delta.add_groups:
        yield group_add(group, next(xids))
    for group in delta.modify_groups:
        yield group_modify(group, next(xids))
    for flow in delta.put_flows:
        yield flow_add(flow, next(xids))
    for flow in delta.remove_flows:
        yield flow_delete_strict(flow, next(xids))
    for group in delta.remove_groups:
        yield group_delete(group, next(xids))


def barrier(xid: int) -> bytes:
    """Asks for an answer when all before it is done."""
    return _HEADER.pack(VERSION, BARRIER_REQUEST, 8, xid)


def hello(xid: int) -> bytes:
    """The first message of a connection that speaks OpenFlow 1.5."""
    return _HEADER.pack(VERSION, HELLO, 8, xid)
