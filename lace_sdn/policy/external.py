"""The world outside: which external Network an underlay address belongs to, by the longest matching prefix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.objects import Address, Network, Prefix

NOBODY: Final[tuple[Prefix, ...]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/127",
        "::ffff:0:0/96",
        "64:ff9b:1::/48",
        "fe80::/10",
        "ff00::/8",
    )
)
"""Addresses that are no host's on the underlay (RFC 6890, RFC 4291, RFC 8215): a shorter external prefix does not mean them."""


class Contest(NamedTuple):
    """``prefix`` is written in both Networks and belongs to ``keeper``."""

    prefix: Prefix
    keeper: str
    loser: str


@dataclass(frozen=True)
class Outside:
    """Who every underlay address belongs to. ``owners``: prefix -> Network; "" for addresses that are nobody's."""

    owners: Mapping[Prefix, str]
    contests: tuple[Contest, ...]

    @cached_property
    def _lengths(self) -> Mapping[int, tuple[int, ...]]:
        return {
            version: tuple(
                sorted({each.prefixlen for each in self.owners if each.version == version}, reverse=True)
            )
            for version in (4, 6)
        }

    def network_of(self, address: Address) -> str:
        """The external Network of ``address``; "" if it has none."""
        for length in self._lengths[address.version]:
            owner = self.owners.get(ip_network((address, length), strict=False))
            if owner is not None:
                return owner
        return ""


def outside(networks: Iterable[Network]) -> Outside:
    """Of two external Networks with one prefix the older keeps it, then the one that sorts first."""
    owners: dict[Prefix, str] = dict.fromkeys(NOBODY, "")
    contests = []
    for network in sorted(
        (each for each in networks if each.is_external), key=lambda each: (each.created, each.name)
    ):
        for prefix in dict.fromkeys(network.external_prefixes):
            keeper = owners.setdefault(prefix, network.name)
            if keeper != network.name:
                contests.append(Contest(prefix, keeper, network.name))
    return Outside(owners, tuple(contests))
