"""Matches: a conjunction of terms, in one canonical order, printed as ovs-ofctl prints them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from lace_sdn.openflow.fields import (
    ARP_OP,
    CT_STATE,
    ETH_TYPE,
    ICMP_TYPE,
    ICMPV6_TYPE,
    IP_PROTO,
    EthType,
    Field,
    Form,
    IpProto,
    State,
    Term,
)


def format_value(field: Field, value: int) -> str:
    """The value of ``field`` as ovs-ofctl writes it."""
    match field.form:
        case Form.HEX | Form.STATE:
            return f"{value:#x}" if value else "0"
        case Form.DECIMAL:
            return str(value)
        case Form.MAC:
            return format_mac(value)
        case Form.IPV4:
            return str(IPv4Address(value))
        case Form.IPV6:
            return str(IPv6Address(value))


def format_mac(value: int) -> str:
    return ":".join(f"{value:012x}"[i : i + 2] for i in range(0, 12, 2))


def parse_mac(text: str) -> int:
    """``02:64:0a:00:01:05`` to its number. Raises ValueError for anything else."""
    parts = text.split(":")
    if len(parts) != 6 or not all(len(part) == 2 for part in parts):
        raise ValueError(f"{text!r} is not a MAC address")
    return int("".join(parts), 16)


def format_mask(field: Field, mask: int) -> str:
    """A prefix length where the mask is one, otherwise in the form of the field."""
    if field.form in (Form.IPV4, Form.IPV6):
        low = (mask ^ field.all_ones) + 1
        if low & (low - 1) == 0:
            return str(field.bits - low.bit_length() + 1)
    return format_value(field, mask)


def _format_state(term: Term) -> str:
    named = (
        ("+" if term.value >> bit & 1 else "-") + name
        for bit, name in enumerate(State.NAMES)
        if term.mask >> bit & 1
    )
    return "ct_state=" + "".join(named)


def _format_term(term: Term) -> str:
    if term.field is CT_STATE:
        return _format_state(term)
    text = f"{term.field.name}={format_value(term.field, term.value)}"
    return text if term.mask == term.field.all_ones else f"{text}/{format_mask(term.field, term.mask)}"


_KEYWORDS: Final = {
    (EthType.IPV4, None): "ip",
    (EthType.IPV6, None): "ipv6",
    (EthType.ARP, None): "arp",
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
        raise ValueError(f"{field.name}={value:#x}/{mask:#x} has bits outside its mask or its {field.bits} bits")
    return Term(field, value, mask)


def ct_state(text: str) -> Term:
    """``+new-rpl+trk`` as a term."""
    value = mask = 0
    for i in range(0, len(text), 4):
        bit = 1 << State.NAMES.index(text[i + 1 : i + 4])
        mask |= bit
        value |= bit if text[i] == "+" else 0
    return Term(CT_STATE, value, mask)


@dataclass(frozen=True, slots=True, init=False)
class Match:
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
        return ",".join(self._parts())

    def _parts(self) -> list[str]:
        """ovs-ofctl prints the protocol's word where the first address or register would stand."""
        ethernet, protocol = self.get(ETH_TYPE), self.get(IP_PROTO)
        word, swallowed = None, set[Field]()
        if ethernet is not None:
            word = _KEYWORDS.get((ethernet.value, protocol.value)) if protocol else None
            swallowed = {ETH_TYPE, IP_PROTO} if word else {ETH_TYPE}
            word = word or _KEYWORDS.get((ethernet.value, None))
        if word is None:
            swallowed = set()
        before = [each for each in self.terms if each.field.name.startswith("ct_")]
        after = [each for each in self.terms if each not in before and each.field not in swallowed]
        parts = [_format_term(each) for each in before]
        if word:
            parts.append(word)
        return parts + [_rename(each, word) for each in after]


def _rename(each: Term, word: str | None) -> str:
    text = _format_term(each)
    if each.field in (ICMP_TYPE, ICMPV6_TYPE):
        return text.replace("icmpv6_type", "icmp_type")
    return text


__all__ = [
    "ARP_OP",
    "KEYWORDS",
    "Match",
    "ct_state",
    "format_mac",
    "format_mask",
    "format_value",
    "parse_mac",
    "term",
]
