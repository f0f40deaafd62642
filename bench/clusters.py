"""Clusters to measure with: plain values, built without manifests."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import LabelSelector, NetworkSelector, Operator, Requirement, labels
from lace_sdn.model.objects import (
    Allocation,
    Endpoint,
    Namespace,
    Network,
    NetworkType,
    Node,
    Port,
    Prefix,
    Protocol,
    RoutingPolicy,
    Subnet,
)

NODE = "node1"


def chain(networks: int, pods: int, *, dual_stack: bool) -> ClusterState:
    """``networks`` networks of ``pods`` pods, all on one node; each network may call the next one."""
    policies = tuple(RoutingPolicy(f"peer-{i:03}", _by_name(i), _by_name(i + 1)) for i in range(networks - 1))
    return _cluster(networks, pods, policies, dual_stack=dual_stack)


def mesh(networks: int) -> ClusterState:
    """``networks`` networks with one pod each, all on one node; everybody may call everybody."""
    selector = NetworkSelector(by_labels=LabelSelector((Requirement("vrf", Operator.IN, ("bench",)),)))
    return _cluster(networks, 1, (RoutingPolicy("mesh", selector, selector),), dual_stack=False)


def _name(i: int) -> str:
    return f"net-{i:03}"


def _by_name(i: int) -> NetworkSelector:
    return NetworkSelector(name=_name(i))


def _prefixes(i: int, *, dual_stack: bool) -> tuple[Prefix, ...]:
    ipv4 = IPv4Network((int(IPv4Address("10.0.0.0")) + (i << 16), 16))
    ipv6 = IPv6Network((int(IPv6Address("fd00::")) + (i << 80), 48))
    return (ipv4, ipv6) if dual_stack else (ipv4,)


def _cluster(
    networks: int, pods: int, policies: tuple[RoutingPolicy, ...], *, dual_stack: bool
) -> ClusterState:
    prefixes = [_prefixes(i, dual_stack=dual_stack) for i in range(networks)]
    return ClusterState(
        nodes=(Node(NODE, (ip_address("192.168.50.1"),)),),
        namespaces=tuple(Namespace(_name(i)) for i in range(networks)),
        networks=tuple(
            Network(
                _name(i),
                NetworkType.L3,
                i + 1,
                tuple(Subnet(prefix, 24 if prefix.version == 4 else 64) for prefix in prefixes[i]),
                labels=labels({"vrf": "bench"}),
            )
            for i in range(networks)
        ),
        routing_policies=policies,
        endpoints=tuple(_pod(i, p, prefixes[i]) for i in range(networks) for p in range(pods)),
        allocations=tuple(
            Allocation(
                _name(i), NODE, ip_network((prefix.network_address, 24 if prefix.version == 4 else 64))
            )
            for i in range(networks)
            for prefix in prefixes[i]
        ),
    )


def _pod(i: int, p: int, prefixes: tuple[Prefix, ...]) -> Endpoint:
    return Endpoint(
        namespace=_name(i),
        name=f"pod-{p}",
        node=NODE,
        network=_name(i),
        addresses=tuple(prefix[p + 1] for prefix in prefixes),
        mac=f"02:00:00:{p >> 8:02x}:{i:02x}:{p & 255:02x}",
        ports=(Port(Protocol.TCP, 8080),),
    )
