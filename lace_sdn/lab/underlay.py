"""The wire between nodes and hosts: every address on it is a direct neighbour of every other, whatever their prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from typing import TYPE_CHECKING

from lace_sdn.lab import LabError
from lace_sdn.lab.names import wire_mac

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lace_sdn.model.objects import Address, ExternalHost, Node

_LONGEST = {4: 24, 6: 64}
"""Wide enough that a node that joins rarely changes the prefix of the others."""


@dataclass(frozen=True, slots=True)
class Post:
    """A place on the wire: ``addresses`` with prefix length, ``neighbours`` that need a route of their own.

    ``gateways``: where it sends what is for pods, one a family.
    """

    mac: str
    addresses: tuple[str, ...]
    neighbours: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """All places on the wire by name, and the MAC behind each address."""

    nodes: Mapping[str, Post]
    hosts: Mapping[str, Post]

    @property
    def macs(self) -> dict[str, str]:
        posts = (*self.nodes.values(), *self.hosts.values())
        return {address.partition("/")[0]: post.mac for post in posts for address in post.addresses}


def wire(nodes: Sequence[Node], hosts: Sequence[ExternalHost] = ()) -> Wire:
    """Who is on the wire; a host that names no gateway has the first node.

    Raises LabError as ``addresses`` does, and for a host with an address that is another one's.
    """
    own = addresses(nodes)
    _check_hosts(nodes, hosts)
    every = [address for node in nodes for address in node.addresses]
    every += [address for host in hosts for address in host.addresses]
    by_node = {node.name: node.addresses for node in nodes}
    first = next(iter(by_node), "")
    return Wire(
        {node: Post(wire_mac("node", node), its, _beyond(its, every)) for node, its in own.items()},
        {host.name: _post(host, every, by_node.get(host.gateway or first, ())) for host in hosts},
    )


def _post(host: ExternalHost, every: Iterable[Address], gateway: Iterable[Address]) -> Post:
    own = tuple(f"{address}/{address.max_prefixlen}" for address in host.addresses)
    gateways = _first_of_each_family(gateway, host.addresses)
    return Post(wire_mac("host", host.name), own, _beyond(own, every), gateways)


def _beyond(own: Iterable[str], every: Iterable[Address]) -> tuple[str, ...]:
    """The addresses of families that it speaks which do not lie in its own prefixes."""
    prefixes = [ip_interface(address).network for address in own]
    spoken = {prefix.version for prefix in prefixes}
    return tuple(
        str(address)
        for address in every
        if address.version in spoken and not any(address in prefix for prefix in prefixes)
    )


def _first_of_each_family(gateways: Iterable[Address], own: Iterable[Address]) -> tuple[str, ...]:
    firsts = {gateway.version: str(gateway) for gateway in reversed(tuple(gateways))}
    spoken = {address.version for address in own}
    return tuple(firsts[version] for version in sorted(spoken & firsts.keys()))


def addresses(nodes: Iterable[Node]) -> dict[str, tuple[str, ...]]:
    """Each node's InternalIPs as ``address/length``. Raises LabError for a node without one or an address used twice."""
    nodes = tuple(nodes)
    _check(nodes)
    every = [address for node in nodes for address in node.addresses]
    lengths = {
        version: _covering([ip_network(address) for address in every if address.version == version])
        for version in (4, 6)
    }
    return {
        node.name: tuple(f"{address}/{lengths[address.version]}" for address in node.addresses)
        for node in nodes
    }


def _covering(hosts: list[IPv4Network | IPv6Network]) -> int:
    """The length of the longest prefix, no longer than usual, that holds all of them."""
    if not hosts:
        return 0
    length = _LONGEST[hosts[0].version]
    while length and len({host.supernet(new_prefix=length) for host in hosts}) > 1:
        length -= 1
    return length


def _check(nodes: tuple[Node, ...]) -> None:
    owner: dict[str, str] = {}
    for node in nodes:
        if not node.addresses:
            raise LabError(
                f'Node "{node.name}": no address of type InternalIP in status.addresses; the lab needs one for its tunnels'
            )
        for address in map(str, node.addresses):
            if owner.setdefault(address, node.name) != node.name:
                raise LabError(
                    f'Nodes "{owner[address]}" and "{node.name}" have the same InternalIP {address}'
                )


def _check_hosts(nodes: Iterable[Node], hosts: Iterable[ExternalHost]) -> None:
    owner = {address: f'Node "{node.name}"' for node in nodes for address in node.addresses}
    for host in hosts:
        its = f'ExternalHost "{host.name}"'
        for address in host.addresses:
            if owner.setdefault(address, its) != its:
                raise LabError(
                    f"{its} has the address {address} of {owner[address]}, expected one of its own"
                )
