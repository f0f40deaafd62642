"""Strategies: cluster states with a world outside: external Networks, hosts, NodePorts, probes, Services of the underlay."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from service_states import served_states
from states import AGES, TCP_PORT, UDP_PORT

from lace_sdn.model.labels import EVERYTHING, NetworkSelector
from lace_sdn.model.objects import (
    Backend,
    ExternalHost,
    HostPod,
    Network,
    NetworkType,
    Port,
    Protocol,
    RoutingPolicy,
    Service,
    ServicePolicy,
    ServicePort,
)
from lace_sdn.policy.external import outside

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Endpoint

PREFIXES = [
    ip_network(text)
    for text in (
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.7.0/24",
        "203.0.113.0/24",
        "203.0.113.128/25",
        "192.168.0.0/16",
        "::/0",
        "2001:db8::/32",
        "2001:db8:7::/48",
        "fd00::/16",
    )
]
"""Nested, equal by chance, around pods' prefixes, and around the nodes."""
HOSTS = (
    ("203.0.113.7", "2001:db8:7::7"),
    ("203.0.113.200",),
    ("10.1.7.7", "fd00:1::7"),
    ("198.51.100.7", "2001:db8:8::7"),
)
NODE_PORTS = (30080, 30053)
API_PORT = 6443


@st.composite
def outside_states(draw: DrawFn) -> ClusterState:
    """A state with at least one external Network, two hosts, and policies from and to them by name."""
    state = draw(served_states())
    state = replace(state, networks=tuple(each for each in state.networks if not each.is_external))
    if not state.networks:
        return state
    state = draw(with_networks(draw(with_node_addresses(state))))
    hosts = [
        ExternalHost(
            f"host{number}",
            tuple(map(ip_address, addresses)),
            (Port(Protocol.TCP, 443), Port(Protocol.UDP, 6081)),
            draw(st.sampled_from(["", *state.node_by_name])),
        )
        for number, addresses in enumerate(draw(st.permutations(HOSTS))[:2])
    ]
    api = HostPod("pods", "api", state.nodes[0].name, (Port(Protocol.TCP, API_PORT),))
    state = replace(state, external_hosts=tuple(hosts), host_pods=(api,))
    state = draw(with_probes(state))
    state = draw(with_node_ports(state))
    state = draw(with_underlay_service(state))
    return draw(with_policies(state))


@st.composite
def with_node_addresses(draw: DrawFn, state: ClusterState) -> ClusterState:
    """Three nodes in four have both families, the others of a cluster one: IPv4, or IPv6 in one cluster of three.

    Any two have a family in common.
    """
    is_ipv6 = not draw(st.integers(0, 2))
    nodes = []
    for number, node in enumerate(state.nodes, start=1):
        own = node.addresses, (ip_address(f"2001:db8:50::{number}"),)
        its = own[0] + own[1] if draw(st.integers(0, 3)) else own[is_ipv6]
        nodes.append(replace(node, addresses=its))
    return replace(state, nodes=tuple(nodes))


@st.composite
def with_networks(draw: DrawFn, state: ClusterState) -> ClusterState:
    taken = {each.key for each in state.networks}
    free = [number for number in range(1, 30) if number not in taken]
    found = [
        Network(
            f"out{number}",
            NetworkType.EXTERNAL,
            free[number],
            external_prefixes=tuple(
                draw(st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=3, unique=True))
            ),
            created=draw(st.sampled_from(AGES)),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    return replace(state, networks=tuple(sorted((*state.networks, *found), key=lambda each: each.name)))


@st.composite
def with_probes(draw: DrawFn, state: ClusterState) -> ClusterState:
    """A pod in two; none whose address another pod of its node has."""
    owners: dict[tuple[str, object], int] = {}
    for each in state.endpoints:
        for address in each.addresses:
            owners[each.node, address] = owners.get((each.node, address), 0) + 1
    endpoints: list[Endpoint] = []
    for each in state.endpoints:
        is_alone = all(owners[each.node, address] == 1 for address in each.addresses)
        ports = draw(st.sampled_from(((), (TCP_PORT,), (9090,), (TCP_PORT, 9090)))) if is_alone else ()
        endpoints.append(replace(each, probes=ports))
    return replace(state, endpoints=tuple(endpoints))


@st.composite
def with_node_ports(draw: DrawFn, state: ClusterState) -> ClusterState:
    free = list(NODE_PORTS)
    services = []
    for each in state.services:
        ports = tuple(
            replace(port, node_port=free.pop()) if free and draw(st.booleans()) else port
            for port in each.ports
        )
        services.append(replace(each, ports=ports, is_local_by_node_port=draw(st.booleans())))
    return replace(state, services=tuple(services))


@st.composite
def with_underlay_service(draw: DrawFn, state: ClusterState) -> ClusterState:
    """Sometimes with a Service whose endpoints are the first node and a host, as far as these are of one Network."""
    classes = outside(state.networks)
    addresses = (*state.nodes[0].addresses[:1], *state.external_hosts[0].addresses[:1])
    owners = {address: classes.network_of(address) for address in addresses}
    names = sorted(set(owners.values()) - {""})
    if not names or not draw(st.integers(0, 2)):
        return state
    name = draw(st.sampled_from(names))
    nodes = {address: node.name for node in state.nodes for address in node.addresses}
    behind = tuple(
        Backend(address, API_PORT, nodes.get(address, ""))
        for address in sorted(
            (each for each, owner in owners.items() if owner == name), key=lambda each: (each.version, each)
        )
    )
    vips = (ip_address("10.96.0.200"), ip_address("fd00:96::c8"))
    port = ServicePort(Protocol.TCP, 443, "api", behind)
    service = Service("pods", "zz-api", name, vips, (port,), draw(st.sampled_from((0, 0, 60))))
    return replace(state, services=(*state.services, service))


@st.composite
def with_policies(draw: DrawFn, state: ClusterState) -> ClusterState:
    """Pairs with an external end by name: routes and services, more often than not."""
    external = [each.name for each in state.networks if each.is_external]
    inside = [each.name for each in state.networks if not each.is_external]
    routes, services = list(state.routing_policies), list(state.service_policies)
    for one in external:
        for other in inside:
            for source, destination in ((one, other), (other, one)):
                selectors = NetworkSelector(source), NetworkSelector(destination)
                name, age = f"{source}-{destination}", draw(st.sampled_from(AGES))
                kind = draw(st.sampled_from(("none", "route", "route", "services")))
                if kind == "route":
                    routes.append(RoutingPolicy(f"r-{name}", *selectors, age))
                elif kind == "services":
                    services.append(ServicePolicy(f"s-{name}", *selectors, EVERYTHING, age))
    return replace(state, routing_policies=tuple(routes), service_policies=tuple(services))


__all__ = ["API_PORT", "UDP_PORT", "outside_states"]
