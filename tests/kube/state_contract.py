"""The promises of ``ClusterState``, as questions to a state: what it breaks of them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from lace_sdn.model.objects import MAX_NETWORK_KEY, NetworkType
from lace_sdn.policy.external import outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Backend, Endpoint, Service


def check_state(state: ClusterState) -> list[str]:
    """What the state breaks of the contract of ClusterState; nothing when it is as it must be."""
    return [
        *_disorder(state),
        *_of_networks(state),
        *_of_endpoints(state),
        *_of_allocations(state),
        *_of_services(state),
    ]


def _disorder(state: ClusterState) -> Iterator[str]:
    for kind in (
        "nodes",
        "namespaces",
        "networks",
        "routing_policies",
        "service_policies",
        "binding_policies",
        "external_hosts",
    ):
        names = [each.name for each in getattr(state, kind)]
        if names != sorted(set(names)):
            yield f"{kind} are {names}"
    for kind in ("endpoints", "services", "host_pods"):
        ids = [(each.namespace, each.name) for each in getattr(state, kind)]
        if ids != sorted(set(ids)):
            yield f"{kind} are {ids}"
    hosts = (*state.nodes, *state.external_hosts)
    yield from _twice("address", (address for host in hosts for address in host.addresses))
    named = [(each.id, each.node) for each in state.host_pods]
    named += [(each.name, each.gateway) for each in state.external_hosts if each.gateway]
    yield from (
        f"{name} names {node}, which does not exist" for name, node in named if node not in state.node_by_name
    )


def _twice(what: str, values: Iterable[Any]) -> Iterator[str]:
    yield from (
        f"{what} {value} stands {times} times" for value, times in Counter(values).items() if times > 1
    )


def _of_networks(state: ClusterState) -> Iterator[str]:
    yield from _twice("key", (network.key for network in state.networks))
    yield from (
        f"key of {each.name} is {each.key}" for each in state.networks if not 1 <= each.key <= MAX_NETWORK_KEY
    )


def _of_endpoints(state: ClusterState) -> Iterator[str]:
    namespaces = {each.name for each in state.namespaces}
    for endpoint in state.endpoints:
        if endpoint.node not in state.node_by_name:
            yield f"{endpoint.id} is on {endpoint.node}, which does not exist"
        if endpoint.namespace not in namespaces:
            yield f"the namespace of {endpoint.id} does not exist"
        yield from _of_addresses(state, endpoint)
    yield from _twice("address", ((each.network, it) for each in state.endpoints for it in each.addresses))
    probed = [each for each in state.endpoints if each.probes]
    yield from _twice("probed address", ((each.node, it) for each in probed for it in each.addresses))
    yield from _twice("MAC", ((each.network, each.mac) for each in state.endpoints))


def _of_addresses(state: ClusterState, endpoint: Endpoint) -> Iterator[str]:
    network = state.network_by_name.get(endpoint.network)
    if network is None or network.type is not NetworkType.L3:
        yield f"{endpoint.id} is in {endpoint.network}, which is no network for pods"
        return
    own = [
        each.block
        for each in state.allocations
        if (each.network, each.node) == (endpoint.network, endpoint.node)
    ]
    for address in endpoint.addresses:
        if not any(address in prefix for prefix in network.prefixes):
            yield f"{address} of {endpoint.id} lies outside {network.name}"
        if not any(address in block for block in own):
            yield f"{address} of {endpoint.id} lies outside the blocks of {endpoint.node}"


def _of_allocations(state: ClusterState) -> Iterator[str]:
    for each in state.allocations:
        if each.node not in state.node_by_name:
            yield f"{each.block} is of {each.node}, which does not exist"
        network = state.network_by_name.get(each.network)
        if network is None or not any(
            each.block.version == prefix.version and each.block.subnet_of(prefix)  # type: ignore[arg-type]
            for prefix in network.prefixes
        ):
            yield f"{each.block} is no part of {each.network}"
    for one, other in combinations(state.allocations, 2):
        if one.network == other.network and one.block.overlaps(other.block):
            yield f"{one.block} of {one.node} overlaps {other.block} of {other.node}"


def _of_services(state: ClusterState) -> Iterator[str]:
    yield from _twice("VIP", (vip for each in state.services for vip in each.vips))
    opened = [port for each in state.services for port in each.ports if port.node_port]
    yield from _twice("NodePort", ((each.protocol, each.node_port) for each in opened))
    prefixes = [prefix for each in state.networks if not each.is_external for prefix in each.prefixes]
    namespaces = {each.name for each in state.namespaces}
    for service in state.services:
        network = state.network_by_name.get(service.network)
        if network is None or network.type is NetworkType.L2:
            yield f"{service.id} is in {service.network}, which is no network for Services"
            continue
        if service.namespace not in namespaces:
            yield f"the namespace of {service.id} does not exist"
        families = [vip.version for vip in service.vips]
        if not families or families != sorted(set(families)):
            yield f"{service.id} has VIPs of families {families}"
        yield from (
            f"VIP {vip} of {service.id} lies in {prefix}"
            for vip in service.vips
            for prefix in prefixes
            if vip in prefix
        )
        ports = [(port.number, port.protocol) for port in service.ports]
        if ports != sorted(set(ports)):
            yield f"ports of {service.id} are {ports}"
        for port in service.ports:
            yield from _of_backends(state, service, port.backends)


def _of_backends(state: ClusterState, service: Service, backends: tuple[Backend, ...]) -> Iterator[str]:
    keys = [(each.address.version, int(each.address), each.port) for each in backends]
    if keys != sorted(set(keys)):
        yield f"backends of {service.id} are {keys}"
    prefixes = state.network_by_name[service.network].prefixes
    for each in backends:
        if each.address.version not in {vip.version for vip in service.vips}:
            yield f"{each.address} is of a family that {service.id} has no VIP of"
        if state.network_by_name[service.network].is_external:
            yield from _of_backend_outside(state, service, each)
            continue
        if not any(each.address in prefix for prefix in prefixes):
            yield f"{each.address} of {service.id} lies outside {service.network}"
        pod = state.endpoint_by_id.get(each.pod)
        if pod is not None and each.address not in pod.addresses:
            yield f"{each.address} of {service.id} is none of {each.pod}"
        if pod is None or pod.network != service.network or pod.node != each.node:
            yield f"{each.pod} of {service.id} is no pod of {service.network} on {each.node}"


def _of_backend_outside(state: ClusterState, service: Service, backend: Backend) -> Iterator[str]:
    owner = outside(state.networks).network_of(backend.address)
    if owner != service.network:
        yield f"{backend.address} of {service.id} belongs to {owner or 'nobody'}"
    nodes = [node.name for node in state.nodes if backend.address in node.addresses]
    if backend.pod or backend.node != (nodes or [""])[0]:
        yield f"{backend.address} of {service.id} is of {backend.pod} on {backend.node}"
