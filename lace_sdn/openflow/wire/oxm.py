"""Match fields on the wire (OpenFlow 1.5.1 section 7.2.3): a header of four bytes, the value, perhaps a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from lace_sdn.openflow.fields import FIELDS, NXM_0, NXM_1, Field, Slice, Term

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")

CACHE_LIMIT: Final = 30_000
"""Entries that a cache holds before it starts anew: some megabytes, whatever passes through a process."""

PADDING: Final = tuple(bytes(-size % 8) for size in range(8))
"""What brings ``size`` bytes to a multiple of 8: ``PADDING[size & 7]``."""


class Unreadable(ValueError):  # noqa: N818 (what the bytes are, not a mistake)
    """Bytes that say something this program never says."""


class Cache(dict[K, V], Generic[K, V]):
    """What ``make(key)`` gave, remembered; it empties itself at ``CACHE_LIMIT`` entries. Failures are not remembered."""

    def __init__(self, make: Callable[[K], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        if len(self) >= CACHE_LIMIT:
            self.clear()
        self[key] = value
        return value


def encode_terms(terms: tuple[Term, ...]) -> bytes:
    """Match fields in their order. Measured: writing them anew is faster than looking their bytes up."""
    parts: list[bytes] = []
    for field, value, mask in terms:
        octets = field.octets
        if mask == field.all_ones:
            parts += (field.header, value.to_bytes(octets, "big"))
        else:
            parts += (field.masked_header, value.to_bytes(octets, "big"), mask.to_bytes(octets, "big"))
    return b"".join(parts)


# Open vSwitch writes the older headers of the same fields into its vendor actions (nicira-ext.h).
_OLDER: Final = {
    "dl_dst": (NXM_0, 1),
    "dl_src": (NXM_0, 2),
    "dl_type": (NXM_0, 3),
    "nw_proto": (NXM_0, 6),
    "nw_src": (NXM_0, 7),
    "nw_dst": (NXM_0, 8),
    "tcp_src": (NXM_0, 9),
    "tcp_dst": (NXM_0, 10),
    "udp_src": (NXM_0, 11),
    "udp_dst": (NXM_0, 12),
    "icmp_type": (NXM_0, 13),
    "icmp_code": (NXM_0, 14),
    "arp_op": (NXM_0, 15),
    "arp_spa": (NXM_0, 16),
    "arp_tpa": (NXM_0, 17),
    "tun_id": (NXM_1, 16),
    "arp_sha": (NXM_1, 17),
    "arp_tha": (NXM_1, 18),
    "ipv6_src": (NXM_1, 19),
    "ipv6_dst": (NXM_1, 20),
    "icmpv6_type": (NXM_1, 21),
    "icmpv6_code": (NXM_1, 22),
}


def _older_header(field: Field, number: tuple[int, int]) -> bytes:
    return (number[0] << 16 | number[1] << 9 | field.octets).to_bytes(4, "big")


VENDOR_HEADER: Final[dict[Field, bytes]] = {
    field: _older_header(field, _OLDER[field.name]) if field.name in _OLDER else field.header
    for field in FIELDS
}
"""The header of a field inside vendor actions, as Open vSwitch writes it."""

FIELD_BY_HEADER: Final[dict[bytes, Field]] = {
    **{header: field for field, header in VENDOR_HEADER.items()},
    **{field.header: field for field in FIELDS},
}
FIELD_BY_MASKED_HEADER: Final = {field.masked_header: field for field in FIELDS}


def decode_term(data: bytes) -> Term:
    """A term from exactly its bytes. Raises Unreadable for a field that is not in FIELDS."""
    header = data[:4]
    field = FIELD_BY_HEADER.get(header)
    if field is not None:
        return Term(field, int.from_bytes(data[4:], "big"), field.all_ones)
    field = FIELD_BY_MASKED_HEADER.get(header)
    if field is None:
        raise Unreadable(f"a field with the header {header.hex()} is not known")
    end = 4 + field.octets
    return Term(field, int.from_bytes(data[4:end], "big"), int.from_bytes(data[end:], "big"))


def slice_of(header: bytes, low: int, width: int) -> Slice:
    """Bits of the field with this header. Raises Unreadable for a field that is not in FIELDS."""
    field = FIELD_BY_HEADER.get(header)
    if field is None:
        raise Unreadable(f"a field with the header {header.hex()} is not known")
    return Slice(field, low, width)
