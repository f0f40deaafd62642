"""Packets between switch and controller (OpenFlow 1.5.1 sections 7.4.1 packet-in and 7.3.6 packet-out)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from lace_sdn.openflow.actions import Output
from lace_sdn.openflow.fields import IN_PORT, Port
from lace_sdn.openflow.wire.action_encoding import encode_list
from lace_sdn.openflow.wire.oxm import PADDING, Unreadable

PACKET_IN, PACKET_OUT = 10, 13
# Header, buffer, total length, reason, table, cookie; then the match: type, length, fields.
_PACKET_IN: Final = struct.Struct("!8x4x2xxBQHH")
_PACKET_OUT: Final = struct.Struct("!BBHIIH2xHH")
_NO_BUFFER: Final = 0xFFFFFFFF
_OXM_MATCH: Final = 1


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet that a flow of ``table`` with ``cookie`` sent here; it had come in by ``in_port``."""

    table: int
    cookie: int
    in_port: int
    frame: bytes


def read_packet_in(message: bytes) -> PacketIn:
    """A whole message. Raises Unreadable for one that is cut off or names no port."""
    try:
        table, cookie, kind, size = _PACKET_IN.unpack_from(message)
    except struct.error:
        raise Unreadable("a packet-in that is cut off") from None
    start = _PACKET_IN.size
    end = start - 4 + size
    data = end + len(PADDING[size & 7]) + 2
    if kind != _OXM_MATCH or size < 4 or data > len(message):
        raise Unreadable("a packet-in that is cut off")
    while start + 4 <= end:
        header, following = message[start : start + 4], start + 4 + message[start + 3]
        if header == IN_PORT.header and following <= end:
            port = int.from_bytes(message[start + 4 : following], "big")
            return PacketIn(table, cookie, port, message[data:])
        start = following
    raise Unreadable("a packet-in without a port")


def packet_out(frame: bytes, port: int, xid: int) -> bytes:
    """Put ``frame`` out by ``port`` of the switch."""
    actions = encode_list((Output(port),))
    fields = IN_PORT.header + Port.CONTROLLER.to_bytes(4, "big")
    match = 4 + len(fields)
    padding = PADDING[match & 7]
    size = _PACKET_OUT.size + len(fields) + len(padding) + len(actions) + len(frame)
    head = _PACKET_OUT.pack(6, PACKET_OUT, size, xid, _NO_BUFFER, len(actions), _OXM_MATCH, match)
    return head + fields + padding + actions + frame
