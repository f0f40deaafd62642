"""The cluster that is attacked: three nodes, four tenants, a server's Network, the world outside; and what its objects are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from lace_sdn.lab import datapath, links
from lace_sdn.openflow.match import parse_mac

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState

NODES = {"node1": "192.168.60.1", "node2": "192.168.60.2", "node3": "192.168.60.3"}
NETWORKS = {"a": 101, "b": 102, "srv": 103, "c": 104, "d": 105}
PODS = {
    "a/1": "node1", "a/2": "node2", "a/3": "node3",
    "b/1": "node1", "b/2": "node2",
    "srv/1": "node1", "srv/2": "node2",
    "c/1": "node1", "d/1": "node1", "d/2": "node2",
}  # fmt: skip
HOST, HOST_ADDRESS = "host web", "203.0.113.10"
VIP, NOWHERE = "10.96.60.1", "10.96.60.2"
"""Of srv/web, whose endpoint is srv/2, and of a Service of d without endpoints."""
DOOR, NODE_PORT = 7100, 30100
"""The Service's port and its NodePort, both UDP; TCP has the next numbers."""
ALWAYS = (("a", "srv"), ("b", "srv"), ("a", "internet"), ("internet", "srv"))
REVOCABLE = ("c", "srv")
POLICY = "revocable.yaml"
NODE = "node3.yaml"
MORE = "more.yaml"


@dataclass(frozen=True)
class Place:
    """Where packets start and arrive: its network namespace, its device with its MAC (48 bits), its address."""

    namespace: str
    device: str
    mac: int
    address: str


def places(lab: Lab, state: ClusterState) -> dict[str, Place]:
    """All pods, the host, and the nodes with their places on the underlay, by name."""
    found = {
        each.id: Place(
            lab.pod_namespace(each.id), links.POD_DEVICE, parse_mac(each.mac), str(each.addresses[0])
        )
        for each in state.endpoints
    }
    where = {HOST: (lab.host_namespace("web"), links.HOST_DEVICE, HOST_ADDRESS)}
    uplink = datapath.of(lab).underlay_device
    where |= {name: (lab.node_namespace(name), uplink, address) for name, address in NODES.items()}
    for name, (namespace, device, address) in where.items():
        found[name] = Place(namespace, device, parse_mac(links.mac(namespace, device)), address)
    return found


def write(folder: Path) -> Path:
    """All objects, what comes and goes in files of its own."""
    folder.mkdir()
    (folder / "cluster.yaml").write_text(yaml.safe_dump_all(_objects()))
    (folder / POLICY).write_text(policy(*REVOCABLE))
    (folder / NODE).write_text(yaml.safe_dump(_node("node3")))
    return folder


def policy(source: str, destination: str) -> str:
    """A NetworkRoutingPolicy between two Networks."""
    return yaml.safe_dump(
        _lace("NetworkRoutingPolicy", f"{source}-{destination}", srcSelector={"name": source}, destSelector={"name": destination})
    )  # fmt: skip


def network(name: str) -> str:
    """A Network of pods that asks for a key."""
    return yaml.safe_dump(
        _lace("Network", name, type="l3", ipv4Subnet={"prefix": "10.99.0.0/16", "hostLocalPrefixLength": 24})
    )


def node3() -> str:
    return yaml.safe_dump(_node("node3"))


def _objects() -> list[dict[str, Any]]:
    networks = [
        _lace(
            "Network", name,
            type="l3", ipv4Subnet={"prefix": f"10.{key}.0.0/16", "hostLocalPrefixLength": 24},
        ) | {"status": {"networkKey": key}}
        for name, key in NETWORKS.items()
    ]  # fmt: skip
    internet = _lace("Network", "internet", type="external", externalPrefixes=["0.0.0.0/0"])
    return [
        _node("node1"),
        _node("node2"),
        *networks,
        internet | {"status": {"networkKey": 110}},
        *(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"network": name}}}
            for name in NETWORKS
        ),
        *(
            _lace("NetworkBindingPolicy", name, network=name, namespaceSelector={"matchLabels": {"network": name}})
            for name in NETWORKS
        ),
        *(yaml.safe_load(policy(*pair)) for pair in ALWAYS),
        *(_pod(name, node) for name, node in PODS.items()),
        _service("srv", "web", VIP, {"app": "srv-2"}, NODE_PORT),
        _service("d", "nothing", NOWHERE, {"app": "nothing"}, NODE_PORT + 10),
        {
            "apiVersion": "lab.lace-cni.io/v1alpha1", "kind": "ExternalHost", "metadata": {"name": "web"},
            "spec": {"addresses": [HOST_ADDRESS], "gateway": "node1"},
        },
    ]  # fmt: skip


def _lace(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "lace-cni.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _node(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"addresses": [{"type": "InternalIP", "address": NODES[name]}]},
    }  # fmt: skip


def _pod(name: str, node: str) -> dict[str, Any]:
    namespace, _, number = name.partition("/")
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": number, "namespace": namespace, "labels": {"app": f"{namespace}-{number}"}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example"}]},
    }  # fmt: skip


def _service(namespace: str, name: str, vip: str, selector: dict[str, str], node_port: int) -> dict[str, Any]:
    ports = [
        {"name": protocol.lower(), "protocol": protocol, "port": DOOR + more, "targetPort": DOOR + more, "nodePort": node_port + more}
        for more, protocol in enumerate(("UDP", "TCP"))
    ]  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "NodePort", "clusterIP": vip, "clusterIPs": [vip], "selector": selector, "ports": ports},
    }  # fmt: skip
