"""Meters on the wire (OpenFlow 1.5.1 sections 7.3.4.4, 7.3.5.14 and 7.3.5.15): changes, dumps, and what they dropped."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from lace_sdn.openflow.flow import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator

METER_MOD, MULTIPART_REQUEST = 29, 18
METER_STATS, METER_DESC = 9, 10
_ADD, _MODIFY, _DELETE = 0, 1, 2
_PKTPS, _BURST, _STATS = 2, 4, 8
_FLAGS: Final = _PKTPS | _BURST | _STATS
_DROP: Final = 1
_ALL: Final = 0xFFFFFFFF

_MOD: Final = struct.Struct("!BBHIHHI")
_BAND: Final = struct.Struct("!HHII4x")
_REQUEST: Final = struct.Struct("!BBHIHH4xI4x")
_DESC: Final = struct.Struct("!HHI")
_STATS_HEAD: Final = struct.Struct("!IH6xIQQII")
_BAND_STATS: Final = struct.Struct("!QQ")


class Metered(NamedTuple):
    """Packets since the meter was made: all that came to it, and those of them that it dropped."""

    packets: int
    dropped: int


def meter_add(meter: Meter, xid: int) -> bytes:
    """A new meter. Raises ValueError for numbers that do not fit."""
    return _meter_mod(_ADD, meter, xid)


def meter_modify(meter: Meter, xid: int) -> bytes:
    """Another rate or burst; flows that use the meter stay. Raises ValueError as meter_add."""
    return _meter_mod(_MODIFY, meter, xid)


def meter_delete(meter: Meter, xid: int) -> bytes:
    """Removes a meter. The switch removes the flows that use it as well."""
    return _MOD.pack(6, METER_MOD, _MOD.size, xid, _DELETE, 0, meter.id)


def _meter_mod(command: int, meter: Meter, xid: int) -> bytes:
    try:
        band = _BAND.pack(_DROP, _BAND.size, meter.rate, meter.burst)
        return _MOD.pack(6, METER_MOD, _MOD.size + len(band), xid, command, _FLAGS, meter.id) + band
    except struct.error as error:
        raise ValueError(f"{meter} does not fit into an OpenFlow message: {error}") from error


def meter_dump_request(xid: int) -> bytes:
    """Asks for all meters."""
    return _REQUEST.pack(6, MULTIPART_REQUEST, _REQUEST.size, xid, METER_DESC, 0, _ALL)


def meter_stats_request(xid: int) -> bytes:
    """Asks what all meters have counted."""
    return _REQUEST.pack(6, MULTIPART_REQUEST, _REQUEST.size, xid, METER_STATS, 0, _ALL)


def read_meter_dump(entries: bytes) -> list[Meter]:
    """All meters; one of a kind that this program never makes comes with a rate of 0. Raises ValueError if cut off."""
    meters: list[Meter] = []
    for entry in _entries(entries, 0, _DESC.size):
        _, flags, number = _DESC.unpack_from(entry)
        bands = entry[_DESC.size :]
        if flags == _FLAGS and len(bands) == _BAND.size and _BAND.unpack(bands)[:2] == (_DROP, _BAND.size):
            _, _, rate, burst = _BAND.unpack(bands)
            meters.append(Meter(number, rate, burst))
        else:
            meters.append(Meter(number, 0, 0))
    return meters


def read_meter_stats(entries: bytes) -> dict[int, Metered]:
    """By the meter's number. Raises ValueError if cut off."""
    found = {}
    for entry in _entries(entries, 4, _STATS_HEAD.size):
        number, _, _, packets, *_ = _STATS_HEAD.unpack_from(entry)
        bands = _BAND_STATS.iter_unpack(entry[_STATS_HEAD.size :])
        found[number] = Metered(packets, sum(dropped for dropped, _ in bands))
    return found


def _entries(data: bytes, place: int, least: int) -> Iterator[bytes]:
    """``place``: where in an entry its length stands; ``least``: that length at least."""
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start + place : start + place + 2], "big")
        if size < least or start + size > len(data):
            raise ValueError(f"meter at byte {start} of {len(data)}: {size} bytes long, so it is cut off")
        yield data[start : start + size]
        start += size
