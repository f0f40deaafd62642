"""The meaning, from the objects alone: may this connection be started?

Written from docs/policy-semantics.md, not from the compiler, and plain on purpose: the compiler is tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from lace_sdn.model.objects import Protocol
from lace_sdn.policy.connection import Connection, Verdict
from lace_sdn.policy.ends import (
    NODE_PREFIX,
    SERVICE_PREFIX,
    addresses_of,
    entry_node,
    is_outside,
    name_of,
    underlay_names,
)
from lace_sdn.policy.oracle_networks import external_network, network_verdict
from lace_sdn.policy.selection import selects
from lace_sdn.policy.tunnel_ends import has_tunnel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Backend, Service, ServicePort

__all__ = [
    "Connection",
    "Verdict",
    "external_network",
    "network_verdict",
    "node_port",
    "service_access",
    "verdict",
    "why_no_tunnel",
]

TUNNELS_PORT: Final = 6081
"""UDP: of Geneve (RFC 8926). Nobody in a network speaks to the ends of tunnels."""


@dataclass(frozen=True, slots=True)
class _Client:
    """Who starts a connection. ``network``: "" for an address that is in no network; ``node``: whose bridge meets it first."""

    name: str
    network: str
    node: str


def verdict(state: ClusterState, connection: Connection, *, sctp: bool = True) -> Verdict:
    """Allowed inside one network, or if some policy relates the two networks in this direction and is not in conflict.

    A Service may also be used by networks that a ServiceRoutingPolicy admits to it. ``sctp``: whether the datapath tracks it
    by its ports. Raises KeyError for an end that is not in ``state``.
    """
    for name in (connection.source, connection.destination):
        if not any(address.version == connection.family for address in addresses_of(state, name)):
            called = f"Service {connection.service}" if name.startswith(SERVICE_PREFIX) else name
            return Verdict(allowed=False, reason=f"{called} has no IPv{connection.family} address")
    client = _Client(
        connection.source,
        _network_of(state, connection.source, connection.family),
        entry_node(state, connection.source),
    )
    if connection.service:
        return _service_verdict(state, client, connection, sctp=sctp)
    by_node_port = node_port(state, connection)
    if by_node_port is not None and not _why_not_meant(state, client, connection):
        return _node_port_verdict(state, client, connection, by_node_port, sctp=sctp)
    allowed = _direct_verdict(state, client, connection)
    why_not = why_no_tunnel(state, client.node, connection.destination) if allowed.allowed else ""
    if why_not:
        return Verdict(allowed=False, reason=why_not)
    return replace(allowed, backends=(connection.destination,)) if allowed.allowed else allowed


def _network_of(state: ClusterState, name: str, family: int) -> str:
    """The network of an end at its address of this family; "" for none."""
    if not is_outside(name):
        return state.endpoint_by_id[name].network
    address = next(each for each in addresses_of(state, name) if each.version == family)
    return external_network(state, address)


def why_no_tunnel(state: ClusterState, node: str, name: str) -> str:
    """Why packets that ``node`` sends do not get to a pod; "" if they do, and for ends that are no pods."""
    pod = state.endpoint_by_id.get(name)
    if pod is None or has_tunnel(state, node, pod.node):
        return ""
    return f"nodes {node} and {pod.node} have no address family in common: there is no tunnel between them"


def _direct_verdict(state: ClusterState, client: _Client, connection: Connection) -> Verdict:
    """To a pod, a host or a node at its own address."""
    name = connection.destination
    if _is_probe(state, connection):
        return Verdict(allowed=True, reason=f"{client.name} probes a pod of its own")
    network = _network_of(state, name, connection.family)
    why_not = (
        _why_nobody(client, connection, network)
        or _why_not_meant(state, client, connection)
        or _why_forged(state, client, network, connection.family)
    )
    if why_not:
        return Verdict(allowed=False, reason=why_not)
    if client.network == network:
        return Verdict(allowed=True, reason=f"both are in Network {network}")
    return network_verdict(state, client.network, network)


def _why_nobody(client: _Client, connection: Connection, network: str) -> str:
    """Why no policy can allow it; "" if one may."""
    name = connection.destination
    if is_outside(client.name) and is_outside(name):
        return "neither of the two is in a network of the cluster"
    for each, its in ((client.name, client.network), (name, network)):
        if not its:
            return f"the address of {each} is in no external Network"
    if is_outside(name) and (connection.protocol, connection.port) == (Protocol.UDP, TUNNELS_PORT):
        return f"UDP port {TUNNELS_PORT} is that of the tunnels between nodes"
    return ""


def _why_not_meant(state: ClusterState, client: _Client, connection: Connection) -> str:
    """For a pod, addresses of the pod networks that it reaches mean these; for a node, what it probes means its own pod."""
    if is_outside(client.name):
        every = addresses_of(state, connection.destination)
        called = {each for each in every if each.version == connection.family}
        probed = [
            each.id
            for each in state.endpoints
            if called & set(each.addresses) and _is_probe(state, replace(connection, destination=each.id))
        ]
        return f"for {client.name} it is the port of a probe of {probed[0]}" if probed else ""
    if not is_outside(connection.destination):
        return ""
    address = next(
        each for each in addresses_of(state, connection.destination) if each.version == connection.family
    )
    for network in state.networks:
        if any(address in subnet.prefix for subnet in network.subnets) and (
            network.name == client.network or network_verdict(state, client.network, network.name).allowed
        ):
            return f"for {client.name} {address} is an address of Network {network.name}"
    return _why_not_back(state, address)


def _why_not_back(state: ClusterState, address: Address) -> str:
    """What the world outside reaches as a pod's address is none of its own: nobody leaves to come back in by it."""
    for network in state.networks:
        if any(address in subnet.prefix for subnet in network.subnets) and any(
            source.is_external and network_verdict(state, source.name, network.name).allowed
            for source in state.networks
        ):
            return f"{address} is an address of Network {network.name}, which the world outside reaches"
    return ""


def _why_forged(state: ClusterState, client: _Client, network: str, family: int) -> str:
    """Nobody outside is taken for a pod of the network that it calls: its address is not one of that network's."""
    if not is_outside(client.name):
        return ""
    for address in addresses_of(state, client.name):
        prefixes = (subnet.prefix for subnet in state.network_by_name[network].subnets)
        if address.version == family and any(address in prefix for prefix in prefixes):
            return f"for pods of Network {network} {address} is an address of their own"
    return ""


def _is_probe(state: ClusterState, connection: Connection) -> bool:
    """A node's own process at a port that a pod of this node has probes for (Kubernetes: Pod Lifecycle, probes)."""
    pod = state.endpoint_by_id.get(connection.destination)
    is_own = pod is not None and connection.source == NODE_PREFIX + pod.node
    return (
        is_own and pod is not None and connection.protocol is Protocol.TCP and connection.port in pod.probes
    )


def _service_verdict(state: ClusterState, client: _Client, connection: Connection, *, sctp: bool) -> Verdict:
    """Who may use the VIP is asked first: a stranger to the Service is not even told that there is no such port."""
    service = state.service_by_id[connection.service]
    access = _access(state, client, service, connection.family)
    if not access.allowed:
        return access
    if connection.protocol is Protocol.ICMP:
        return Verdict(allowed=False, reason=f"the VIP of Service {service.id} answers on its ports only")
    asked = (connection.protocol, connection.port)
    port = next((each for each in service.ports if (each.protocol, each.number) == asked), None)
    if port is None:
        what = f"Service {service.id} has no port {connection.protocol} {connection.port}"
        return Verdict(allowed=False, reason=what, is_rejected=connection.protocol is not Protocol.SCTP)
    untracked = _untracked(service, port, sctp=sctp)
    if untracked:
        return untracked
    return _balanced(state, client.node, (service, port, service.is_local), connection.family, access)


def node_port(state: ClusterState, connection: Connection) -> tuple[Service, ServicePort] | None:
    """The Service's port behind a node's port, if it has VIPs of the family."""
    if not connection.destination.startswith(NODE_PREFIX) or not connection.port:
        return None
    for service in state.services:
        if any(vip.version == connection.family for vip in service.vips):
            for port in service.ports:
                if (port.protocol, port.node_port) == (connection.protocol, connection.port):
                    return service, port
    return None


def _node_port_verdict(
    state: ClusterState,
    client: _Client,
    connection: Connection,
    asked: tuple[Service, ServicePort],
    *,
    sctp: bool,
) -> Verdict:
    """As for a VIP. externalTrafficPolicy Local is about those who come from outside the node."""
    service, port = asked
    access = _access(state, client, service, connection.family)
    if not access.allowed:
        return access
    untracked = _untracked(service, port, sctp=sctp)
    if untracked:
        return untracked
    called = connection.destination.removeprefix(NODE_PREFIX)
    comes_from_outside = is_outside(client.name) and client.name != connection.destination
    node = called if is_outside(client.name) else client.node
    is_local = service.is_local_by_node_port and comes_from_outside
    return _balanced(state, node, (service, port, is_local), connection.family, access)


def _untracked(service: Service, port: ServicePort, *, sctp: bool) -> Verdict | None:
    if port.protocol is not Protocol.SCTP or sctp:
        return None
    what = f"port SCTP {port.number} of Service {service.id} is not installed"
    return Verdict(allowed=False, reason=f"{what}: the userspace datapath tracks SCTP without ports")


def _access(state: ClusterState, client: _Client, service: Service, family: int) -> Verdict:
    if not client.network:
        return Verdict(allowed=False, reason=f"the address of {client.name} is in no external Network")
    forged = _why_forged(state, client, service.network, family)
    return Verdict(allowed=False, reason=forged) if forged else service_access(state, client.network, service)


def service_access(state: ClusterState, network: str, service: Service) -> Verdict:
    """Whether those in ``network`` may use the VIPs of ``service``: its own network, a peer of it, or admitted to it."""
    if network == service.network:
        return Verdict(allowed=True, reason=f"both are in Network {network}")
    routed = network_verdict(state, network, service.network)
    if routed.allowed:
        return routed
    source, destination = state.network_by_name[network], state.network_by_name[service.network]
    if not (source.is_external and destination.is_external):
        labels = state.namespace_by_name[service.namespace].labels
        for policy in sorted(state.service_policies, key=lambda each: (each.created, each.name)):
            selected = selects(policy.source, source) and selects(policy.destination, destination)
            if selected and policy.namespaces.matches(labels):
                is_doubted = state.doubt.is_about(source, destination, by_services=True)
                if is_doubted and not _was_admitted(state, network, service):
                    reason = f"policy {policy.name} waits until everything can be read"
                    return Verdict(allowed=False, reason=reason)
                reason = (
                    f"ServiceRoutingPolicy {policy.name} lets {network} use the services of {service.network}"
                )
                return Verdict(allowed=True, reason=reason, policy=policy.name)
    return Verdict(
        allowed=False,
        reason=f"no policy lets {network} use Service {service.id} of Network {service.network} ({routed.reason})",
    )


def _was_admitted(state: ClusterState, network: str, service: Service) -> bool:
    """Before there was a doubt, by any policy."""
    former = state.doubt.former
    if former is None or service.namespace not in former.namespace_by_name:
        return False
    if not {network, service.network} <= former.network_by_name.keys():
        return False
    return service_access(former, network, service).allowed


def _balanced(
    state: ClusterState,
    node: str,
    asked: tuple[Service, ServicePort, bool],
    family: int,
    access: Verdict,
) -> Verdict:
    """Which backends answer a client that comes by this node; the last of ``asked``: only those of the node itself.

    Kubernetes: Service, "Virtual IPs and service proxies".
    """
    service, port, is_local = asked
    everywhere = [each for each in port.backends if each.address.version == family]
    usable = _usable(everywhere)
    if not usable:
        reason = f"Service {service.id} has no endpoint for port {port.protocol} {port.number}"
        return Verdict(allowed=False, reason=reason, is_rejected=port.protocol is not Protocol.SCTP)
    here = [each for each in everywhere if each.node == node]
    chosen = _usable(here) if is_local else _near(state, node, usable)
    if not chosen:
        which = "internalTrafficPolicy" if service.is_local else "externalTrafficPolicy"
        return Verdict(
            allowed=False,
            reason=f"{which} of Service {service.id} is Local, and node {node} has no endpoint",
        )
    is_external = state.network_by_name[service.network].is_external
    known = underlay_names(state) if is_external else {}
    names = {address: name for address, name in known.items() if not _why_not_back(state, address)}
    return replace(
        access, backends=tuple(sorted({names.get(each.address) or _name(each) for each in chosen}))
    )


def _usable(backends: Sequence[Backend]) -> list[Backend]:
    """The ready ones; when there is none, those that still serve while they end."""
    ready = [each for each in backends if each.ready]
    return ready or [each for each in backends if each.serving and each.terminating]


def _near(state: ClusterState, node: str, usable: Sequence[Backend]) -> list[Backend]:
    """Hints count if every ready endpoint has them and one is meant for this node, or else for its zone."""
    zone = state.node_by_name[node].zone
    ready = [each for each in usable if each.ready]
    for_node = [each for each in ready if node in each.for_nodes]
    if for_node and all(each.for_nodes for each in ready):
        return for_node
    for_zone = [each for each in ready if zone in each.for_zones]
    if zone and for_zone and all(each.for_zones for each in ready):
        return for_zone
    return list(usable)


def _name(backend: Backend) -> str:
    return backend.pod or name_of(backend.address, backend.port)
