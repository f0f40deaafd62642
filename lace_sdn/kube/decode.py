"""Valid manifests -> frozen objects of the model. What a schema promises is not checked again.

Services and EndpointSlices become objects together, in ``services``.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from lace_sdn.kube.probes import containers, probe_ports
from lace_sdn.model.labels import LabelSelector, NetworkSelector, Operator, Requirement, labels
from lace_sdn.model.objects import (
    Allocation,
    BindingPolicy,
    ExternalHost,
    Namespace,
    Network,
    NetworkType,
    Node,
    Pod,
    Port,
    Protocol,
    RoutingPolicy,
    ServicePolicy,
    Subnet,
)
from lace_sdn.policy.ledger import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lace_sdn.kube.manifests import Manifest, Manifests
    from lace_sdn.model.objects import Address

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
"""Kubernetes gives this label to every namespace (API reference: Namespace)."""

Data = dict[str, Any]
T = TypeVar("T")


def in_order(manifests: Manifests, kind: str, decoder: Callable[[Manifest], T]) -> tuple[T, ...]:
    """All objects of a kind in order of (namespace, name). An object is decoded once, however often it is asked for."""
    found = sorted(manifests.of_kind(kind), key=lambda manifest: manifest.identity.order)
    return tuple(manifest.decoded(decoder) for manifest in found)


def network(manifest: Manifest) -> Network:
    """A Network with the key that it asks for (``status.networkKey``), or 0."""
    spec: Data = manifest.data["spec"]
    subnets = [spec[name] for name in ("ipv4Subnet", "ipv6Subnet") if name in spec]
    return Network(
        _name(manifest),
        NetworkType(spec["type"]),
        int(manifest.data.get("status", {}).get("networkKey", 0)),
        tuple(Subnet(ip_network(each["prefix"]), int(each["hostLocalPrefixLength"])) for each in subnets),
        tuple(ip_network(text) for text in spec.get("externalPrefixes", ())),
        labels(manifest.data["metadata"].get("labels")),
        _created(manifest),
    )


def routing_policy(manifest: Manifest) -> RoutingPolicy:
    """A NetworkRoutingPolicy."""
    spec: Data = manifest.data["spec"]
    return RoutingPolicy(
        _name(manifest),
        network_selector(spec["srcSelector"]),
        network_selector(spec["destSelector"]),
        _created(manifest),
    )


def service_policy(manifest: Manifest) -> ServicePolicy:
    """A ServiceRoutingPolicy."""
    spec: Data = manifest.data["spec"]
    return ServicePolicy(
        _name(manifest),
        network_selector(spec["srcSelector"]),
        network_selector(spec["destSelector"]),
        label_selector(spec.get("namespaceSelector", {})),
        _created(manifest),
    )


def binding_policy(manifest: Manifest) -> BindingPolicy:
    """A NetworkBindingPolicy."""
    spec: Data = manifest.data["spec"]
    return BindingPolicy(
        _name(manifest),
        str(spec["network"]),
        label_selector(spec.get("namespaceSelector", {})),
        label_selector(spec.get("selector", {})),
        int(spec["priority"]),
        _created(manifest),
    )


def node(manifest: Manifest) -> Node:
    """A Node with its addresses of type InternalIP."""
    entries = manifest.data["status"]["addresses"]
    return Node(
        _name(manifest),
        tuple(ip_address(entry["address"]) for entry in entries if entry["type"] == "InternalIP"),
        labels(manifest.data["metadata"].get("labels")),
    )


def external_host(manifest: Manifest) -> ExternalHost:
    """An ExternalHost; ``gateway`` is "" where none is written."""
    spec: Data = manifest.data["spec"]
    return ExternalHost(
        _name(manifest),
        tuple(ip_address(text) for text in spec["addresses"]),
        tuple(Port(Protocol(each["protocol"]), int(each["port"])) for each in spec["ports"]),
        spec.get("gateway", ""),
    )


def namespace(manifest: Manifest) -> Namespace:
    """A Namespace, with the label that Kubernetes adds."""
    return namespace_of(_name(manifest), manifest.data["metadata"].get("labels") or {})


def namespace_of(name: str, found: Mapping[str, str]) -> Namespace:
    """A namespace with the label that Kubernetes gives it."""
    return Namespace(name, labels({**found, NAMESPACE_NAME_LABEL: name}))


def pod(manifest: Manifest) -> Pod | None:
    """A Pod that needs a network of ours; None for one on the network of its node, or ended."""
    return None if _is_on_host(manifest) or _has_ended(manifest) else _pod(manifest)


def pod_on_host(manifest: Manifest) -> Pod | None:
    """A Pod on the network of its node; None for another one, or one that has ended."""
    return _pod(manifest) if _is_on_host(manifest) and not _has_ended(manifest) else None


def _is_on_host(manifest: Manifest) -> bool:
    return bool(manifest.data["spec"].get("hostNetwork"))


def _has_ended(manifest: Manifest) -> bool:
    return (manifest.data.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _pod(manifest: Manifest) -> Pod:
    spec, status = manifest.data["spec"], manifest.data.get("status") or {}
    metadata: Data = manifest.data["metadata"]
    return Pod(
        manifest.identity.namespace,
        _name(manifest),
        spec.get("nodeName") or "",
        labels(metadata.get("labels")),
        tuple(dict.fromkeys(_ports(spec))),
        _pod_addresses(status),
        _created(manifest),
        str(metadata.get("uid", "")),
        _is_ready(status),
        bool(metadata.get("deletionTimestamp")),
        probe_ports(spec),
    )


def _is_ready(status: Data) -> bool:
    """The condition Ready; a pod that says nothing of it is taken to be ready."""
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    return bool(conditions.get("Ready", "True") == "True")


def _ports(spec: Data) -> Iterator[Port]:
    """Declared ports in their order; those of sidecars last, as Kubernetes looks names up (KEP-753)."""
    for _, container in containers(spec):
        for entry in container.get("ports") or ():
            protocol = Protocol(entry.get("protocol", "TCP"))
            yield Port(protocol, int(entry["containerPort"]), str(entry.get("name", "")))


def _pod_addresses(status: Data) -> tuple[Address, ...]:
    texts = [entry["ip"] for entry in status.get("podIPs") or ()]
    if not texts and status.get("podIP"):
        texts = [status["podIP"]]
    return tuple(ip_address(text) for text in texts)


def allocations(manifest: Manifest) -> Iterator[Allocation]:
    """The blocks of an Allocation, one a family."""
    spec: Data = manifest.data["spec"]
    for name in ("ipv4Block", "ipv6Block"):
        if name in spec:
            yield Allocation(str(spec["network"]), str(spec["node"]), ip_network(spec[name]))


def lease(manifest: Manifest) -> Lease:
    """What a NetworkEndpoint says that its pod was given."""
    spec: Data = manifest.data["spec"]
    addresses = sorted((ip_address(text) for text in spec["addresses"]), key=lambda each: each.version)
    return Lease(manifest.identity.full_name, str(spec["node"]), str(spec["network"]), tuple(addresses))


def label_selector(data: Data) -> LabelSelector:
    """``matchLabels`` and ``matchExpressions`` as terms, in their order."""
    equal = [
        Requirement(key, Operator.IN, (value,)) for key, value in sorted(data.get("matchLabels", {}).items())
    ]
    terms = [
        Requirement(term["key"], Operator(term["operator"]), tuple(term.get("values", ())))
        for term in data.get("matchExpressions", ())
    ]
    return LabelSelector(tuple(equal + terms))


def network_selector(data: Data) -> NetworkSelector:
    """A name, or labels."""
    return NetworkSelector(data.get("name"), label_selector(data))


def _name(manifest: Manifest) -> str:
    return manifest.identity.name


def _created(manifest: Manifest) -> str:
    return str(manifest.data["metadata"].get("creationTimestamp") or "")
