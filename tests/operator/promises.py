"""What must hold after every single request, whoever made it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import combinations
from typing import TYPE_CHECKING

from lace_sdn.kube.api.resources import ALLOCATIONS, NETWORK_ENDPOINTS, NETWORK_KEYS, NETWORKS
from lace_sdn.operator.facts import block, claim, network_fact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memory_api import Data
    from world import World

    from lace_sdn.operator.facts import Block, NetworkFact


@dataclass
class Promises:
    """Sees the server after every request. ``written_by_users``: Networks whose key was written by a user, until it is claimed."""

    world: World
    written_by_users: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    _keys: dict[str, int] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        for sentence in self._sentences():
            if sentence not in self.broken:
                self.broken.append(sentence)

    def _sentences(self) -> Iterator[str]:
        server = self.world.server
        networks = [network_fact(each) for each in server.of(NETWORKS).values()]
        blocks = [block(each) for each in server.of(ALLOCATIONS).values()]
        endpoints = [
            each
            for key, each in server.of(NETWORK_ENDPOINTS).items()
            if self.world.plugged.get("/".join(key)) == each["metadata"]["uid"]
        ]
        yield from self._keys_are_unique(networks, blocks, endpoints)
        yield from _blocks_are_apart(blocks)
        yield from _addresses_are_unique(endpoints)
        yield from _endpoints_have_homes(endpoints, networks, blocks)

    def _keys_are_unique(
        self, networks: list[NetworkFact], blocks: list[Block], endpoints: list[Data]
    ) -> Iterator[str]:
        for each in networks:
            yield from self._key_is_claimed(each)
        holders: dict[int, set[str]] = defaultdict(set)
        present = {each.name for each in networks if each.key}
        carried = {each.network for each in blocks} | {each["spec"]["network"] for each in endpoints}
        for name in present | carried:
            if name in self._keys and name not in self.written_by_users:
                holders[self._keys[name]].add(name)
        for number, names in holders.items():
            if len(names) > 1:
                yield f"key {number} is that of {sorted(names)}"

    def _key_is_claimed(self, network: NetworkFact) -> Iterator[str]:
        found = self.world.server.of(NETWORK_KEYS).get(("", str(network.key)))
        owner = claim(found) if found else None
        is_claimed = owner is not None and owner.network == network.name
        if is_claimed:
            self.written_by_users.discard(network.name)
        if not network.key or network.name in self.written_by_users:
            return
        if self._numbers.setdefault(network.uid, network.key) != network.key:
            yield f"Network {network.name} had key {self._numbers[network.uid]} and has {network.key}"
        self._keys[network.name] = network.key
        if not is_claimed:
            yield f"Network {network.name} has key {network.key} without a claim"
        if not network.is_held:
            yield f"Network {network.name} has a key and no finalizer"


def _blocks_are_apart(blocks: list[Block]) -> Iterator[str]:
    for one, other in combinations(blocks, 2):
        if one.network == other.network and any(
            mine.overlaps(its)
            for mine in one.prefixes
            for its in other.prefixes
            if mine.version == its.version
        ):
            yield f"{one.name} of {one.node} and {other.name} of {other.node} overlap"


def _addresses_are_unique(endpoints: list[Data]) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for each in endpoints:
        for address in each["spec"]["addresses"]:
            name = each["metadata"]["name"]
            first = seen.setdefault((each["spec"]["network"], address), name)
            if first != name:
                yield f"{address} is that of {first} and {name}"


def _endpoints_have_homes(
    endpoints: list[Data], networks: list[NetworkFact], blocks: list[Block]
) -> Iterator[str]:
    names = {each.name for each in networks}
    for each in endpoints:
        spec, pod = each["spec"], each["metadata"]["name"]
        if spec["network"] not in names:
            yield f"Network {spec['network']} is gone under pod {pod}"
        own = [it for it in blocks if (it.network, it.node) == (spec["network"], spec["node"])]
        for address in map(ip_network, spec["addresses"]):
            prefixes = [prefix for it in own for prefix in it.prefixes if prefix.version == address.version]
            if not any(address.subnet_of(prefix) for prefix in prefixes):
                yield f"the block of {address} of pod {pod} is gone"
