"""The nft table of a node: from a ``HostProgram`` to the document that libnftables-json(5) describes. Pure."""

from __future__ import annotations

import json
from ipaddress import collapse_addresses
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.model.objects import Protocol
from lace_sdn.pipeline.constants import (
    GATEWAY_INTERFACE,
    NODE_PORT_ADDRESS,
    OUTWARD_SOURCES,
    TUNNELS_UDP_PORT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.model.objects import Prefix
    from lace_sdn.pipeline.host import HostProgram

    Json = dict[str, Any]

FAMILY: Final = "inet"
TABLE: Final = "lace-sdn"

_PAYLOAD: Final = {4: "ip", 6: "ip6"}
PROTOCOL_NUMBER: Final = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}
"""In numbers, because nft takes the names from /etc/protocols, which a small image does not have."""
_ESTABLISHED, _RELATED, _NEW = 2, 4, 8
"""nft's bits of ``ct state``: with ``--numeric`` they are listed so."""

_BASE_CHAINS: Final = (
    ("guard", "filter", "prerouting", -300),
    ("node-ports", "nat", "prerouting", -100),
    ("own-guard", "filter", "output", -300),
    ("own-node-ports", "nat", "output", -100),
    ("input", "filter", "input", 0),
    ("forward", "filter", "forward", 0),
    ("outward", "nat", "postrouting", 100),
    ("last-guard", "filter", "postrouting", 300),
)
"""Name, type, hook and priority (nft(8))."""


def document(program: HostProgram) -> Json:
    """One transaction that puts this table in place of any former one; no other table is named in it."""
    table = {"table": {"family": FAMILY, "name": TABLE}}
    content = [*_sets(program), *_chains(), *_rules()]
    return {"nftables": [{"add": table}, {"delete": table}, *({"add": each} for each in (table, *content))]}


def removal() -> Json:
    """One transaction after which the table is not there, whether it was or not."""
    table = {"table": {"family": FAMILY, "name": TABLE}}
    return {"nftables": [{"add": table}, {"delete": table}]}


def normal_form(listed: Json) -> tuple[str, ...]:
    """What a document or a listing says, without what differs between equal tables: handles, counts, order where none is meant."""
    objects = [each.get("add", each) for each in listed["nftables"]]
    named = [(kind, value) for each in objects for kind, value in each.items() if kind not in _NO_CONTENT]
    rules = [value for kind, value in named if kind == "rule"]
    rest = {_text({kind: _without_order(value)}) for kind, value in named if kind != "rule"}
    # Within a chain the order is the meaning; sorted() keeps it.
    return (
        *sorted(rest),
        *(_text(_without_counts(rule)) for rule in sorted(rules, key=lambda rule: str(rule["chain"]))),
    )


_NO_CONTENT = frozenset({"metainfo", "delete"})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _without_order(value: Json) -> Json:
    kept = {key: each for key, each in value.items() if key not in {"handle", "comment"}}
    return {**kept, "elem": sorted(kept["elem"], key=_text)} if "elem" in kept else kept


def _without_counts(rule: Json) -> Json:
    statements = [{"counter": None} if "counter" in each else each for each in rule["expr"]]
    return {key: each for key, each in rule.items() if key != "handle"} | {"expr": statements}


def _sets(program: HostProgram) -> Iterator[Json]:
    for version, payload in _PAYLOAD.items():
        kind = f"{'ipv4' if version == 4 else 'ipv6'}_addr"
        addresses = [str(each) for each in program.addresses if each.version == version]
        yield _set(f"addresses{version}", kind, sorted(set(addresses)))
        ports = {
            (PROTOCOL_NUMBER[each.protocol], each.number)
            for each in program.node_ports
            if each.version == version
        }
        yield _set(
            f"ports{version}",
            ["inet_proto", "inet_service"],
            [{"concat": list(each)} for each in sorted(ports)],
        )
        routes = [each for each in program.routes if _PAYLOAD[each.version] == payload]
        yield _set(f"routes{version}", kind, _intervals(routes), flags=["interval"])


def _set(name: str, kind: str | list[str], elements: list[Any], **more: Any) -> Json:
    """An empty set has no elements in its listing, not an empty list."""
    content = {"elem": elements} if elements else {}
    return {"set": {"family": FAMILY, "table": TABLE, "name": name, "type": kind, **more, **content}}


def _intervals(prefixes: Iterable[Prefix]) -> list[Any]:
    """None inside another: nft refuses those."""
    whole: list[Prefix] = list(collapse_addresses(prefixes))  # type: ignore[type-var]
    return [_prefix(each) for each in whole]


def _prefix(prefix: Prefix) -> Any:
    if prefix.prefixlen == prefix.max_prefixlen:
        return str(prefix.network_address)
    return {"prefix": {"addr": str(prefix.network_address), "len": prefix.prefixlen}}


def _chains() -> Iterator[Json]:
    for name, kind, hook, priority in _BASE_CHAINS:
        yield {
            "chain": {
                "family": FAMILY,
                "table": TABLE,
                "name": name,
                "type": kind,
                "hook": hook,
                "prio": priority,
                "policy": "accept",
            }
        }


def _rules() -> Iterator[Json]:
    """The same for every node: what differs between programs is in the sets."""
    parts: Mapping[str, Iterable[tuple[str, list[Json]]]] = {
        "guard": _guard(),
        "own-guard": [
            (
                "nor does the node call where node ports lead",
                [_address(version, "daddr", str(NODE_PORT_ADDRESS[version])), *_DROP],
            )
            for version in _PAYLOAD
        ],
        "node-ports": _node_ports(_FROM_ELSEWHERE),
        "own-node-ports": _node_ports(),
        "input": [("pods must not speak to tunnel ends", [_FROM_BRIDGE, _GENEVE, *_DROP])],
        "forward": _forward(),
        "outward": [
            ("pods call the world as the node", [_TO_ELSEWHERE, _source(version), {"masquerade": None}])
            for version in _PAYLOAD
        ],
        "last-guard": [
            ("inner addresses never leave", [_TO_ELSEWHERE, _to("lo", "!="), _source(version), *_DROP])
            for version in _PAYLOAD
        ],
    }
    for chain, rules in parts.items():
        for comment, statements in rules:
            yield {
                "rule": {
                    "family": FAMILY,
                    "table": TABLE,
                    "chain": chain,
                    "comment": comment,
                    "expr": statements,
                }
            }


def _guard() -> Iterator[tuple[str, list[Json]]]:
    """Before conntrack and before any translation: destinations are what the sender wrote."""
    yield "the node speaks to itself", [_from("lo"), {"accept": None}]
    for version in _PAYLOAD:
        own = _address(version, "saddr", f"@addresses{version}")
        yield "no pod has an address of the node", [_FROM_BRIDGE, own, *_DROP]
        yield "pods do not call inner addresses", [_FROM_BRIDGE, _destination(version), *_DROP]
        yield "inner sources come by the bridge alone", [_FROM_ELSEWHERE, _source(version), *_DROP]
        yield "nobody outside calls inner addresses", [_FROM_ELSEWHERE, _destination(version), *_DROP]


def _node_ports(*where: Json) -> Iterator[tuple[str, list[Json]]]:
    for version, payload in _PAYLOAD.items():
        own = _address(version, "daddr", f"@addresses{version}")
        translate = {"dnat": {"family": payload, "addr": str(NODE_PORT_ADDRESS[version])}}
        yield "node ports lead to the bridge", [*where, own, _port(version), translate]


def _forward() -> Iterator[tuple[str, list[Json]]]:
    yield "the bridge knows its own ways", [_FROM_BRIDGE, _to(GATEWAY_INTERFACE), *_DROP]
    yield "pods must not speak to tunnel ends", [_FROM_BRIDGE, _GENEVE, *_DROP]
    new = _match({"ct": {"key": "state"}}, _NEW, "in")
    for version in _PAYLOAD:
        routed = _address(version, "daddr", f"@routes{version}")
        yield "the way out is no way to pods", [_FROM_BRIDGE, new, routed, *_DROP]
    yield "not into the bridge", [_TO_ELSEWHERE, {"accept": None}]
    replies = _match({"ct": {"key": "state"}}, [_ESTABLISHED, _RELATED], "in")
    yield "what belongs to a known connection", [replies, {"accept": None}]
    for version in _PAYLOAD:
        called = _address(version, "daddr", str(NODE_PORT_ADDRESS[version]))
        yield "calls of node ports", [called, {"accept": None}]
        routed = _address(version, "daddr", f"@routes{version}")
        yield "calls of pods and virtual addresses", [routed, {"accept": None}]
    yield "nothing else enters the bridge", [*_DROP]


def _match(left: Json, right: Any, operator: str = "==") -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


def _from(device: str, operator: str = "==") -> Json:
    return _match({"meta": {"key": "iifname"}}, device, operator)


def _to(device: str, operator: str = "==") -> Json:
    return _match({"meta": {"key": "oifname"}}, device, operator)


def _address(version: int, field: str, right: Any) -> Json:
    return _match({"payload": {"protocol": _PAYLOAD[version], "field": field}}, right)


def _source(version: int) -> Json:
    return _address(version, "saddr", _prefix(OUTWARD_SOURCES[version]))


def _destination(version: int) -> Json:
    return _address(version, "daddr", _prefix(OUTWARD_SOURCES[version]))


def _port(version: int) -> Json:
    protocol = {"meta": {"key": "l4proto"}}
    port = {"payload": {"protocol": "th", "field": "dport"}}
    return _match({"concat": [protocol, port]}, f"@ports{version}")


_FROM_BRIDGE: Final = _from(GATEWAY_INTERFACE)
_FROM_ELSEWHERE: Final = _from(GATEWAY_INTERFACE, "!=")
_TO_ELSEWHERE: Final = _to(GATEWAY_INTERFACE, "!=")
_GENEVE: Final = _match({"payload": {"protocol": "udp", "field": "dport"}}, TUNNELS_UDP_PORT)
_DROP: Final[tuple[Json, ...]] = ({"counter": None}, {"drop": None})
