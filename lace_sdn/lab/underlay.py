"""The addresses of the nodes on the underlay, with the prefix that makes every node of a lab a neighbour of every other."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from lace_sdn.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.model.objects import Node

_LONGEST = {4: 24, 6: 64}
"""Wide enough that a node that joins rarely changes the prefix of the others."""


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
