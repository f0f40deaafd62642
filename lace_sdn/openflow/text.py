"""Reads what flows and groups print: our canonical text, which is that of ``ovs-ofctl -O OpenFlow15`` dumps without statistics.

``#`` begins a comment, which becomes the owner. Every error is a ValueError that quotes the text and says what was expected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow import action_text
from lace_sdn.openflow.fields import (
    CT_STATE,
    ETH_TYPE,
    FIELD_BY_NAME,
    ICMP_CODE,
    ICMP_TYPE,
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
    Field,
    IpProto,
    Port,
    State,
    Term,
)
from lace_sdn.openflow.flow import DEFAULT_PRIORITY, Bucket, Flow, Group, Meter
from lace_sdn.openflow.match import KEYWORDS, Match, ct_state, parse_number, parse_value, tcp_flags, term

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["parse_actions", "parse_flow", "parse_group", "parse_match", "parse_meter", "parse_meters"]

parse_actions = action_text.parse_actions

# Names whose field depends on the protocol of the flow.
_BY_PROTOCOL: Final[dict[tuple[str, int], Field]] = {
    ("tp_src", IpProto.TCP): TCP_SRC,
    ("tp_dst", IpProto.TCP): TCP_DST,
    ("tp_src", IpProto.UDP): UDP_SRC,
    ("tp_dst", IpProto.UDP): UDP_DST,
    ("tp_src", IpProto.SCTP): SCTP_SRC,
    ("tp_dst", IpProto.SCTP): SCTP_DST,
    ("icmp_type", IpProto.ICMP): ICMP_TYPE,
    ("icmp_code", IpProto.ICMP): ICMP_CODE,
    ("icmp_type", IpProto.ICMPV6): ICMPV6_TYPE,
    ("icmp_code", IpProto.ICMPV6): ICMPV6_CODE,
}
_SHARED: Final = frozenset(name for name, _ in _BY_PROTOCOL)
_PORT_BY_NAME: Final = {name: number for number, name in Port.NAMES.items()}
_METHODS: Final = {"hash", "dp_hash"}
_METER: Final = re.compile(
    r"meter=(\d+),pktps,burst,stats,bands=type=drop,rate=(\d+),burst_size=(\d+)", re.ASCII
)
_FIELD_LIST: Final = re.compile(r",fields(?:\(([^()]*)\)|=(\w+))")


def parse_flow(text: str) -> Flow:
    """One line of ``dump-flows --no-stats --no-names``, or of a file for ``add-flows``."""
    body, _, comment = text.partition("#")
    head, found, actions = body.strip().partition("actions=")
    if not found:
        raise ValueError(f"{text.strip()!r} is no flow: actions=... is expected")
    numbers = {"cookie": 0, "table": 0, "priority": DEFAULT_PRIORITY}
    words = []
    for word in filter(None, (each.strip() for each in head.replace(", ", ",").strip().split(","))):
        name, _, value = word.partition("=")
        if name in numbers:
            numbers[name] = parse_number(value, word)
        else:
            words.append(word)
    match = _match_of(words)
    return Flow(
        numbers["table"],
        numbers["priority"],
        match,
        parse_actions(actions),
        numbers["cookie"],
        owner=comment.strip(),
    )


def parse_match(text: str) -> Match:
    """``ct_state=+trk,tcp,nw_src=10.0.0.0/24,tp_dst=80``; nothing matches all packets."""
    return _match_of(filter(None, (each.strip() for each in text.split(","))))


def _match_of(words: Iterable[str]) -> Match:
    words = tuple(words)
    terms = [each for word in words for each in _keyword(word)]
    known = {each.field: each.value for each in terms}
    for word in words:
        name, _, value = word.partition("=")
        if name == "nw_proto":
            known[IP_PROTO] = parse_number(value, word)
    terms += [_term(word, known.get(IP_PROTO)) for word in words if word not in KEYWORDS]
    return Match(*terms)


def _keyword(word: str) -> tuple[Term, ...]:
    ethernet, protocol = KEYWORDS.get(word, (None, None))
    if ethernet is None:
        return ()
    first = term(ETH_TYPE, ethernet)
    return (first,) if protocol is None else (first, term(IP_PROTO, protocol))


def _term(word: str, protocol: int | None) -> Term:
    name, found, value = word.partition("=")
    if name in _SHARED:
        field = None if protocol is None else _BY_PROTOCOL.get((name, protocol))
    else:
        field = FIELD_BY_NAME.get(name) or action_text.FIELD_BY_SET_NAME.get(name)
    if field is None or not found:
        raise ValueError(f"{word!r} in a match: a field with a value or a protocol is expected")
    if field is CT_STATE:
        return _state(value, word)
    if field is TCP_FLAGS:
        return tcp_flags(value)
    if field is IN_PORT and value in _PORT_BY_NAME:
        return term(IN_PORT, _PORT_BY_NAME[value])
    return term(field, *parse_value(field, value))


def _state(value: str, word: str) -> Term:
    if value[:1] in ("+", "-"):
        return ct_state(value)
    names = () if value == "0" else value.split("|")
    unknown = [name for name in names if name not in State.NAMES]
    if unknown:
        raise ValueError(
            f"{word!r}: {unknown[0]!r} is no connection state; one of {', '.join(State.NAMES)} is expected"
        )
    return Term(CT_STATE, sum(1 << State.NAMES.index(name) for name in names), State.ALL)


def parse_group(text: str) -> Group:
    """One line of ``dump-groups``, or of a file for ``add-groups``: a select group."""
    body, _, comment = text.partition("#")
    head, *buckets = re.split(r",\s*bucket=", body.strip())
    listed = _FIELD_LIST.search(head)
    names = (listed[1] or listed[2] or "") if listed else ""
    options = dict(each.strip().partition("=")[::2] for each in _FIELD_LIST.sub("", head).split(","))
    unknown = options.keys() - {"group_id", "type", "selection_method", "selection_method_param"}
    if unknown or options.get("type") != "select" or options.get("selection_method") not in _METHODS:
        raise ValueError(
            f"{text.strip()!r} is no group of ours: group_id, type=select, selection_method=hash or dp_hash are expected"
        )
    return Group(
        parse_number(options.get("group_id", ""), text.strip()),
        tuple(map(_bucket, buckets)),
        tuple(name.strip() for name in names.split(",") if name.strip()),
        parse_number(options.get("selection_method_param", "0"), text.strip()),
        owner=comment.strip(),
    )


def parse_meter(text: str) -> Meter:
    """One line of a file: what a Meter prints, and ``ovs-ofctl add-meter`` takes."""
    body, _, comment = text.partition("#")
    found = _METER.fullmatch(body.strip())
    if found is None:
        raise ValueError(
            f"{text.strip()!r} is no meter of ours: meter=N,pktps,burst,stats,bands=type=drop,rate=N,burst_size=N is expected"
        )
    number, rate, burst = map(int, found.groups())
    return Meter(number, rate, burst, owner=comment.strip())


def parse_meters(dump: str) -> list[Meter]:
    """What ``ovs-ofctl dump-meters`` prints, a meter on two lines; meters of another kind than ours are left out."""
    words = dump.replace("bands=\n", "bands=").replace(" ", ",").split()
    return [parse_meter(word) for word in words if _METER.fullmatch(word)]


def _bucket(text: str) -> Bucket:
    head, found, actions = text.partition("actions=")
    options = dict(each.partition(":")[::2] for each in filter(None, head.split(",")))
    if not found or options.keys() - {"bucket_id", "weight"} or "bucket_id" not in options:
        raise ValueError(f"bucket {text!r}: bucket_id:N, perhaps weight:N, and actions=... are expected")
    weight = parse_number(options.get("weight", "1"), text)
    return Bucket(parse_number(options["bucket_id"], text), parse_actions(actions), weight)
