"""A cluster of thousands of objects, as an API server has it when operator and nodes have done their work: lines of the fake server's journal.

Networks and nodes come in groups of the same size: each network has two pods on each node of its group. So a node has as many networks as
there are in a group, whatever the size of the cluster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Data = dict[str, Any]

OURS = "lace-cni.io"
CREATED = "2026-01-01T00:00:00Z"
PODS_A_NODE = 2
"""Of each network, on each node of its group."""
_BLOCK = 6
"""Host bits of a node's block."""


@dataclass(frozen=True, slots=True)
class Size:
    """``group``: networks, and nodes, of one group; ``services``: of each network, with up to 20 endpoints each."""

    groups: int
    group: int
    services: int = 5

    @property
    def networks(self) -> int:
        return self.groups * self.group

    @property
    def pods(self) -> int:
        return self.networks * self.group * PODS_A_NODE

    def __str__(self) -> str:
        counts = {
            "nodes": self.networks,
            "networks": self.networks,
            "pods": self.pods,
            "services": self.networks * self.services,
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items())


@dataclass(frozen=True, slots=True)
class BigPod:
    """``number``: of all pods of its network."""

    network: int
    node: int
    number: int

    @property
    def namespace(self) -> str:
        return network_name(self.network)

    @property
    def name(self) -> str:
        return f"pod-{self.number:03}"

    @property
    def uid(self) -> str:
        return f"pod-{self.network}-{self.number}"

    @property
    def address(self) -> str:
        within = ((self.number // PODS_A_NODE) << _BLOCK) + 2 + self.number % PODS_A_NODE
        return str(IPv4Address(_base(self.network) + within))


def network_name(number: int) -> str:
    """Of its Namespace too."""
    return f"net-{number:04}"


def node_name(number: int) -> str:
    """Nodes are counted as networks are."""
    return f"node-{number:04}"


def service_name(number: int) -> str:
    """Within a Namespace."""
    return f"service-{number}"


def pods_of(network: int, size: Size) -> Iterator[BigPod]:
    """All pods of a network, by number."""
    first = network // size.group * size.group
    for number in range(size.group * PODS_A_NODE):
        yield BigPod(network, first + number // PODS_A_NODE, number)


def write_journal(file: Path, size: Size) -> int:
    """The journal that the fake API server starts from; how many objects."""
    count = 0
    with file.open("w") as out:
        for count, (group, plural, body) in enumerate(_objects(size), start=1):
            metadata = {"creationTimestamp": CREATED, "generation": 1, "resourceVersion": str(count)}
            body["metadata"] = {**metadata, "uid": f"uid-{count}", **body["metadata"]}
            out.write(json.dumps([[group, plural], "ADDED", body]) + "\n")
    return count


def endpoint_slice(network: int, service: int, size: Size, *, ready: bool = True) -> Data:
    """Of a Service: every fifth pod of its network, twenty at most."""
    its = [each for each in pods_of(network, size) if each.number % size.services == service][:20]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": network_name(network),
            "name": f"{service_name(service)}-a",
            "labels": {"kubernetes.io/service-name": service_name(service)},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": [
            {
                "addresses": [each.address],
                "conditions": {"ready": ready or place > 0, "serving": True, "terminating": False},
                "nodeName": node_name(each.node),
                "targetRef": {
                    "kind": "Pod",
                    "namespace": each.namespace,
                    "name": each.name,
                    "uid": each.uid,
                },
            }
            for place, each in enumerate(its)
        ],
    }


def _base(network: int) -> int:
    """Every network has a /18 of 10.0.0.0/8."""
    return int(IPv4Address("10.0.0.0")) + (network << 14)


def _objects(size: Size) -> Iterator[tuple[str, str, Data]]:
    yield "", "namespaces", _core("Namespace", {"name": "lace-sdn"})
    for node in range(size.networks):
        addresses = [
            {"type": "InternalIP", "address": str(IPv4Address(int(IPv4Address("172.16.0.1")) + node))}
        ]
        yield "", "nodes", {**_core("Node", {"name": node_name(node)}), "status": {"addresses": addresses}}
    for network in range(size.networks):
        yield from _network(network, size)
        for pod in pods_of(network, size):
            yield from _pod(pod)
        for service in range(size.services):
            yield from _service(network, service, size)


def _network(number: int, size: Size) -> Iterator[tuple[str, str, Data]]:
    name, first = network_name(number), number // size.group * size.group
    yield "", "namespaces", _core("Namespace", {"name": name})
    subnet = {"prefix": f"{IPv4Address(_base(number))}/18", "hostLocalPrefixLength": 32 - _BLOCK}
    yield (
        *_own("networks"),
        {
            **_ours("Network", {"name": name, "finalizers": ["lace-cni.io/in-use"]}),
            "spec": {"type": "l3", "ipv4Subnet": subnet},
            "status": {"networkKey": number + 1},
        },
    )
    binding = {
        "network": name,
        "priority": 0,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
    }
    yield *_own("networkbindingpolicies"), {**_ours("NetworkBindingPolicy", {"name": name}), "spec": binding}
    following = network_name(first + (number + 1 - first) % size.group)
    pair = {"srcSelector": {"name": name}, "destSelector": {"name": following}}
    yield *_own("networkroutingpolicies"), {**_ours("NetworkRoutingPolicy", {"name": name}), "spec": pair}
    far = network_name(first + (number + 2 - first) % size.group)
    pair = {"srcSelector": {"name": name}, "destSelector": {"name": far}}
    yield *_own("serviceroutingpolicies"), {**_ours("ServiceRoutingPolicy", {"name": name}), "spec": pair}
    for place in range(size.group):
        block = f"{IPv4Address(_base(number) + (place << _BLOCK))}/{32 - _BLOCK}"
        spec = {"network": name, "node": node_name(first + place), "ipv4Block": block}
        yield *_own("allocations"), {**_ours("Allocation", {"name": f"{name}-{place}"}), "spec": spec}


def _pod(pod: BigPod) -> Iterator[tuple[str, str, Data]]:
    metadata = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "labels": {"app": "web"}}
    container = {
        "name": "main",
        "image": "registry.example/web:1",
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    status = {
        "phase": "Running",
        "podIP": pod.address,
        "podIPs": [{"ip": pod.address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    spec = {"nodeName": node_name(pod.node), "containers": [container]}
    yield "", "pods", {**_core("Pod", metadata), "spec": spec, "status": status}
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid, "controller": True}
    its = {"namespace": pod.namespace, "name": pod.name, "ownerReferences": [owner]}
    where = {"network": network_name(pod.network), "node": node_name(pod.node), "addresses": [pod.address]}
    yield *_own("networkendpoints"), {**_ours("NetworkEndpoint", its), "spec": where}


def _service(network: int, number: int, size: Size) -> Iterator[tuple[str, str, Data]]:
    vip = str(IPv4Address(int(IPv4Address("172.30.0.1")) + network * size.services + number))
    metadata = {"namespace": network_name(network), "name": service_name(number)}
    spec = {
        "type": "ClusterIP",
        "clusterIP": vip,
        "clusterIPs": [vip],
        "ipFamilies": ["IPv4"],
        "selector": {"app": "web"},
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
    }
    yield "", "services", {**_core("Service", metadata), "spec": spec}
    yield "discovery.k8s.io", "endpointslices", endpoint_slice(network, number, size)


def _own(plural: str) -> tuple[str, str]:
    return OURS, plural


def _ours(kind: str, metadata: Data) -> Data:
    return {"apiVersion": f"{OURS}/v1alpha1", "kind": kind, "metadata": metadata}


def _core(kind: str, metadata: Data) -> Data:
    body = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    if kind == "Namespace":
        metadata.setdefault("labels", {"kubernetes.io/metadata.name": metadata["name"]})
    return body
