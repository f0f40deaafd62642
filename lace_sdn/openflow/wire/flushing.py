"""Messages that make a switch forget connections: Open vSwitch's extensions NXT_CT_FLUSH_ZONE and NXT_CT_FLUSH (3.1 and later)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.wire.oxm import PADDING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_HEADER: Final = struct.Struct("!BBHIII")
_VERSION, _EXPERIMENTER, _NICIRA = 6, 4, 0x2320
_FLUSH_ZONE, _FLUSH = 29, 32
_ORIGINAL, _REPLY = 0, 1
_SOURCE, _DESTINATION, _SOURCE_PORT, _DESTINATION_PORT = range(4)


@dataclass(frozen=True, slots=True)
class TupleFilter:
    """One direction of the connections that are meant; None is any. Ports 1..65535."""

    source: IPv4Address | IPv6Address | None = None
    destination: IPv4Address | IPv6Address | None = None
    source_port: int | None = None
    destination_port: int | None = None


@dataclass(frozen=True, slots=True)
class ConnectionFilter:
    """Connections of an IP protocol, in all zones, by how their first packet was and how replies to it are."""

    protocol: int
    original: TupleFilter
    reply: TupleFilter = TupleFilter()

    def __str__(self) -> str:
        """As ``ovs-ofctl ct-flush BRIDGE`` takes it."""
        return " ".join(filter(None, (_text(self.protocol, each) for each in (self.original, self.reply))))


def ct_flush_zone(zone: int, xid: int) -> bytes:
    """Forget every connection of a zone (0..65535)."""
    return _HEADER.pack(_VERSION, _EXPERIMENTER, 24, xid, _NICIRA, _FLUSH_ZONE) + struct.pack("!6xH", zone)


def ct_flush(which: ConnectionFilter, xid: int) -> bytes:
    """Forget the connections that are meant. A switch that does not know the message answers an error."""
    body = struct.pack("!B7x", which.protocol)
    for kind, each in ((_ORIGINAL, which.original), (_REPLY, which.reply)):
        inner = _tuple(each)
        if inner:
            body += struct.pack("!HH4x", kind, 8 + len(inner)) + inner
    return _HEADER.pack(_VERSION, _EXPERIMENTER, 16 + len(body), xid, _NICIRA, _FLUSH) + body


def _tuple(each: TupleFilter) -> bytes:
    parts = [
        _property(kind, _as_ipv6(address))
        for kind, address in ((_SOURCE, each.source), (_DESTINATION, each.destination))
        if address is not None
    ]
    parts += [
        _property(kind, struct.pack("!H2x", port))
        for kind, port in ((_SOURCE_PORT, each.source_port), (_DESTINATION_PORT, each.destination_port))
        if port is not None
    ]
    return b"".join(parts)


def _property(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("!HH", kind, size) + value + PADDING[size & 7]


def _as_ipv6(address: IPv4Address | IPv6Address) -> bytes:
    """IPv4 addresses are carried as IPv4-mapped ones (RFC 4291 section 2.5.5.2)."""
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def _text(protocol: int, each: TupleFilter) -> str:
    prefix = {4: "ct_nw", 6: "ct_ipv6"}
    parts = [
        f"{prefix[address.version]}_{side}={address}"
        for side, address in (("src", each.source), ("dst", each.destination))
        if address is not None
    ]
    parts += [
        f"ct_tp_{side}={port}"
        for side, port in (("src", each.source_port), ("dst", each.destination_port))
        if port is not None
    ]
    return ",".join([*parts, f"ct_nw_proto={protocol}"]) if parts else ""
