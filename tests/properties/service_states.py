"""Strategies: cluster states with Services, ServiceRoutingPolicies, zones, and endpoints in every condition."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from states import AGES, SMALL, TCP_PORT, UDP_PORT, Shape, network_labels, requirements, selectors, states

from lace_sdn.model.labels import EVERYTHING, LabelSelector, NetworkSelector, labels
from lace_sdn.model.objects import (
    MAX_NETWORK_KEY,
    ZONE_LABEL,
    Backend,
    Namespace,
    Protocol,
    Service,
    ServicePolicy,
    ServicePort,
)
from lace_sdn.policy.ends import SERVICE_PREFIX
from lace_sdn.policy.oracle import Connection

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Endpoint, Network

NAMESPACES = ("pods", "front", "inner")
namespace_labels = st.dictionaries(st.sampled_from(("tier", "env")), st.sampled_from("abc")).map(labels)
namespace_selectors = st.lists(requirements, min_size=0, max_size=2).map(
    lambda terms: LabelSelector(tuple(terms))
)
zones = st.sampled_from(("", "east", "west"))


@st.composite
def served_states(draw: DrawFn, shape: Shape = SMALL, services: int = 3) -> ClusterState:
    """A state with at most so many Services and a few policies for them; one network and pod more than ``shape`` says."""
    state = draw(moved_pods(draw(states(shape))))
    nodes = tuple(
        replace(each, labels=labels({ZONE_LABEL: zone}) if (zone := draw(zones)) else ())
        for each in state.nodes
    )
    spaces = tuple(Namespace(name, draw(namespace_labels)) for name in sorted(NAMESPACES))
    inside = [each for each in state.networks if each.subnets]
    found = tuple(
        draw(service(number, draw(st.sampled_from(inside)), state))
        for number in range(draw(st.integers(1, services)) if inside else 0)
    )
    ordered = tuple(sorted(found, key=lambda each: (each.namespace, each.name)))
    state = draw(twins(replace(state, nodes=nodes, namespaces=spaces, services=ordered)))
    policies = (*draw(service_policies(state, services)), *draw(named_policies(state)))
    return replace(state, service_policies=policies)


@st.composite
def moved_pods(draw: DrawFn, state: ClusterState) -> ClusterState:
    """A pod in eight has an address of another node's block."""
    names = [each.name for each in state.nodes]
    moved = [
        each if draw(st.integers(0, 7)) else replace(each, node=draw(st.sampled_from(names)))
        for each in state.endpoints
    ]
    return replace(state, endpoints=tuple(moved))


@st.composite
def twins(draw: DrawFn, state: ClusterState) -> ClusterState:
    """Often with one network and one pod more: its prefixes and addresses are those of an endpoint of a Service."""
    served = sorted({each.pod for one in state.services for port in one.ports for each in port.backends})
    if not served or draw(st.integers(0, 2)) == 0:
        return state
    server = state.endpoint_by_id[draw(st.sampled_from(served))]
    taken = {each.key for each in state.networks}
    key = next(number for number in range(1, MAX_NETWORK_KEY) if number not in taken)
    # More often far away than not.
    homes = [each.name for each in state.nodes if each.name != server.node] * 2 + [server.node]
    like = replace(state.network_by_name[server.network], name="same", key=key, labels=draw(network_labels))
    twin = replace(
        server, name="twin", network="same", node=draw(st.sampled_from(homes)), mac="02:00:00:00:ff:01"
    )
    return replace(
        state,
        networks=tuple(sorted((*state.networks, like), key=lambda each: each.name)),
        endpoints=tuple(sorted((*state.endpoints, twin), key=lambda each: each.id)),
    )


@st.composite
def named_policies(draw: DrawFn, state: ClusterState) -> tuple[ServicePolicy, ...]:
    """Networks that have pods may use those of others that have Services: what is drawn blindly seldom says so."""
    pairs = sorted(
        (source, destination)
        for source in {each.network for each in state.endpoints}
        for destination in {each.network for each in state.services}
        if source != destination
    )
    return tuple(
        ServicePolicy(
            f"{source}-uses-{destination}",
            NetworkSelector(source),
            NetworkSelector(destination),
            draw(st.sampled_from((EVERYTHING, draw(namespace_selectors)))),
            draw(st.sampled_from(AGES)),
        )
        for source, destination in pairs
        if draw(st.integers(0, 3))
    )


@st.composite
def service_policies(draw: DrawFn, state: ClusterState, most: int) -> list[ServicePolicy]:
    names = [each.name for each in state.networks]
    return [
        ServicePolicy(
            f"admit{number}",
            draw(selectors(names)),
            draw(selectors(names)),
            draw(namespace_selectors),
            draw(st.sampled_from(AGES)),
        )
        for number in range(draw(st.integers(0, most)))
    ]


@st.composite
def service(draw: DrawFn, number: int, network: Network, state: ClusterState) -> Service:
    families = sorted({subnet.prefix.version for subnet in network.subnets})
    chosen = draw(st.sampled_from([(each,) for each in families] + [tuple(families)] * 2))
    texts = {4: f"10.96.0.{number + 1}", 6: f"fd00:96::{number + 1:x}"}
    pods = [each for each in state.endpoints if each.network == network.name]
    behind = [each for each in pods if draw(st.integers(0, 3))]
    ports = (
        ServicePort(Protocol.UDP, 53, "dns", draw(backends(behind, chosen, UDP_PORT))),
        ServicePort(Protocol.TCP, 80, "http", draw(backends(behind, chosen, TCP_PORT))),
    )
    return Service(
        draw(st.sampled_from(NAMESPACES)),
        f"service{number}",
        network.name,
        tuple(ip_address(texts[each]) for each in chosen),
        ports[draw(st.integers(0, 1)) :],
        draw(st.sampled_from((0, 0, 600))),
        draw(st.integers(0, 3)) == 0,
        draw(st.sampled_from(AGES)),
    )


@st.composite
def backends(draw: DrawFn, pods: list[Endpoint], families: tuple[int, ...], port: int) -> tuple[Backend, ...]:
    """Mostly ready ones; a pod has the same condition in both families."""
    found = []
    for pod in pods:
        ready, serving, terminating = draw(
            st.sampled_from(((True, True, False),) * 4 + ((False, True, True), (False, False, False)))
        )
        hints = draw(st.sampled_from(((), (), ("east",), ("west",))))
        near = (pod.node,) if draw(st.integers(0, 3)) == 0 else ()
        found += [
            Backend(address, port, pod.node, pod.id, ready, serving, terminating, hints, near)
            for address in pod.addresses
            if address.version in families
        ]
    return tuple(sorted(found, key=lambda each: (each.address.version, int(each.address), each.port)))


def service_connections(state: ClusterState, most: int = 1000) -> list[Connection]:
    """Every pod to every port of every Service, in each family that both have; at most ``most``, spread evenly."""
    found = [
        Connection(source.id, SERVICE_PREFIX + each.id, port.protocol, port.number, vip.version)
        for source in state.endpoints
        for each in state.services
        for vip in each.vips
        for port in each.ports
        if any(address.version == vip.version for address in source.addresses)
    ]
    stride = max(1, len(found) // most) | 1
    return found[::stride][:most]
