"""ClusterState: the desired world at one moment, valid and complete, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.model.objects import (
        Allocation,
        BindingPolicy,
        Endpoint,
        ExternalHost,
        HostPod,
        Namespace,
        Network,
        Node,
        RoutingPolicy,
        Service,
        ServicePolicy,
    )


@dataclass(frozen=True)
class ClusterState:
    """All objects, each tuple in order of (namespace,) name; names are unique, keys of networks too.

    The node and network of every endpoint, allocation and service exist; an endpoint's addresses lie in its network's
    prefixes. No two services share a VIP or a NodePort, and no VIP lies in the prefix of a pod network.
    """

    nodes: tuple[Node, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    networks: tuple[Network, ...] = ()
    routing_policies: tuple[RoutingPolicy, ...] = ()
    service_policies: tuple[ServicePolicy, ...] = ()
    binding_policies: tuple[BindingPolicy, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    allocations: tuple[Allocation, ...] = ()
    services: tuple[Service, ...] = ()
    host_pods: tuple[HostPod, ...] = ()
    external_hosts: tuple[ExternalHost, ...] = ()

    @cached_property
    def network_by_name(self) -> Mapping[str, Network]:
        return {network.name: network for network in self.networks}

    @cached_property
    def node_by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def endpoint_by_id(self) -> Mapping[str, Endpoint]:
        return {endpoint.id: endpoint for endpoint in self.endpoints}

    @cached_property
    def service_by_id(self) -> Mapping[str, Service]:
        return {service.id: service for service in self.services}

    @cached_property
    def external_host_by_name(self) -> Mapping[str, ExternalHost]:
        return {host.name: host for host in self.external_hosts}

    @cached_property
    def namespace_by_name(self) -> Mapping[str, Namespace]:
        return {namespace.name: namespace for namespace in self.namespaces}


@dataclass(frozen=True, slots=True)
class Condition:
    """What an object reports about itself (``status.conditions``): found, where, expected, what happens now."""

    kind: str
    name: str
    type: str
    status: bool
    reason: str
    message: str = ""
