"""Matches: a conjunction of terms, in one canonical order, printed as ovs-ofctl prints them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.fields import (
    CT_LABEL,
    CT_STATE,
    ETH_TYPE,
    ICMPV6_CODE,
    ICMPV6_TYPE,
    IN_PORT,
    IP_PROTO,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_FLAGS,
    TCP_SRC,
    UDP_DST,
    UDP_SRC,
    VLAN,
    EthType,
    Field,
    Form,
    IpProto,
    Port,
    State,
    TcpFlag,
    Term,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def format_value(field: Field, value: int) -> str:
    """The value of ``field`` as ovs-ofctl writes it."""
    return FORMATS[field.form](value)


def _format_hex(value: int) -> str:
    return f"{value:#x}" if value else "0"


def format_mac(value: int) -> str:
    """A number of 48 bits as ``02:64:0a:00:01:05``."""
    return ":".join(f"{value:012x}"[i : i + 2] for i in range(0, 12, 2))


def _format_ipv4(value: int) -> str:
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def _format_ipv6(value: int) -> str:
    address = IPv6Address(value)
    if value >> 32 == 0xFFFF or (value >> 32 == 0 and value > 0xFFFF):
        # As inet_ntop(3): IPv4-mapped and IPv4-compatible addresses end in dots.
        return f"::{'ffff:' if value >> 32 else ''}{_format_ipv4(value & 0xFFFFFFFF)}"
    return str(address)


FORMATS: Final[dict[Form, Callable[[int], str]]] = {
    Form.HEX: _format_hex,
    Form.STATE: _format_hex,
    Form.FLAGS: _format_hex,
    Form.DECIMAL: str,
    Form.MAC: format_mac,
    Form.IPV4: _format_ipv4,
    Form.IPV6: _format_ipv6,
}


def parse_mac(text: str) -> int:
    """``02:64:0a:00:01:05`` to its number. Raises ValueError for anything else."""
    parts = text.split(":")
    if len(parts) != 6 or not all(len(part) == 2 for part in parts):
        raise ValueError(f"{text!r} is not a MAC address")
    return int("".join(parts), 16)


def parse_number(text: str, where: str) -> int:
    """Decimal, or hexadecimal behind ``0x``. Raises ValueError, quoting ``where``, for anything else."""
    try:
        number = int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        raise ValueError(f"{where!r}: {text!r} is no number") from None
    if number < 0:
        raise ValueError(f"{where!r}: {text!r} is negative")
    return number


def parse_value(field: Field, text: str) -> tuple[int, int]:
    """``VALUE`` or ``VALUE/MASK`` in the form of the field, as value and mask. Raises ValueError."""
    value, found, mask = text.partition("/")
    if not found:
        return _parse_part(field, value), field.all_ones
    if field.form in (Form.IPV4, Form.IPV6) and mask.isdecimal():
        if int(mask) > field.bits:
            raise ValueError(f"{field.name}={text!r}: a prefix length up to {field.bits} is expected")
        return _parse_part(field, value), (1 << field.bits) - (1 << field.bits - int(mask))
    return _parse_part(field, value), _parse_part(field, mask)


def _parse_part(field: Field, text: str) -> int:
    match field.form:
        case Form.MAC:
            return parse_mac(text)
        case Form.IPV4:
            return int(IPv4Address(text))
        case Form.IPV6:
            return int(IPv6Address(text))
        case _:
            return parse_number(text, f"{field.name}={text}")


def format_mask(field: Field, mask: int) -> str:
    """A prefix length where the mask of an address is one, otherwise in the form of the field (numbers: hexadecimal)."""
    if field.form in (Form.IPV4, Form.IPV6):
        low = (mask ^ field.all_ones) + 1
        if low & (low - 1) == 0:
            return str(field.bits - low.bit_length() + 1)
    return _format_hex(mask) if field.form is Form.DECIMAL else format_value(field, mask)


def _format_state(each: Term) -> str:
    bits = [(bit, name) for bit, name in enumerate(State.NAMES) if each.mask >> bit & 1]
    if each.mask == State.ALL:
        return "ct_state=" + ("|".join(name for bit, name in bits if each.value >> bit & 1) or "0")
    return "ct_state=" + "".join(("+" if each.value >> bit & 1 else "-") + name for bit, name in bits)


def _format_flags(each: Term) -> str:
    if each.mask == each.field.all_ones:
        names = [name for bit, name in enumerate(TcpFlag.NAMES) if each.value >> bit & 1]
        return f"tcp_flags={'|'.join(names) or '0'}"
    bits = [(bit, name) for bit, name in enumerate(TcpFlag.NAMES) if each.mask >> bit & 1]
    return "tcp_flags=" + "".join(("+" if each.value >> bit & 1 else "-") + name for bit, name in bits)


def _format_port(each: Term) -> str:
    return f"in_port={Port.NAMES.get(each.value, each.value)}"


def _format_transport(each: Term) -> str:
    name = "tp_src" if each.field in (TCP_SRC, UDP_SRC, SCTP_SRC) else "tp_dst"
    if each.mask == each.field.all_ones:
        return f"{name}={each.value}"
    return f"{name}={each.value:#x}/{each.mask:#x}"


def _format_icmpv6(each: Term) -> str:
    return f"{'icmp_type' if each.field is ICMPV6_TYPE else 'icmp_code'}={each.value}"


_SPECIAL: Final[dict[Field, Callable[[Term], str]]] = {
    CT_STATE: _format_state,
    IN_PORT: _format_port,
    VLAN: lambda each: f"vlan_tci={each.value:#06x}/{each.mask:#x}",
    ETH_TYPE: lambda each: f"dl_type={each.value:#06x}",
    TCP_SRC: _format_transport,
    TCP_DST: _format_transport,
    UDP_SRC: _format_transport,
    UDP_DST: _format_transport,
    SCTP_SRC: _format_transport,
    SCTP_DST: _format_transport,
    TCP_FLAGS: _format_flags,
    ICMPV6_TYPE: _format_icmpv6,
    ICMPV6_CODE: _format_icmpv6,
}
"""Fields that dumps write otherwise than ``name=value/mask``."""


def _format_term(each: Term) -> str:
    field, value, mask = each
    special = _SPECIAL.get(field)
    if special is not None:
        return special(each)
    text = f"{field.name}={FORMATS[field.form](value)}"
    return text if mask == field.all_ones else f"{text}/{format_mask(field, mask)}"


_KEYWORDS: Final = {
    (EthType.IPV4, None): "ip",
    (EthType.IPV6, None): "ipv6",
    (EthType.ARP, None): "arp",
    (EthType.RARP, None): "rarp",
    (EthType.MPLS, None): "mpls",
    (EthType.MPLS_MULTICAST, None): "mplsm",
    (EthType.IPV4, IpProto.TCP): "tcp",
    (EthType.IPV4, IpProto.UDP): "udp",
    (EthType.IPV4, IpProto.ICMP): "icmp",
    (EthType.IPV4, IpProto.SCTP): "sctp",
    (EthType.IPV6, IpProto.TCP): "tcp6",
    (EthType.IPV6, IpProto.UDP): "udp6",
    (EthType.IPV6, IpProto.ICMPV6): "icmp6",
    (EthType.IPV6, IpProto.SCTP): "sctp6",
}
KEYWORDS: Final = {word: key for key, word in _KEYWORDS.items()}


def term(field: Field, value: int, mask: int | None = None) -> Term:
    """``field`` equals ``value`` in the bits of ``mask`` (all, if None). Raises ValueError for bits outside either."""
    ones = field.all_ones
    mask = ones if mask is None else mask
    if mask & ~ones or value & ~mask:
        raise ValueError(
            f"{field.name}={value:#x}/{mask:#x} has bits outside its mask or its {field.bits} bits"
        )
    return Term(field, value, mask)


_STATE: Final = re.compile(f"([+-])({'|'.join(State.NAMES)})")
_STATES: Final = re.compile(f"(?:{_STATE.pattern})+")


def ct_state(text: str) -> Term:
    """``+new-rpl+trk`` as a term. Raises ValueError for anything else."""
    if not _STATES.fullmatch(text):
        raise ValueError(f"ct_state={text!r}: signs and states such as +new-rpl+trk are expected")
    value = mask = 0
    for sign, name in _STATE.findall(text):
        bit = 1 << State.NAMES.index(name)
        mask |= bit
        value |= bit if sign == "+" else 0
    return Term(CT_STATE, value, mask)


_FLAG: Final = re.compile(f"([+-])({'|'.join(TcpFlag.NAMES)})")
_FLAGS: Final = re.compile(f"(?:{_FLAG.pattern})+")


def tcp_flags(text: str) -> Term:
    """``+syn-ack`` as a term. Raises ValueError for anything else."""
    if not _FLAGS.fullmatch(text):
        raise ValueError(f"tcp_flags={text!r}: signs and flags such as +syn-ack are expected")
    value = mask = 0
    for sign, name in _FLAG.findall(text):
        bit = 1 << TcpFlag.NAMES.index(name)
        mask |= bit
        value |= bit if sign == "+" else 0
    return Term(TCP_FLAGS, value, mask)


class _Text:
    """Kept once it was asked for, without being part of the value: programs are sorted by it again and again."""

    __slots__ = ("_text",)
    _text: str


_keep_text = vars(_Text)["_text"].__set__


@dataclass(frozen=True, slots=True, init=False)
class Match(_Text):
    """Terms of one field are merged; ``Match()`` matches every packet. Raises ValueError when terms contradict."""

    terms: tuple[Term, ...]

    def __init__(self, *terms: Term) -> None:
        merged: dict[Field, Term] = {}
        for each in terms:
            if not each.mask:
                continue
            old = merged.get(each.field)
            if old is None:
                merged[each.field] = each
                continue
            both = old.mask & each.mask
            if old.value & both != each.value & both:
                raise ValueError(f"{_format_term(old)} contradicts {_format_term(each)}")
            merged[each.field] = Term(each.field, old.value | each.value, old.mask | each.mask)
        object.__setattr__(self, "terms", tuple(sorted(merged.values(), key=lambda each: each.field.rank)))

    def get(self, field: Field) -> Term | None:
        """The term of ``field``, None if it does not matter."""
        return next((each for each in self.terms if each.field is field), None)

    def overlaps(self, other: Match) -> bool:
        """Whether some packet matches both."""
        mine = {each.field: each for each in self.terms}
        for each in other.terms:
            own = mine.get(each.field)
            if own is not None and (own.value ^ each.value) & own.mask & each.mask:
                return False
        return True

    def __and__(self, other: Match) -> Match:
        return Match(*self.terms, *other.terms)

    def __str__(self) -> str:
        try:
            return self._text
        except AttributeError:
            _keep_text(self, ",".join(self._parts()))
            return self._text

    def _parts(self) -> list[str]:
        """The protocol's word stands behind the fields of conntrack, in place of the terms that it says."""
        known = {each.field: each.value for each in self.terms}
        ethernet, protocol = known.get(ETH_TYPE), known.get(IP_PROTO)
        word: str | None = None
        swallowed: tuple[Field, ...] = (ETH_TYPE,)
        if ethernet is not None:
            word = _KEYWORDS.get((ethernet, None))
            both = None if protocol is None else _KEYWORDS.get((ethernet, protocol))
            if both is not None:
                word, swallowed = both, (ETH_TYPE, IP_PROTO)
        if word is None:
            return [_format_term(each) for each in self.terms]
        parts = [_format_term(each) for each in self.terms if each.field not in swallowed]
        parts.insert(sum(each.field.rank <= CT_LABEL.rank for each in self.terms), word)
        return parts


__all__ = [
    "KEYWORDS",
    "Match",
    "ct_state",
    "format_mac",
    "format_mask",
    "format_value",
    "parse_mac",
    "parse_number",
    "parse_value",
    "tcp_flags",
    "term",
]
