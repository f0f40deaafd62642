"""The meaning, from the objects alone: may this connection be started?

Written from docs/policy-semantics.md, not from the compiler, and plain on purpose: the compiler is tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lace_sdn.model.objects import Protocol
from lace_sdn.policy.selection import selects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Backend, Endpoint, Network, Prefix, Service, ServicePort

SERVICE_PREFIX = "service "


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection that ``source`` (``namespace/pod``) would start. ``port``: 1..65535, 0 for ICMP. ``family``: 4 or 6.

    ``destination``: a pod in the same form, or ``service NAMESPACE/NAME`` for the VIP of a Service.
    """

    source: str
    destination: str
    protocol: Protocol
    port: int
    family: int = 4

    @property
    def service(self) -> str:
        """``NAMESPACE/NAME`` of the Service that is called; "" for a pod."""
        is_service = self.destination.startswith(SERVICE_PREFIX)
        return self.destination.removeprefix(SERVICE_PREFIX) if is_service else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``policy``: the policy that allows it, "" if none is needed or none does.

    ``is_rejected``: a connection that is not allowed is answered at once, by a reset or "port unreachable"; otherwise
    there is silence. ``backends``: who may answer, pods by name (``ADDRESS:PORT`` for what is no pod known here).
    """

    allowed: bool
    reason: str
    policy: str = ""
    is_rejected: bool = False
    backends: tuple[str, ...] = ()


def verdict(state: ClusterState, connection: Connection, *, sctp: bool = True) -> Verdict:
    """Allowed inside one network, or if some policy relates the two networks in this direction and is not in conflict.

    A Service may also be used by networks that a ServiceRoutingPolicy admits to it. ``sctp``: whether the datapath tracks it
    by its ports. Raises KeyError for an endpoint or Service that is not in ``state``.
    """
    source = state.endpoint_by_id[connection.source]
    if connection.service:
        return _service_verdict(state, source, connection, sctp=sctp)
    allowed = _pod_verdict(state, source, connection)
    return replace(allowed, backends=(connection.destination,)) if allowed.allowed else allowed


def _pod_verdict(state: ClusterState, source: Endpoint, connection: Connection) -> Verdict:
    destination = state.endpoint_by_id[connection.destination]
    for endpoint in (source, destination):
        if not any(address.version == connection.family for address in endpoint.addresses):
            return Verdict(allowed=False, reason=f"{endpoint.id} has no IPv{connection.family} address")
    if source.network == destination.network:
        return Verdict(allowed=True, reason=f"both are in Network {source.network}")
    return network_verdict(state, source.network, destination.network)


def _service_verdict(state: ClusterState, source: Endpoint, connection: Connection, *, sctp: bool) -> Verdict:
    """Who may use the VIP is asked first: a stranger to the Service is not even told that there is no such port."""
    service = state.service_by_id[connection.service]
    for name, addresses in ((source.id, source.addresses), (f"Service {service.id}", service.vips)):
        if not any(address.version == connection.family for address in addresses):
            return Verdict(allowed=False, reason=f"{name} has no IPv{connection.family} address")
    access = service_access(state, source.network, service)
    if not access.allowed:
        return access
    if connection.protocol is Protocol.ICMP:
        return Verdict(allowed=False, reason=f"the VIP of Service {service.id} answers on its ports only")
    asked = (connection.protocol, connection.port)
    port = next((each for each in service.ports if (each.protocol, each.number) == asked), None)
    if port is None:
        what = f"Service {service.id} has no port {connection.protocol} {connection.port}"
        return Verdict(allowed=False, reason=what, is_rejected=connection.protocol is not Protocol.SCTP)
    if port.protocol is Protocol.SCTP and not sctp:
        what = f"port SCTP {port.number} of Service {service.id} is not installed"
        return Verdict(allowed=False, reason=f"{what}: the userspace datapath tracks SCTP without ports")
    return _balanced(state, source, (service, port), connection.family, access)


def service_access(state: ClusterState, network: str, service: Service) -> Verdict:
    """Whether pods of ``network`` may use the VIPs of ``service``: its own network, a peer of it, or admitted to it."""
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
                reason = (
                    f"ServiceRoutingPolicy {policy.name} lets {network} use the services of {service.network}"
                )
                return Verdict(allowed=True, reason=reason, policy=policy.name)
    return Verdict(
        allowed=False,
        reason=f"no policy lets {network} use Service {service.id} of Network {service.network} ({routed.reason})",
    )


def _balanced(
    state: ClusterState, source: Endpoint, asked: tuple[Service, ServicePort], family: int, access: Verdict
) -> Verdict:
    """Which backends answer a client on this node (Kubernetes: Service, "Virtual IPs and service proxies")."""
    service, port = asked
    everywhere = [each for each in port.backends if each.address.version == family]
    usable = _usable(everywhere)
    if not usable:
        reason = f"Service {service.id} has no endpoint for port {port.protocol} {port.number}"
        return Verdict(allowed=False, reason=reason, is_rejected=port.protocol is not Protocol.SCTP)
    here = [each for each in everywhere if each.node == source.node]
    chosen = _usable(here) if service.is_local else _near(state, source.node, usable)
    if not chosen:
        return Verdict(
            allowed=False,
            reason=f"internalTrafficPolicy of Service {service.id} is Local, and node {source.node} has no endpoint",
        )
    return replace(access, backends=tuple(sorted({_name(each) for each in chosen})))


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
    host = f"[{backend.address}]" if backend.address.version == 6 else str(backend.address)
    return backend.pod or f"{host}:{backend.port}"


def network_verdict(state: ClusterState, source_name: str, destination_name: str) -> Verdict:
    """Whether endpoints of one network may start connections to those of another one."""
    source, destination = state.network_by_name[source_name], state.network_by_name[destination_name]
    policy = _relating_policy(state, source, destination)
    if policy is None:
        return Verdict(allowed=False, reason=f"no policy relates {source_name} to {destination_name}")
    winner = _winner_over(state, source, destination)
    if winner is not None:
        return Verdict(
            allowed=False,
            reason=f"{destination_name} overlaps {winner}, which {source_name} reaches already (policy {policy[1]} lost)",
        )
    return Verdict(
        allowed=True,
        reason=f"NetworkRoutingPolicy {policy[1]} relates {source_name} to {destination_name}",
        policy=policy[1],
    )


def _relating_policy(state: ClusterState, source: Network, destination: Network) -> tuple[str, str] | None:
    """(created, name) of the oldest policy that relates the two; two external networks are never related."""
    if source.is_external and destination.is_external:
        return None
    return min(
        (
            (policy.created, policy.name)
            for policy in state.routing_policies
            if selects(policy.source, source) and selects(policy.destination, destination)
        ),
        default=None,
    )


def _winner_over(state: ClusterState, source: Network, destination: Network) -> str | None:
    """The network whose prefix keeps ``destination`` from being routed for ``source``: itself, or one with precedence."""
    if _clash(source, destination):
        return source.name
    related = [
        (_relating_policy(state, source, other), other) for other in state.networks if other is not source
    ]
    in_order = sorted(
        ((policy, other) for policy, other in related if policy is not None),
        key=lambda pair: (pair[0], pair[1].name),
    )
    routed = [source]
    for _, other in in_order:
        winner = next((held for held in routed if _clash(held, other)), None)
        if other is destination:
            return winner.name if winner else None
        if winner is None:
            routed.append(other)
    return None


def _clash(one: Network, other: Network) -> bool:
    return any(_ambiguous(one, mine, other, theirs) for mine in one.prefixes for theirs in other.prefixes)


def _ambiguous(one: Network, mine: Prefix, other: Network, theirs: Prefix) -> bool:
    """Overlap of pod networks; equality of external ones; an external prefix equal to or inside a pod prefix."""
    if mine.version != theirs.version or not mine.overlaps(theirs):
        return False
    if one.is_external == other.is_external:
        return not one.is_external or mine == theirs
    outside, pods = (mine, theirs) if one.is_external else (theirs, mine)
    return outside.prefixlen >= pods.prefixlen
