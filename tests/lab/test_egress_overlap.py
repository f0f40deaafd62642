"""Fifty networks with one prefix on one node: a pod of each, with the same address, at the same server from the same port."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import netns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

    Bring = Callable[[Lab, Path], Built]

NETWORKS = 50
POD = {4: "10.77.0.5", 6: "fd00:77::5"}
SERVER = {4: "203.0.113.10", 6: "2001:db8:1::10"}
NODE = {4: "172.18.0.11", 6: "fd00:172:18::11"}
SERVER_PORT, CLIENT_PORT = 7777, 33333
PATIENCE = 20.0

NODE_AND_WORLD = f"""
apiVersion: v1
kind: Node
metadata: {{name: node1}}
status:
  addresses: [{{type: InternalIP, address: {NODE[4]}}}, {{type: InternalIP, address: "{NODE[6]}"}}]
---
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {{name: internet}}
spec: {{type: external, externalPrefixes: ["0.0.0.0/0", "::/0"]}}
---
apiVersion: lace-cni.io/v1alpha1
kind: NetworkRoutingPolicy
metadata: {{name: tenants-to-internet}}
spec:
  srcSelector: {{matchLabels: {{kind: tenant}}}}
  destSelector: {{name: internet}}
---
apiVersion: lab.lace-cni.io/v1alpha1
kind: ExternalHost
metadata: {{name: web}}
spec: {{addresses: ["{SERVER[4]}", "{SERVER[6]}"]}}
"""
TENANT = """---
apiVersion: v1
kind: Namespace
metadata: {{name: {name}, labels: {{network: {name}}}}}
---
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {{name: {name}, labels: {{kind: tenant}}}}
spec:
  type: l3
  ipv4Subnet: {{prefix: 10.77.0.0/16}}
  ipv6Subnet: {{prefix: "fd00:77::/48"}}
---
apiVersion: lace-cni.io/v1alpha1
kind: NetworkBindingPolicy
metadata: {{name: {name}}}
spec: {{network: {name}, namespaceSelector: {{matchLabels: {{network: {name}}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: app, namespace: {name}}}
spec: {{nodeName: node1, containers: [{{name: main, image: example}}]}}
status: {{podIPs: [{{ip: {four}}}, {{ip: "{six}"}}]}}
"""


@pytest.fixture
def crowd(lab: Lab, bring: Bring, tmp_path: Path) -> tuple[Lab, list[str]]:
    """A lab with all of them, and their pods' names."""
    names = [f"tenant-{number}" for number in range(NETWORKS)]
    tenants = (TENANT.format(name=name, four=POD[4], six=POD[6]) for name in names)
    (tmp_path / "cluster.yaml").write_text(NODE_AND_WORLD + "".join(tenants))
    built = bring(lab, tmp_path)
    assert built.problems == ()
    return lab, [f"{name}/app" for name in names]


def _family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6


@pytest.fixture
def server(crowd: tuple[Lab, list[str]]) -> Iterator[dict[int, list[tuple[str, int]]]]:
    """Echoes whatever comes in, over both families; whom it saw, by family."""
    lab, _ = crowd
    seen: dict[int, list[tuple[str, int]]] = {4: [], 6: []}
    listening = {}
    for version, address in SERVER.items():
        with netns.inside(lab.host_namespace("web")):
            listening[version] = socket.create_server(
                (address, SERVER_PORT), family=_family(version), backlog=2 * NETWORKS
            )

    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1024):
                connection.sendall(data)

    def accept(version: int) -> None:
        while True:
            try:
                connection, client = listening[version].accept()
            except OSError:
                return
            seen[version].append(client[:2])
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    for version in listening:
        threading.Thread(target=accept, args=(version,), daemon=True).start()
    yield seen
    for each in listening.values():
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def _connected(lab: Lab, pod: str, version: int) -> socket.socket:
    with netns.inside(lab.pod_namespace(pod)):
        client = socket.socket(_family(version), socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    client.bind((POD[version], CLIENT_PORT))
    client.connect((SERVER[version], SERVER_PORT))
    return client


@pytest.mark.parametrize("version", [4, 6])
def test_fifty_pods_with_one_address_hold_connections_from_one_port(
    crowd: tuple[Lab, list[str]], server: dict[int, list[tuple[str, int]]], version: int
) -> None:
    """All at the same time; each gets its own answers, in turns; the server sees the node, by a port for each."""
    lab, pods = crowd
    clients = {pod: _connected(lab, pod, version) for pod in pods}
    try:
        for turn in range(3):
            for pod, client in clients.items():
                client.sendall(f"{pod} {turn}".encode())
            for pod, client in clients.items():
                assert client.recv(1024) == f"{pod} {turn}".encode()
        assert {address for address, _ in server[version]} == {NODE[version]}
        assert len({port for _, port in server[version]}) == NETWORKS
    finally:
        for client in clients.values():
            client.close()
