"""The places of a lab that packets start from and arrive at, as its agent lives in them: pods, hosts and nodes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from lace_sdn.lab import datapath, hosts, links, netns
from lace_sdn.lab.concern import concerning
from lace_sdn.lab.probes import Hearing, Resident
from lace_sdn.model.objects import Protocol
from lace_sdn.pipeline.constants import GATEWAY_INTERFACE
from lace_sdn.policy.ends import HOST_PREFIX, NODE_PREFIX, name_of, underlay_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Backend, Endpoint, ExternalHost, Node, Service

Ports = set[tuple[Protocol, int]]


def residents(lab: Lab, state: ClusterState) -> list[Resident]:
    """What the agent is to know of every place, all of which are there. Raises LabError naming one that is not.

    It listens on declared ports, on those that Services have as their endpoints, and on those that nodes probe.
    """
    behind = _ports_behind(state)
    return [
        *(_pod(lab, endpoint, behind[endpoint.id]) for endpoint in state.endpoints),
        *(_host(lab, host, behind[HOST_PREFIX + host.name]) for host in state.external_hosts),
        *(_node(lab, state, node, behind[NODE_PREFIX + node.name]) for node in state.nodes),
    ]


def there(lab: Lab, state: ClusterState, pods: Collection[str]) -> ClusterState:
    """Of ``state`` the places that are there: these ``pods``, and whichever hosts and nodes have their links."""
    device = datapath.of(lab).underlay_device
    return replace(
        state,
        endpoints=tuple(endpoint for endpoint in state.endpoints if endpoint.id in pods),
        external_hosts=tuple(host for host in state.external_hosts if hosts.is_whole(lab, host.name)),
        nodes=tuple(node for node in state.nodes if device in links.devices(lab.node_namespace(node.name))),
    )


def bearers(state: ClusterState, address: Address) -> Iterator[str]:
    """The names of all pods, hosts and nodes that have this address."""
    yield from (endpoint.id for endpoint in state.endpoints if address in endpoint.addresses)
    underlay = underlay_names(state).get(address)
    if underlay:
        yield underlay


def names_of(state: ClusterState, service: Service, backends: Iterable[Backend]) -> Iterator[str]:
    """Who answers for endpoints of ``service``: pods, hosts and nodes by name, ``ADDRESS:PORT`` what is nowhere here."""
    is_outside = state.network_by_name[service.network].is_external
    on_underlay = underlay_names(state) if is_outside else {}
    for each in backends:
        yield on_underlay.get(each.address) or each.pod or name_of(each.address, each.port)


def _pod(lab: Lab, endpoint: Endpoint, more: Ports) -> Resident:
    namespace = lab.pod_namespace(endpoint.id)
    with concerning(f'pod "{endpoint.id}"'):
        identity = (netns.identity(namespace),)
    declared = {(port.protocol, port.number) for port in endpoint.ports}
    probed = {(Protocol.TCP, number) for number in endpoint.probes}
    return Resident(endpoint.id, namespace, identity, _listened(declared | probed | more))


def _host(lab: Lab, host: ExternalHost, more: Ports) -> Resident:
    namespace = lab.host_namespace(host.name)
    with concerning(f'host "{host.name}"'):
        identity = (netns.identity(namespace), links.number(namespace, links.HOST_DEVICE))
    declared = {(port.protocol, port.number) for port in host.ports}
    return Resident(
        HOST_PREFIX + host.name,
        namespace,
        identity,
        _listened(declared | more),
        (links.HOST_DEVICE,),
        Hearing.ADDRESSED,
    )


def _node(lab: Lab, state: ClusterState, node: Node, more: Ports) -> Resident:
    """Its own processes are those of its pods that share its network."""
    namespace = lab.node_namespace(node.name)
    with concerning(f'node "{node.name}"'):
        gateway = {GATEWAY_INTERFACE} & links.devices(namespace)
        devices = (datapath.of(lab).underlay_device, *gateway)
        identity = (netns.identity(namespace), *(links.number(namespace, device) for device in devices))
    declared = {
        (port.protocol, port.number) for pod in state.host_pods if pod.node == node.name for port in pod.ports
    }
    return Resident(
        NODE_PREFIX + node.name,
        namespace,
        identity,
        _listened(declared | more),
        devices,
        Hearing.SERVED,
        tuple(map(str, node.addresses)),
    )


def _listened(ports: Ports) -> tuple[tuple[Protocol, int], ...]:
    return tuple(sorted(port for port in ports if port[0] is not Protocol.SCTP))


def _ports_behind(state: ClusterState) -> dict[str, Ports]:
    """By place: the ports that make it an endpoint of a Service."""
    found: dict[str, Ports] = defaultdict(set)
    for service in state.services:
        for port in service.ports:
            for name, backend in zip(names_of(state, service, port.backends), port.backends, strict=True):
                found[name].add((port.protocol, backend.port))
    return found
