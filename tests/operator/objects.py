"""Objects of a cluster as users and Kubernetes write them."""

from __future__ import annotations

from typing import Any

Data = dict[str, Any]


def network(name: str, prefix: str = "10.0.0.0/22", prefix6: str = "", kind: str = "l3") -> Data:
    spec: Data = {"type": kind}
    if prefix:
        spec["ipv4Subnet"] = {"prefix": prefix, "hostLocalPrefixLength": 24}
    if prefix6:
        spec["ipv6Subnet"] = {"prefix": prefix6, "hostLocalPrefixLength": 64}
    return {"kind": "Network", "metadata": {"name": name}, "spec": spec}


def external(name: str, *prefixes: str) -> Data:
    spec = {"type": "external", "externalPrefixes": list(prefixes)}
    return {"kind": "Network", "metadata": {"name": name}, "spec": spec}


def node(name: str) -> Data:
    return {"kind": "Node", "metadata": {"name": name}}


def namespace(name: str, **labels: str) -> Data:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(name: str, node: str = "", namespace: str = "shop", **labels: str) -> Data:
    meta = {"name": name, "namespace": namespace, "labels": labels}
    return {"kind": "Pod", "metadata": meta, "spec": {"nodeName": node} if node else {}}


def binding(network: str, priority: int = 0, **labels: str) -> Data:
    """Pods with these labels, in any namespace."""
    spec: Data = {"network": network, "priority": priority, "selector": {"matchLabels": labels}}
    return {"kind": "NetworkBindingPolicy", "metadata": {"name": f"to-{network}"}, "spec": spec}


def allocation(name: str, network: str, node: str, *blocks: str) -> Data:
    spec = {"network": network, "node": node}
    spec |= {"ipv6Block" if ":" in each else "ipv4Block": each for each in blocks}
    return {"kind": "Allocation", "metadata": {"name": name}, "spec": spec}


def endpoint(pod: Data, network: str, *addresses: str) -> Data:
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "kind": "NetworkEndpoint",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "ownerReferences": [owner]},
        "spec": {"network": network, "node": pod["spec"]["nodeName"], "addresses": list(addresses)},
    }
