"""Which Networks cannot both be destinations of one source, because their prefixes overlap."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.policy.external import outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.objects import Network, Prefix


class _Entry(NamedTuple):
    version: int
    first: int
    length: int
    is_external: bool
    name: str
    prefix: Prefix


def conflicts(networks: Iterable[Network]) -> Mapping[str, Mapping[str, Prefix]]:
    """For each Network that has any: the Networks it conflicts with, and the prefix they share.

    What lies inside a pod prefix, or equals it, leaves open whose an address is. Inside an external prefix it does not: pod
    networks win for their own addresses, and of external ones each address belongs to one. Prefixes either nest or are
    disjoint, so one sweep in address order, pods' before equal external ones, meets every nested pair.
    """
    networks = tuple(networks)
    owners = outside(networks).owners
    entries = sorted(
        _Entry(
            prefix.version,
            int(prefix.network_address),
            prefix.prefixlen,
            network.is_external,
            network.name,
            prefix,
        )
        for network in networks
        for prefix in network.prefixes
        if not network.is_external or owners[prefix] == network.name
    )
    found: dict[str, dict[str, Prefix]] = defaultdict(dict)
    enclosing: list[_Entry] = []
    for entry in entries:
        while enclosing and not _contains(enclosing[-1], entry):
            enclosing.pop()
        for outer in enclosing:
            if outer.name != entry.name and not outer.is_external:
                found[outer.name].setdefault(entry.name, entry.prefix)
                found[entry.name].setdefault(outer.name, entry.prefix)
        enclosing.append(entry)
    return found


def _contains(outer: _Entry, inner: _Entry) -> bool:
    bits = 32 if outer.version == 4 else 128
    return outer.version == inner.version and outer.first >> (bits - outer.length) == inner.first >> (
        bits - outer.length
    )
