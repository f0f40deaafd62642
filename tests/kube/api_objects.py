"""A cluster as an API server has it, made from manifests and what was allocated for them."""

from __future__ import annotations

import copy
import hashlib
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.observed import manifest_of, owner_uid
from lace_sdn.kube.trim import trimmed
from lace_sdn.lab.api.slices import slices_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.kube.build import Built
    from lace_sdn.kube.manifests import Manifest, Manifests

Data = dict[str, Any]

_KEPT = {
    "Node",
    "Namespace",
    "Network",
    "NetworkBindingPolicy",
    "NetworkRoutingPolicy",
    "ServiceRoutingPolicy",
    "Service",
    "ExternalHost",
}


def uid_of(kind: str, namespace: str, name: str) -> str:
    """The same at every time."""
    return hashlib.sha256(f"{kind} {namespace}/{name}".encode()).hexdigest()[:32]


def api_objects(manifests: Manifests, built: Built) -> list[Data]:
    """Every object, as they are when the operator and all nodes have done their work."""
    keys = {network.name: network.key for network in built.state.networks}
    endpoints = {endpoint.id: endpoint for endpoint in built.state.endpoints}
    found = []
    for manifest in manifests.objects:
        if manifest.identity.kind in _KEPT:
            body = _body(manifest)
            if manifest.identity.kind == "Network":
                body.pop("status", None)
                if manifest.identity.name in keys:
                    body["status"] = {"networkKey": keys[manifest.identity.name]}
            found.append(body)
    nodes = {node.name: node for node in built.state.nodes}
    pods = [_pod(each, endpoints, nodes) for each in manifests.of_kind("Pod")]
    found += pods
    found += [_endpoint(each) for each in built.state.endpoints]
    found += [*_allocations(built)]
    slices = [*_slices(manifests, pods)]
    found += slices
    found += memberships(found)
    return found


def seen(bodies: Iterable[Data], node: str = "") -> list[Manifest]:
    """What the whole cluster looks like, or what of it the controller of a node watches."""
    found = []
    for body in bodies:
        if node and body["kind"] == "Pod" and body["spec"].get("nodeName") != node:
            continue
        if node and body["kind"] == "NetworkEndpoint" and body["spec"]["node"] != node:
            continue
        manifest = manifest_of(copy.deepcopy(body) if body["kind"] == "ExternalHost" else trimmed(body))
        if manifest is not None:
            found.append(manifest)
    return found


def memberships(bodies: Iterable[Data]) -> list[Data]:
    """What the operator publishes: for every Service with slices, by every pod's NetworkEndpoint; more than it needs to."""
    bodies = list(bodies)
    endpoints = {owner_uid(each): each for each in bodies if each["kind"] == "NetworkEndpoint"}
    found: dict[tuple[str, str], Data] = {}
    for body in bodies:
        if body["kind"] != "EndpointSlice":
            continue
        service = (body["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
        key = (body["metadata"]["namespace"], service)
        for entry in body["endpoints"]:
            reference = entry.get("targetRef") or {}
            its = endpoints.get(reference.get("uid", ""))
            if its is not None:
                spec = found.setdefault(key, {"members": [], "foreign": []})
                spec["members"].append((its["spec"]["network"], entry["addresses"][0], reference))
    networks = _networks_of_services(bodies)
    return [
        {
            "apiVersion": "lace-cni.io/v1alpha1",
            "kind": "ServiceMembership",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "members": [
                    {"address": address, "podUID": reference["uid"]}
                    for network, address, reference in spec["members"]
                    if network == networks.get((namespace, name))
                ]
            },
        }
        for (namespace, name), spec in found.items()
    ]


def _networks_of_services(bodies: list[Data]) -> dict[tuple[str, str], str]:
    from lace_sdn.kube.manifests import Manifests  # noqa: PLC0415
    from lace_sdn.kube.observed import observe  # noqa: PLC0415

    state = observe(Manifests(objects=tuple(seen(bodies)))).state
    return {(each.namespace, each.name): each.network for each in state.services}


def _body(manifest: Manifest) -> Data:
    body = copy.deepcopy(dict(manifest.data))
    metadata = {**body["metadata"], "uid": uid_of(manifest.identity.kind, *manifest.identity.order)}
    if manifest.identity.namespace:
        metadata["namespace"] = manifest.identity.namespace
    return {**body, "metadata": metadata}


def _pod(manifest: Manifest, endpoints: dict[str, Any], nodes: dict[str, Any]) -> Data:
    body = _body(manifest)
    status = body.get("status") or {}
    its = endpoints.get(manifest.identity.full_name)
    if its is not None:
        status = {**status, "phase": status.get("phase", "Running")}
        status["podIPs"] = [{"ip": str(address)} for address in its.addresses]
        if not any(each["type"] == "Ready" for each in status.get("conditions") or ()):
            status["conditions"] = [*(status.get("conditions") or ()), {"type": "Ready", "status": "True"}]
    elif body["spec"].get("hostNetwork") and body["spec"].get("nodeName") in nodes:
        addresses = nodes[body["spec"]["nodeName"]].addresses
        ready = {"type": "Ready", "status": "True"}
        own = {"phase": "Running", "podIPs": [{"ip": str(each)} for each in addresses], "conditions": [ready]}
        status = {**own, **status}
    return {**body, "status": status}


def _endpoint(its: Any) -> Data:
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": its.name,
        "uid": uid_of("Pod", its.namespace, its.name),
    }
    return {
        "apiVersion": "lace-cni.io/v1alpha1",
        "kind": "NetworkEndpoint",
        "metadata": {"namespace": its.namespace, "name": its.name, "ownerReferences": [owner]},
        "spec": {
            "network": its.network,
            "node": its.node,
            "addresses": [str(address) for address in its.addresses],
        },
    }


def _allocations(built: Built) -> Iterator[Data]:
    for number, each in enumerate(built.state.allocations):
        yield {
            "apiVersion": "lace-cni.io/v1alpha1",
            "kind": "Allocation",
            "metadata": {"name": f"{each.network}-{number}"},
            "spec": {
                "network": each.network,
                "node": each.node,
                f"ipv{each.block.version}Block": str(each.block),
            },
        }


def _slices(manifests: Manifests, pods: list[Data]) -> Iterator[Data]:
    """Those that are written, with the pods that they speak of; for the rest of the Services, the controller's."""
    by_hand = set()
    known = {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods}
    for manifest in manifests.of_kind("EndpointSlice"):
        body = _body(manifest)
        labels = body["metadata"].get("labels") or {}
        by_hand.add((body["metadata"]["namespace"], labels.get("kubernetes.io/service-name")))
        for entry in body.get("endpoints") or ():
            reference = entry.get("targetRef") or {}
            namespace = reference.get("namespace") or body["metadata"]["namespace"]
            if reference.get("kind") == "Pod" and (namespace, reference["name"]) in known:
                reference["namespace"] = namespace
                reference["uid"] = uid_of("Pod", namespace, reference["name"])
        yield body
    for manifest in manifests.of_kind("Service"):
        service = _body(manifest)
        if (manifest.identity.namespace, manifest.identity.name) not in by_hand and service["spec"].get(
            "selector"
        ):
            its = [pod for pod in pods if pod["metadata"]["namespace"] == manifest.identity.namespace]
            yield from slices_of(service, _named(its))


def _named(pods: list[Data]) -> list[Data]:
    """Host pods have the addresses of their nodes in a real cluster; here they are only looked up where a scenario says them."""
    return [
        pod for pod in pods if all(_is_address(entry["ip"]) for entry in pod["status"].get("podIPs") or ())
    ]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
