"""The resources of the API server that are used, and their paths.

Source: Kubernetes API concepts, "Resource URIs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource by its group ("" for the core), version, plural name and kind."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of all objects (of a namespace, if one is given), of one by its name, or of a subresource of it."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.is_namespaced:
            parts += ["namespaces", namespace]
        return "/" + "/".join(parts + [part for part in (self.plural, name, subresource) if part])


GROUP: Final = "lace-cni.io"
VERSION: Final = "v1alpha1"


def _own(plural: str, kind: str, *, is_namespaced: bool = False) -> Resource:
    return Resource(GROUP, VERSION, plural, kind, is_namespaced)


PODS: Final = Resource("", "v1", "pods", "Pod", is_namespaced=True)
NODES: Final = Resource("", "v1", "nodes", "Node", is_namespaced=False)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", is_namespaced=False)
SERVICES: Final = Resource("", "v1", "services", "Service", is_namespaced=True)
ENDPOINT_SLICES: Final = Resource(
    "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", is_namespaced=True
)
NETWORK_POLICIES: Final = Resource(
    "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", is_namespaced=True
)
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event", is_namespaced=True)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", is_namespaced=True)

NETWORKS: Final = _own("networks", "Network")
ROUTING_POLICIES: Final = _own("networkroutingpolicies", "NetworkRoutingPolicy")
SERVICE_POLICIES: Final = _own("serviceroutingpolicies", "ServiceRoutingPolicy")
BINDING_POLICIES: Final = _own("networkbindingpolicies", "NetworkBindingPolicy")
NETWORK_ENDPOINTS: Final = _own("networkendpoints", "NetworkEndpoint", is_namespaced=True)
ALLOCATIONS: Final = _own("allocations", "Allocation")
NETWORK_KEYS: Final = _own("networkkeys", "NetworkKey")
NODE_STATES: Final = _own("nodestates", "NodeState")
SERVICE_MEMBERSHIPS: Final = _own("servicememberships", "ServiceMembership", is_namespaced=True)
