"""The resources that the fake API server has: some of Kubernetes' own, and whatever CRDs are given to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Data = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """``schema``: of a custom resource, None for those of Kubernetes; ``selectable``: fields of field selectors, beside name and namespace."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool
    has_status: bool = False
    schema: Data | None = None
    selectable: tuple[str, ...] = ()
    singular: str = ""
    short_names: tuple[str, ...] = field(default=())

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def id(self) -> tuple[str, str]:
        return (self.group, self.plural)

    @property
    def full_plural(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


CORE = (
    Served("", "v1", "namespaces", "Namespace", is_namespaced=False, has_status=True),
    Served("", "v1", "nodes", "Node", is_namespaced=False, has_status=True),
    Served(
        "",
        "v1",
        "pods",
        "Pod",
        is_namespaced=True,
        has_status=True,
        selectable=("spec.nodeName", "status.phase"),
    ),
    Served("", "v1", "services", "Service", is_namespaced=True, has_status=True),
    Served("", "v1", "configmaps", "ConfigMap", is_namespaced=True),
    Served("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", is_namespaced=True),
    Served("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", is_namespaced=True),
    Served("events.k8s.io", "v1", "events", "Event", is_namespaced=True),
    Served("coordination.k8s.io", "v1", "leases", "Lease", is_namespaced=True),
    Served(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        is_namespaced=False,
        has_status=True,
    ),
)


def of_definition(definition: Data) -> Served:
    """The resource that a CRD defines, in its first version."""
    spec = definition["spec"]
    version = spec["versions"][0]
    return Served(
        spec["group"],
        version["name"],
        spec["names"]["plural"],
        spec["names"]["kind"],
        spec["scope"] == "Namespaced",
        "status" in version.get("subresources", {}),
        version["schema"]["openAPIV3Schema"],
        tuple(each["jsonPath"].lstrip(".") for each in version.get("selectableFields", ())),
        spec["names"].get("singular", ""),
        tuple(spec["names"].get("shortNames", ())),
    )
