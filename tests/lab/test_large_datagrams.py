"""Datagrams of more fragments than Open vSwitch's own conntrack lets go at once: none arrives where the datagram does not belong."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import netns

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Bring

    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab
LARGE, SMALL = 60_000, 64
ROUNDS = 4_000
"""Of a millisecond or more: one small question each, and every 50th a large answer."""
PORT = 7000
ETH_P = {4: 0x0800, 6: 0x86DD}
PODS = {"a": ("a2", "node2"), "b": ("b1", "node1"), "srv": ("s1", "node1"), "far": ("s2", "node2")}
NETWORKS = {"a": 500, "b": 501, "srv": 502}


def _objects() -> str:
    """Networks a and b may call srv; its pod s1 is on b1's node, s2 is on a2's."""
    found = [
        f"apiVersion: v1\nkind: Node\nmetadata: {{name: node{n}}}\n"
        f"status: {{addresses: [{{type: InternalIP, address: 192.168.50.{n}}}]}}\n"
        for n in (1, 2)
    ]
    for number, (name, key) in enumerate(NETWORKS.items()):
        found += [
            f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{network: {name}}}}}\n",
            (
                "apiVersion: lace-cni.io/v1alpha1\nkind: Network\n"
                f"metadata: {{name: {name}}}\nspec:\n  type: l3\n"
                f"  ipv4Subnet: {{prefix: 10.{50 + number}.0.0/16, hostLocalPrefixLength: 24}}\n"
                f"  ipv6Subnet: {{prefix: 'fd00:{50 + number}::/48', hostLocalPrefixLength: 64}}\n"
                f"status: {{networkKey: {key}}}\n"
            ),
            (
                "apiVersion: lace-cni.io/v1alpha1\nkind: NetworkBindingPolicy\n"
                f"metadata: {{name: {name}}}\nspec: {{network: {name}, namespaceSelector: {{matchLabels: {{network: {name}}}}}}}\n"
            ),
        ]
    for name in ("a", "b"):
        found.append(
            "apiVersion: lace-cni.io/v1alpha1\nkind: NetworkRoutingPolicy\n"
            f"metadata: {{name: {name}-to-srv}}\nspec: {{srcSelector: {{name: {name}}}, destSelector: {{name: srv}}}}\n"
        )
    for where, (pod, node) in PODS.items():
        namespace = "srv" if where == "far" else where
        found.append(
            f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: {namespace}}}\n"
            f"spec: {{nodeName: {node}, containers: [{{name: main, image: x}}]}}\n"
        )
    return "---\n".join(found)


@pytest.mark.parametrize("family", [4, 6])
def test_no_piece_of_a_large_datagram_reaches_another_network(
    standing: Lab, bring: Bring, tmp_path: Path, family: int
) -> None:
    (tmp_path / "cluster.yaml").write_text(_objects())
    state = bring(standing, tmp_path).state
    ids = {"a2": "a/a2", "b1": "b/b1", "s1": "srv/s1", "s2": "srv/s2"}
    address = {
        name: str(next(each for each in state.endpoint_by_id[pod].addresses if each.version == family))
        for name, pod in ids.items()
    }
    with ExitStack() as stack:
        sockets = {}
        for name, pod in ids.items():
            with netns.inside(standing.pod_namespace(pod)):
                made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            sockets[name] = stack.enter_context(made)
            made.bind((address[name], PORT))
            made.setblocking(False)
        with netns.inside(standing.pod_namespace(ids["b1"])):
            watch = stack.enter_context(
                socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P[family]))
            )
        watch.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        watch.setblocking(False)
        answered, foreign = _talk(sockets, watch, address, family)
    assert answered > ROUNDS // 2
    assert foreign == 0


def _talk(
    sockets: dict[str, socket.socket], watch: socket.socket, address: dict[str, str], family: int
) -> tuple[int, int]:
    """Answers that b1 got, and packets that came to it and were not from s2."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    start = 12 if family == 4 else 8
    own = {socket.inet_pton(kind, address[name]) for name in ("s2", "b1")}
    answered = foreign = 0
    for number in range(ROUNDS):
        sockets["b1"].sendto(bytes(SMALL), (address["s2"], PORT))
        if number % 50 == 0:
            sockets["a2"].sendto(b"?", (address["s1"], PORT))
        for name, size in (("s1", LARGE), ("s2", SMALL)):
            with suppress(BlockingIOError):
                _, asker = sockets[name].recvfrom(100)
                sockets[name].sendto(bytes(size), asker)
        with suppress(BlockingIOError):
            while sockets["b1"].recv(100):
                answered += 1
        with suppress(BlockingIOError):
            while packet := watch.recv(2000):
                source = packet[start : start + (4 if family == 4 else 16)]
                foreign += source not in own and not _is_link_local(source)
        time.sleep(0.001)
    return answered, foreign


def _is_link_local(source: bytes) -> bool:
    return len(source) == 16 and source[:2] in (b"\xfe\x80", bytes(2))
