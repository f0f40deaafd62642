"""Which Networks cannot both be destinations of one source, because their prefixes overlap."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.objects import Network, Prefix


class _Entry(NamedTuple):
    version: int
    first: int
    length: int
    name: str
    is_external: bool
    prefix: Prefix


def are_ambiguous(outer: _Entry, inner: _Entry) -> bool:
    """Whether a prefix and one inside it (or equal) leave open which network an address means.

    Pod networks: always. External ones: only when equal, longest prefix decides otherwise. An external prefix may
    contain a pod prefix, never equal it or lie inside one.
    """
    if outer.is_external and inner.is_external:
        return outer.length == inner.length
    if outer.is_external:
        return outer.length == inner.length
    return True


def conflicts(networks: Iterable[Network]) -> Mapping[str, Mapping[str, Prefix]]:
    """For each Network that has any: the Networks it conflicts with, and the prefix they share.

    Prefixes either nest or are disjoint, so one sweep in address order meets every nested pair.
    """
    entries = sorted(
        _Entry(
            prefix.version,
            int(prefix.network_address),
            prefix.prefixlen,
            network.name,
            network.is_external,
            prefix,
        )
        for network in networks
        for prefix in network.prefixes
    )
    found: dict[str, dict[str, Prefix]] = defaultdict(dict)
    enclosing: list[_Entry] = []
    for entry in entries:
        while enclosing and not _contains(enclosing[-1], entry):
            enclosing.pop()
        for outer in enclosing:
            if outer.name != entry.name and are_ambiguous(outer, entry):
                found[outer.name].setdefault(entry.name, entry.prefix)
                found[entry.name].setdefault(outer.name, entry.prefix)
        enclosing.append(entry)
    return found


def _contains(outer: _Entry, inner: _Entry) -> bool:
    bits = 32 if outer.version == 4 else 128
    return outer.version == inner.version and outer.first >> (bits - outer.length) == inner.first >> (
        bits - outer.length
    )
