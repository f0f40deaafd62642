"""The world outside while things happen: switches restart, policies go, packets are too large, connections go on."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import netns, processes, reach
from lace_sdn.lab.switches import Switch
from lace_sdn.policy.reachability import intended

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bring, Differences

    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab
BOOK = Path(__file__).parents[2] / "flows"
BOUND_S = 30.0
PATIENCE = 20.0
POD = {4: "10.230.0.2", 6: "fd00:230::2"}
REMOTE_POD = {4: "10.230.1.2", 6: "fd00:230:0:1::2"}
DESK = {4: "192.0.2.21", 6: "2001:db8:2::21"}
TOO_LARGE = 1500
IP_MTU, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 14, 10, 2  # linux/in.h
IPV6_MTU, IPV6_MTU_DISCOVER = 24, 23  # linux/in6.h


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _socket(namespace: str, version: int, kind: socket.SocketKind) -> socket.socket:
    with netns.inside(namespace):
        made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind)
    made.settimeout(PATIENCE)
    return made


@pytest.mark.parametrize("scenario", ["nodeport-cluster", "egress-overlapping-networks"])
def test_a_restarted_switch_has_its_way_out_again(
    standing: Lab, bring: Bring, differences: Differences, scenario: str
) -> None:
    """Its gateway interface is a new one: addresses, neighbours and routes come back, and all is as intended."""
    bring(standing, BOOK / scenario)
    switch = Switch(standing, "node1")
    for pid, mark in processes.find(switch.folder).items():
        if mark == str(switch.folder / "ovs-vswitchd"):
            processes.stop(switch.folder / "ovs-vswitchd")
            assert pid
    assert differences(standing, bring(standing, BOOK / scenario)) == {}


@pytest.mark.parametrize("version", [4, 6])
def test_a_too_large_packet_from_outside_is_answered_with_what_fits(
    standing: Lab, bring: Bring, version: int
) -> None:
    """ICMP "fragmentation needed", ICMPv6 "packet too big": the host outside learns the pods' MTU, to either node."""
    bring(standing, BOOK / "ingress-to-pods")
    level = socket.IPPROTO_IP if version == 4 else socket.IPPROTO_IPV6
    discover, mtu = (IP_MTU_DISCOVER, IP_MTU) if version == 4 else (IPV6_MTU_DISCOVER, IPV6_MTU)
    headers = 28 if version == 4 else 48
    for called in (POD[version], REMOTE_POD[version]):
        with _socket(standing.host_namespace("desk-1"), version, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(level, discover, IP_PMTUDISC_DO)
            sender.connect((called, 8080))
            learned: list[int] = []

            def has_learned(its: socket.socket = sender, into: list[int] = learned) -> bool:
                try:
                    its.send(bytes(TOO_LARGE - headers))
                except OSError:
                    into.append(its.getsockopt(level, mtu))
                return bool(into) and into[-1] < TOO_LARGE

            _await(has_learned)
            assert learned[-1] == 1450


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("pod", ["local", "remote"])
def test_a_megabyte_from_outside_arrives(standing: Lab, bring: Bring, version: int, pod: str) -> None:
    """By TCP, over path MTU discovery, through one node or two."""
    bring(standing, BOOK / "ingress-to-pods")
    name, address = ("apps/web-1", POD[version]) if pod == "local" else ("apps/web-2", REMOTE_POD[version])
    with (
        _socket(standing.pod_namespace(name), version, socket.SOCK_STREAM) as listening,
        _socket(standing.host_namespace("desk-1"), version, socket.SOCK_STREAM) as client,
    ):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, 9999))
        listening.listen()
        client.connect((address, 9999))
        server, who = listening.accept()
        with server:
            server.settimeout(PATIENCE)
            assert who[0] == DESK[version]
            sent = bytes(range(256)) * 4096
            received = bytearray()
            client.setblocking(False)
            rest = memoryview(sent)
            deadline = time.monotonic() + BOUND_S
            while len(received) < len(sent):
                assert time.monotonic() < deadline
                with contextlib.suppress(BlockingIOError):
                    rest = rest[client.send(rest[:65536]) :] if rest else rest
                received += server.recv(1 << 20)
            assert bytes(received) == sent


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_in_fragments_passes(standing: Lab, bring: Bring, version: int) -> None:
    """From outside to a pod at once; by a NodePort from the second datagram on (userspace datapath)."""
    bring(standing, BOOK / "nodeport-local")
    pod = {4: "10.250.0.2", 6: "fd00:250::2"}[version]
    node = {4: "172.18.0.11", 6: "fd00:172:18::11"}[version]
    for called, warm in (((pod, 5353), False), ((node, 30053), True)):
        with _socket(standing.host_namespace("web"), version, socket.SOCK_DGRAM) as client:
            client.connect(called)
            if warm:
                client.send(b"first")
                assert client.recv(100) == b"apps/api-1\n"
            client.settimeout(0.5)
            answers: list[bytes] = []

            def is_answered(its: socket.socket = client, into: list[bytes] = answers) -> bool:
                # The first may say that its fragments are too large for the way: the next ones are smaller.
                with contextlib.suppress(TimeoutError, OSError):
                    its.send(b"x" * 4000)
                    into.append(its.recv(100))
                return bool(into)

            _await(is_answered)
            assert answers == [b"apps/api-1\n"]


def test_a_policy_that_goes_cuts_what_it_allowed(standing: Lab, bring: Bring, tmp_path: Path) -> None:
    """Out to the world and in from it: live connections end with the policy, on their next packet."""
    text = (BOOK / "egress-to-internet" / "cluster.yaml").read_text()
    bring(standing, BOOK / "egress-to-internet")
    with _socket(standing.pod_namespace("team/app-1"), 4, socket.SOCK_STREAM) as client:
        client.connect(("203.0.113.10", 443))
        assert client.recv(100) == b"host web\n"
        without = "---".join(part for part in text.split("---") if "NetworkRoutingPolicy" not in part)
        (tmp_path / "cluster.yaml").write_text(without)
        built = bring(standing, tmp_path)
        client.send(b"more")
        client.settimeout(1.0)
        with pytest.raises(TimeoutError):
            client.recv(100)
    findings = reach.measure(standing, built.state, intended(built.state))
    assert not any(
        finding.found is not reach.Found.DENY
        for asked, finding in findings.items()
        if asked.destination.startswith("host ")
    )


def test_an_underlay_of_ipv6_alone(
    standing: Lab, bring: Bring, differences: Differences, tmp_path: Path
) -> None:
    """Tunnels, ways out and in, NodePorts: of IPv4 the pods have only each other."""
    text = (BOOK / "nodeport-local" / "cluster.yaml").read_text()
    lines = [line for line in text.splitlines() if "InternalIP, address: 172." not in line]
    (tmp_path / "cluster.yaml").write_text("\n".join(lines))
    built = bring(standing, tmp_path)
    assert all(address.version == 6 for node in built.state.nodes for address in node.addresses)
    assert differences(standing, built) == {}


def test_a_node_of_ipv6_alone_beside_nodes_of_both_families(
    standing: Lab, bring: Bring, differences: Differences, tmp_path: Path
) -> None:
    """Its tunnels are of IPv6, those between the others of IPv4: from each node's pod to the others', and from outside by any node."""
    text = (BOOK / "nodeport-cluster" / "cluster.yaml").read_text()
    parts = [part for part in text.split("---\n") if "kind: Pod\n" not in part]
    (pod,) = (part for part in text.split("---\n") if "{name: api-1," in part)
    parts += [pod.replace("api-1", f"api-{i}").replace("node1", f"node{i}") for i in (1, 2, 3)]
    lines = [line for line in "---\n".join(parts).splitlines() if "172.18.0.13" not in line]
    (tmp_path / "cluster.yaml").write_text("\n".join(lines))
    built = bring(standing, tmp_path)
    families = [{address.version for address in node.addresses} for node in built.state.nodes]
    assert families == [{4, 6}, {4, 6}, {6}]
    assert [each.node for each in built.state.endpoints] == ["node1", "node2", "node3"]
    assert built.conditions == ()
    assert differences(standing, built) == {}
