"""Manifests -> what is written to an API server for them: the bodies in an order in which each finds what it needs. Pure.

What the cluster itself says is not written: addresses of pods, keys of networks, endpoints.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api import resources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.kube.manifests import Manifest, Manifests

LAB_LABEL: Final = "lab.lace-cni.io/name"
"""On everything that a lab has written: the lab's name. By it the lab finds what it may remove."""
DIGEST: Final = "lab.lace-cni.io/applied"
"""An annotation: what was written, so that nothing is written twice."""
READY: Final = "lab.lace-cni.io/ready"
"""An annotation of a pod whose manifest says that it is not ready."""
IMAGE: Final = "registry.k8s.io/pause:3.10"
"""Of containers that name none. Nothing is pulled: a lab has no containers."""

WRITTEN: Final[tuple[Resource, ...]] = (
    resources.NAMESPACES,
    resources.NODES,
    resources.NETWORKS,
    resources.BINDING_POLICIES,
    resources.ROUTING_POLICIES,
    resources.SERVICE_POLICIES,
    resources.SERVICES,
    resources.ENDPOINT_SLICES,
    resources.NETWORK_POLICIES,
    resources.PODS,
)
"""In the order of writing; they are removed in the opposite one."""
_BY_KIND: Final = {resource.kind: resource for resource in WRITTEN}
_BY_CLUSTER: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
)


@dataclass(frozen=True)
class Wanted:
    """One object as it is to be in the API server. ``status``: to be written by itself; None for none."""

    resource: Resource
    namespace: str
    name: str
    body: Mapping[str, Any]
    status: Mapping[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.resource.kind, self.namespace, self.name)

    @property
    def digest(self) -> str:
        """Of all that is written."""
        return str(self.body["metadata"]["annotations"][DIGEST])


def wanted(manifests: Manifests, lab: str) -> tuple[Wanted, ...]:
    """What to write for the lab of this name, in order; namespaces that objects name are there too."""
    found = [_wanted(each, lab) for each in manifests.objects if each.identity.kind in _BY_KIND]
    named = {each.namespace for each in found if each.namespace}
    written = {each.name for each in found if each.resource is resources.NAMESPACES}
    found += [_namespace(name, lab) for name in named - written - {"default"}]
    order = {resource: place for place, resource in enumerate(WRITTEN)}
    return tuple(sorted(found, key=lambda each: (order[each.resource], each.namespace, each.name)))


def left_out(manifests: Manifests) -> Iterator[str]:
    """What the manifests say and the cluster decides by itself, in words."""
    kinds = {each.identity.kind for each in manifests.objects}
    for kind in sorted(kinds & {"Allocation", "NetworkEndpoint"}):
        yield f"{kind} objects are not written: the operator and the nodes make them"


def _wanted(manifest: Manifest, lab: str) -> Wanted:
    resource = _BY_KIND[manifest.identity.kind]
    body = {key: value for key, value in manifest.data.items() if key != "status"}
    metadata = {key: value for key, value in body["metadata"].items() if key not in _BY_CLUSTER}
    if resource.is_namespaced:
        metadata["namespace"] = manifest.identity.namespace
    status = None
    if resource is resources.PODS:
        body["spec"] = _pod_spec(body["spec"])
        if _is_unready(manifest.data.get("status") or {}):
            metadata["annotations"] = {**(metadata.get("annotations") or {}), READY: "false"}
    elif resource is resources.NODES:
        status = {"addresses": manifest.data["status"]["addresses"]}
    return _marked(resource, {**body, "metadata": metadata}, status, lab)


def _namespace(name: str, lab: str) -> Wanted:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    return _marked(resources.NAMESPACES, body, None, lab)


def _marked(resource: Resource, body: dict[str, Any], status: dict[str, Any] | None, lab: str) -> Wanted:
    metadata = body["metadata"]
    labels = {**(metadata.get("labels") or {}), LAB_LABEL: lab}
    text = json.dumps([{**body, "metadata": {**metadata, "labels": labels}}, status], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    annotations = {**(metadata.get("annotations") or {}), DIGEST: digest}
    marked = {**body, "metadata": {**metadata, "labels": labels, "annotations": annotations}}
    return Wanted(resource, metadata.get("namespace", ""), metadata["name"], marked, status)


def _pod_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Complete as a real API server demands it, and without what would hang in a cluster without kubelets."""
    filled = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, **spec}
    for name in ("containers", "initContainers"):
        if name in filled:
            filled[name] = [{"image": IMAGE, **container} for container in filled[name]]
    return filled


def _is_unready(status: Mapping[str, Any]) -> bool:
    conditions: Iterable[Mapping[str, Any]] = status.get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] != "True" for each in conditions)
