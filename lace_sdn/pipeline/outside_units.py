"""Which units of the world outside a node needs: none while none of its networks has to do with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network
from typing import TYPE_CHECKING

from lace_sdn.pipeline.constants import GATEWAY_PORT
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.fixed import OWNER
from lace_sdn.pipeline.host import NodePort
from lace_sdn.pipeline.host_rows import HostItself, HostPermit, HostProbe
from lace_sdn.pipeline.node_port_rows import AddressOfPods, ForeignNodePort, NodeAddress
from lace_sdn.pipeline.outside_rows import (
    EnteredElsewhere,
    ErrorsFromTunnels,
    Gateway,
    OutsideNetwork,
    OutsidePrefix,
    OutsideServices,
    OutwardPort,
    OwnAddresses,
)
from lace_sdn.pipeline.unit import Owner
from lace_sdn.policy.external import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Endpoint, Network, Node, Prefix, Service
    from lace_sdn.pipeline.unit import Unit
    from lace_sdn.policy.external import Outside
    from lace_sdn.policy.services import ServiceAccess


@dataclass(frozen=True)
class OutsideScope:
    """``concerned``: networks that take part in any relation of the node; ``usable``: Services that its networks may use.

    ``callers``: external Networks that may start connections by this node; ``entering``: those of them that may do so by
    another node to pods here.
    """

    state: ClusterState
    outside: Outside
    access: ServiceAccess
    concerned: frozenset[str]
    usable: tuple[Service, ...]
    callers: frozenset[str]
    entering: frozenset[str]

    @cached_property
    def external(self) -> tuple[Network, ...]:
        """The external Networks that concern the node."""
        return tuple(each for each in self.state.networks if each.is_external and each.name in self.concerned)

    @cached_property
    def called_by_service(self) -> frozenset[str]:
        """Networks whose Services the world outside may call."""
        return frozenset(
            service.network
            for service in self.usable
            if any(self.access.may_use(name, service) for name in self.callers)
        )

    @cached_property
    def called(self) -> tuple[Network, ...]:
        """Pod networks whose pods or Services the world outside may call."""
        reached = {name for caller in self.callers for name in self.access.relations.reach.get(caller, {})}
        return tuple(
            each
            for each in self.state.networks
            if each.subnets and each.name in self.called_by_service | reached
        )

    def is_external(self, name: str) -> bool:
        return self.state.network_by_name[name].is_external

    def calls_outside(self, network: str) -> bool:
        """Whether pods of ``network`` may reach an external Network, or a Service of one."""
        reach = self.access.relations.reach.get(network, {})
        return any(self.is_external(name) for name in reach) or any(
            self.is_external(service.network) and self.access.may_use(network, service)
            for service in self.usable
        )


def outside_units(
    scope: OutsideScope, node: Node, hosted: Mapping[str, tuple[Endpoint, int]]
) -> Iterator[Unit]:
    """``hosted``: local endpoints with their ofports by id."""
    probed = [endpoint for endpoint, _ in hosted.values() if endpoint.probes]
    yield from _node_addresses(scope, sorted({endpoint.network for endpoint, _ in hosted.values()}))
    if not scope.external and not probed:
        return
    yield Gateway()
    if scope.external:
        yield from _prefixes(scope)
        yield from _outward(scope, hosted)
        for network in scope.called:
            for subnet in network.subnets:
                has_services = network.name in scope.called_by_service
                yield OwnAddresses(network.name, network.key, subnet.prefix, has_services)
        if scope.entering:
            yield ErrorsFromTunnels()
        for network in scope.external:
            yield OutsideNetwork(network.name, network.key)
            if network.name in scope.entering:
                yield EnteredElsewhere(network.name, network.key)
    yield from _probes(scope, node, probed)


def _prefixes(scope: OutsideScope) -> Iterator[Unit]:
    """All of the cluster: a longer prefix of any Network takes its addresses away from a shorter one."""
    networks = scope.state.network_by_name
    owned = [prefix for prefix, name in scope.outside.owners.items() if name]
    for prefix, name in scope.outside.owners.items():
        if name:
            yield OutsidePrefix(name, networks[name].key, prefix)
    for prefix in NOBODY:
        if any(_contains(each, prefix) for each in owned):
            yield OutsidePrefix("", 0, prefix)


def _contains(outer: Prefix, inner: Prefix) -> bool:
    return outer.version == inner.version and outer.prefixlen < inner.prefixlen and outer.overlaps(inner)


def _outward(scope: OutsideScope, hosted: Mapping[str, tuple[Endpoint, int]]) -> Iterator[Unit]:
    calls: dict[str, bool] = {}
    for endpoint, ofport in hosted.values():
        if endpoint.network not in calls:
            calls[endpoint.network] = scope.calls_outside(endpoint.network)
        if calls[endpoint.network]:
            number = cookie(Category.ENDPOINT, name_id(endpoint.id))
            text = f"Pod {endpoint.id} (Network {endpoint.network})"
            yield OutwardPort(Owner(number, text), ofport)
    served = sorted({service.network for service in scope.usable if scope.is_external(service.network)})
    for name in served:
        yield OutsideServices(name, scope.state.network_by_name[name].key)
    if served:
        yield OutwardPort(OWNER, GATEWAY_PORT)


def _probes(scope: OutsideScope, node: Node, probed: list[Endpoint]) -> Iterator[Unit]:
    if not probed:
        return
    yield HostItself()
    for name in sorted({endpoint.network for endpoint in probed}):
        yield HostPermit(name, scope.state.network_by_name[name].key)
    for endpoint in probed:
        key = scope.state.network_by_name[endpoint.network].key
        for address in endpoint.addresses:
            own = tuple(each for each in node.addresses if each.version == address.version)
            yield HostProbe(endpoint.id, key, address, own, endpoint.probes)


def _node_addresses(scope: OutsideScope, local: list[str]) -> Iterator[Unit]:
    """Where pods of the node may use a Service by a NodePort, or reach the world: then those that they may not use are closed."""
    ports = {
        NodePort(vip.version, port.protocol, port.node_port): service
        for service in scope.state.services
        for vip in service.vips
        for port in service.ports
        if port.node_port
    }
    is_used = any(scope.access.may_use(name, service) for name in local for service in ports.values())
    if not ports or not (is_used or any(scope.calls_outside(name) for name in local)):
        return
    usable = {service.id for service in scope.usable}
    for each, service in ports.items():
        if service.id not in usable:
            yield ForeignNodePort(*each)
    addresses = [(node.name, address) for node in scope.state.nodes for address in node.addresses]
    for name, address in addresses:
        yield NodeAddress(name, address)
    for name in local:
        prefixes = _meant(scope, name)
        lengths = {(each.version, each.prefixlen) for each in prefixes}
        for _, address in addresses:
            if any(
                _at(address, length) in prefixes for version, length in lengths if version == address.version
            ):
                yield AddressOfPods(name, scope.state.network_by_name[name].key, address)


def _meant(scope: OutsideScope, name: str) -> frozenset[Prefix]:
    """What addresses of pods mean for a pod network: its own, and of those that it reaches."""
    networks = scope.state.network_by_name
    reached = {name, *scope.access.relations.reach.get(name, {})}
    return frozenset(subnet.prefix for each in reached for subnet in networks[each].subnets)


def _at(address: Address, length: int) -> Prefix:
    return ip_network((address, length), strict=False)
