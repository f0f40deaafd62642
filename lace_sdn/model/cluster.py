"""ClusterState: the desired world at one moment, valid and complete, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

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
    doubt: Doubt = field(default_factory=lambda: Doubt())  # noqa: PLW0108 - it is defined below

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
class Doubt:
    """What may be missing from a state, since it could not be read: whatever it could forbid is not opened anew.

    ``inside``: no network reaches another one that it did not reach in ``former``, the last state without a doubt; ``outside``: nor is there a new
    relation or use of services from or to an external Network. Without ``former`` there is none at all.
    """

    inside: bool = False
    outside: bool = False
    former: ClusterState | None = None

    def is_about(self, source: Network, destination: Network, *, by_services: bool = False) -> bool:
        """Whether a relation of the two is in doubt; ``by_services``: the use of one's services by the other."""
        if source.name == destination.name:
            return False
        is_external = source.is_external or destination.is_external
        return (self.inside and not by_services) or (self.outside and is_external)


NO_DOUBT: Final[Doubt] = Doubt()


@dataclass(frozen=True, slots=True)
class Condition:
    """What an object reports about itself (``status.conditions``): found, where, expected, what happens now."""

    kind: str
    name: str
    type: str
    status: bool
    reason: str
    message: str = ""
