"""One cluster with every trap in it: overlapping initiators and destinations, a pod outside its node's block, an external network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from typing import TYPE_CHECKING

from states import assemble, pod

from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import Network, NetworkType, Node, RoutingPolicy, Subnet

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState

NODES = tuple(Node(f"node{index}", (IPv4Address(f"192.168.50.{index + 1}"),)) for index in range(3))


def _network(name: str, key: int, ipv4: str, ipv6: str = "") -> Network:
    subnets = [Subnet(ip_network(ipv4), 24)] + ([Subnet(ip_network(ipv6), 64)] if ipv6 else [])
    return Network(name, NetworkType.L3, key, tuple(subnets))


NETWORKS = {
    each.name: each
    for each in (
        _network("ann", 0x64, "10.0.0.0/16", "fd00:0:0::/48"),
        _network("bob", 0xC8, "10.1.0.0/16", "fd00:0:1::/48"),
        _network("cat", 0x12C, "10.2.0.0/16"),
        _network("dan", 0x190, "10.0.0.0/16"),
        _network("bot", 0x1F4, "10.1.0.0/16"),
        _network("fay", 0x258, "10.0.0.0/16"),
        _network("xen", 0x2BC, "10.6.0.0/16"),
        Network("world", NetworkType.EXTERNAL, 0x320, (), (ip_network("10.0.0.0/8"),)),
    )
}

RELATIONS = (("ann", "bob"), ("dan", "bob"), ("fay", "bot"), ("ann", "cat"), ("cat", "bob"), ("ann", "world"))

POLICIES = tuple(
    RoutingPolicy(f"{source}-to-{destination}", NetworkSelector(source), NetworkSelector(destination))
    for source, destination in RELATIONS
)

# Name: network, node, host. Equal hosts on one node, in networks of one prefix, are equal addresses.
_PODS = {
    "ann0": ("ann", 0, 5),
    "ann0b": ("ann", 0, 6),
    "ann1": ("ann", 1, 5),
    "annmoved": ("ann", 0, 99),
    "bob0": ("bob", 0, 5),
    "bob1": ("bob", 1, 5),
    "bot1": ("bot", 1, 5),
    "cat0": ("cat", 0, 5),
    "cat2": ("cat", 2, 5),
    "dan0": ("dan", 0, 5),
    "fay0": ("fay", 0, 5),
    "xen0": ("xen", 0, 5),
    "xen2": ("xen", 2, 5),
}

_placed = {
    name: replace(pod(number, NETWORKS[network], node, host), name=name)
    for number, (name, (network, node, host)) in enumerate(_PODS.items(), start=1)
}
# Its address lies in the block of node0.
_placed["annmoved"] = replace(_placed["annmoved"], node="node2")

ARENA = assemble(NODES, tuple(NETWORKS.values()), POLICIES, tuple(_placed.values()))


def without_policy(name: str) -> ClusterState:
    """The arena after the policy was removed. Raises ValueError when there is none of that name."""
    kept = tuple(each for each in ARENA.routing_policies if each.name != name)
    if len(kept) == len(ARENA.routing_policies):
        raise ValueError(name)
    return replace(ARENA, routing_policies=kept)
