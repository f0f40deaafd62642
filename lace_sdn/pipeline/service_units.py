"""Which units of Services a node needs: VIPs that its pods may use, endpoints that it hosts, and who may use these."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.model.objects import Protocol
from lace_sdn.pipeline.own_server import OwnServer
from lace_sdn.pipeline.service_rows import (
    BalancedPort,
    Entrance,
    LiveServicePort,
    LocalBackend,
    NodePortEntry,
    ServicePermit,
    ServiceVip,
    Target,
    groups_needed,
)
from lace_sdn.pipeline.shared_replies import ReplyCheck, SharedEndpoint
from lace_sdn.policy.balancing import Choice, choose
from lace_sdn.policy.numbers import numbers
from lace_sdn.policy.services import Admission, port_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Backend, Endpoint, Network, Node, Service, ServicePort
    from lace_sdn.pipeline.unit import Unit
    from lace_sdn.policy.services import ServiceAccess, ServiceClass


class Backed(NamedTuple):
    """An endpoint of a Service's port."""

    service: Service
    port: ServicePort
    backend: Backend


class _Asked(NamedTuple):
    """A port of a Service, before it has groups."""

    service: Service
    port: ServicePort
    unit: BalancedPort

    @property
    def group_names(self) -> list[str]:
        """What the ids of its groups are made of; the same while its endpoints are so many."""
        name = f"{port_name(self.service, self.port)} IPv{self.unit.version}"
        name += " local" if self.unit.is_second else ""
        return [f"{name} {index}" for index in range(groups_needed(len(self.unit.chosen)))]


def backends_by_node(state: ClusterState) -> Mapping[str, tuple[Backed, ...]]:
    """Node -> the endpoints of Services that are pods there."""
    found: dict[str, list[Backed]] = defaultdict(list)
    for service in state.services:
        for port in service.ports:
            for backend in port.backends:
                if backend.pod in state.endpoint_by_id:
                    found[state.endpoint_by_id[backend.pod].node].append(Backed(service, port, backend))
    return {node: tuple(each) for node, each in found.items()}


@dataclass(frozen=True)
class ServiceScope:
    """The part of the Services that concerns a node."""

    access: ServiceAccess
    usable: tuple[Service, ...]
    """By a local network."""
    hosted: tuple[Service, ...]
    """Of local networks: a local pod may be an endpoint of them, or have connections from when it was one. Of external ones: all."""
    backed: tuple[Backed, ...]
    """By local pods that have a port, and by underlay addresses: these are behind every node's gateway."""
    outbound: tuple[ServiceClass, ...]
    """Classes of local networks."""
    inbound: tuple[ServiceClass, ...]
    """Classes that are admitted to a Service of a local network: all their members may come."""

    @classmethod
    def of(
        cls,
        access: ServiceAccess,
        state: ClusterState,
        local: frozenset[str],
        backed: tuple[Backed, ...],
    ) -> ServiceScope:
        """``local``: networks with pods here, and external ones that initiate; ``backed``: by local pods."""
        known: dict[Admission, bool] = {}
        usable = []
        for service in state.services:
            its = Admission(service.network, service.namespace)
            if its not in known:
                known[its] = any(access.may_use(network, service) for network in local)
            if known[its]:
                usable.append(service)
        external = {each.name for each in state.networks if each.is_external}
        hosted = tuple(each for each in usable if each.network in local | external)
        outside = (each for each in usable if each.network in external)
        backed += tuple(
            Backed(service, port, backend)
            for service in outside
            for port in service.ports
            for backend in port.backends
        )
        return cls(
            access,
            tuple(usable),
            hosted,
            backed,
            tuple(each for each in access.classes if not local.isdisjoint(each.members)),
            tuple(each for each in access.classes if any(each.admits(service) for service in hosted)),
        )

    @property
    def initiators(self) -> frozenset[str]:
        return frozenset[str]().union(*(each.members for each in self.inbound))

    @property
    def responders(self) -> frozenset[str]:
        return frozenset(each.network for each in self.usable)

    @property
    def classes(self) -> tuple[ServiceClass, ...]:
        """All that concern the node, each once."""
        return tuple({each.number: each for each in self.outbound + self.inbound}.values())


def service_units(
    scope: ServiceScope,
    state: ClusterState,
    node: Node,
    hosted: Mapping[str, tuple[Endpoint, int]],
    *,
    sctp: bool,
) -> Iterator[Unit]:
    """``hosted``: local endpoints with their ofports by id; ``sctp``: whether the datapath can translate its ports."""
    networks = state.network_by_name
    yield from _vips(scope, networks, sctp=sctp)
    asked = [each for each in _asked(scope, node) if sctp or each.port.protocol is not Protocol.SCTP]
    ids = numbers(name for each in asked for name in each.group_names)
    for each in asked:
        yield each.unit.with_groups(tuple(ids[name] for name in each.group_names))
    yield from _shared_endpoints(asked)
    yield from _own_servers(scope, networks, hosted)
    yield from _permits(scope, networks)
    yield from _live_ports(scope, networks)
    for backed in scope.backed:
        if _is_asked(scope, backed.service, networks):
            yield _local_backend(scope.access, backed, networks)


def _vips(scope: ServiceScope, networks: Mapping[str, Network], *, sctp: bool) -> Iterator[Unit]:
    for service in scope.usable:
        number = scope.access.namespace_ids[service.namespace]
        key = networks[service.network].key
        for vip in service.vips:
            yield ServiceVip(service.id, service.network, key, vip, number)
            for port in service.ports:
                if port.node_port and (sctp or port.protocol is not Protocol.SCTP):
                    name, port_id = port_name(service, port), scope.access.port_id(service, port)
                    yield NodePortEntry(
                        name, port_id, key, vip.version, port.protocol, port.node_port, number
                    )


def _asked(scope: ServiceScope, node: Node) -> Iterator[_Asked]:
    for service in scope.usable:
        for port in service.ports:
            known = numbers(_backend_name(each) for each in port.backends)
            for vip in service.vips:
                ways = _ways(service, port, vip, node)
                for place, (choice, entrances) in enumerate(ways.items()):
                    unit = BalancedPort(
                        port_name(service, port),
                        scope.access.port_id(service, port),
                        vip.version,
                        port.protocol,
                        tuple(entrances),
                        tuple(_target(each, known) for each in choice.chosen),
                        tuple(_target(each, known) for each in choice.serving),
                        choice.when_none,
                        service.affinity_seconds,
                        is_second=bool(place),
                    )
                    yield _Asked(service, port, unit)


def _ways(service: Service, port: ServicePort, vip: Address, node: Node) -> Mapping[Choice, list[Entrance]]:
    """Where the port is called, by which endpoints it is then spread over; those of all nodes come first.

    By a NodePort, ``externalTrafficPolicy`` is about callers from outside the node.
    """
    everywhere, local = (choose(port, vip.version, node, is_local=is_local) for is_local in (False, True))
    found: dict[Choice, list[Entrance]] = {everywhere: []}
    found.setdefault(local if service.is_local else everywhere, []).append(Entrance(port.number, vip))
    if port.node_port:
        by_node_port = local if service.is_local_by_node_port else everywhere
        found.setdefault(by_node_port, []).append(Entrance(port.node_port))
        if by_node_port != everywhere:
            found[everywhere].append(Entrance(port.node_port, by_pods=True))
            found[everywhere] += [
                Entrance(port.node_port, caller=own) for own in node.addresses if own.version == vip.version
            ]
    return {choice: entrances for choice, entrances in found.items() if entrances}


def _shared_endpoints(asked: Iterable[_Asked]) -> Iterator[Unit]:
    """Each once, in the name of the first Service by name that has it."""
    found: dict[tuple[Address, Protocol, int], _Asked] = {}
    for each in sorted(asked, key=lambda its: its.unit.name):
        for target in each.unit.serving:
            found.setdefault((target.address, each.port.protocol, target.port), each)
    for version, protocol in sorted({(address.version, protocol) for address, protocol, _ in found}):
        yield ReplyCheck(version, protocol)
    for (address, protocol, port), first in found.items():
        yield SharedEndpoint(first.unit.name, first.unit.number, address, protocol, port)


def _backend_name(backend: Backend) -> str:
    return f"{backend.address} {backend.port}"


def _target(backend: Backend, known: Mapping[str, int]) -> Target:
    return Target(known[_backend_name(backend)], backend.address, backend.port)


def _own_servers(
    scope: ServiceScope, networks: Mapping[str, Network], hosted: Mapping[str, tuple[Endpoint, int]]
) -> Iterator[Unit]:
    """Each address of a local pod that is an endpoint, once."""
    rivals: dict[str, list[str]] = {}
    twins: dict[tuple[str, Address], bool] = defaultdict(bool)
    for service, _, backend in scope.backed:
        if backend.pod not in hosted:
            continue
        if service.id not in rivals:
            clients = {name for each in scope.inbound if each.admits(service) for name in each.members}
            rivals[service.id] = sorted(clients & set(scope.access.overlaps.get(service.network, ())))
        twins[backend.pod, backend.address] |= any(
            prefix.version == backend.address.version and backend.address in prefix
            for name in rivals[service.id]
            for prefix in networks[name].prefixes
        )
    for (pod, address), has_twins in twins.items():
        endpoint, ofport = hosted[pod]
        key = networks[endpoint.network].key
        yield OwnServer(pod, endpoint.network, key, ofport, endpoint.mac, address, has_twins)


def _permits(scope: ServiceScope, networks: Mapping[str, Network]) -> Iterator[Unit]:
    """Rows that a local client, or a client of a local pod, may need; those for a network's own services never."""
    asked = ((scope.outbound, scope.usable), (scope.inbound, scope.hosted))
    rows: dict[tuple[int, Admission], str] = {}
    for classes, services in asked:
        named = {Admission(each.network, each.namespace) for each in services}
        concerned = named | {Admission(each.network) for each in named}
        for its in classes:
            for admission, policy in its.admitted.items():
                if admission in concerned and set(its.members) - {admission.network}:
                    rows[its.number, admission] = policy
    for (number, admission), policy in rows.items():
        namespace = admission.namespace
        key, scope_id = networks[admission.network].key, scope.access.namespace_ids.get(namespace, 0)
        yield ServicePermit(number, policy, admission.network, key, namespace, scope_id)


def _live_ports(scope: ServiceScope, networks: Mapping[str, Network]) -> Iterator[Unit]:
    """Of Services that somebody uses as no more than a Service, here or as a client of a pod here."""
    services = {each.id: each for each in scope.usable if any(own.admits(each) for own in scope.outbound)}
    services |= {each.id: each for each in scope.hosted if any(other.admits(each) for other in scope.inbound)}
    services |= {each.id: each for each in scope.hosted if networks[each.network].is_external}
    for service in services.values():
        number = scope.access.namespace_ids[service.namespace]
        for port in service.ports:
            port_id = scope.access.port_id(service, port)
            yield LiveServicePort(port_name(service, port), port_id, networks[service.network].key, number)


def _is_asked(scope: ServiceScope, service: Service, networks: Mapping[str, Network]) -> bool:
    """Whether the endpoint's node must know by which Service a connection comes."""
    return networks[service.network].is_external or any(each.admits(service) for each in scope.inbound)


def _local_backend(access: ServiceAccess, backed: Backed, networks: Mapping[str, Network]) -> LocalBackend:
    service, port, backend = backed
    return LocalBackend(
        port_name(service, port),
        access.port_id(service, port),
        networks[service.network].key,
        access.namespace_ids[service.namespace],
        port.protocol,
        backend.address,
        backend.port,
    )
