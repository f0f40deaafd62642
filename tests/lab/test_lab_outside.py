"""Promises about hosts outside the cluster and nodes as ends of connections, with real namespaces and packets."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from dataclasses import replace
from ipaddress import ip_address
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import (
    agent_client,
    cluster,
    datapath,
    hosts,
    links,
    netns,
    places,
    processes,
    stacks,
    switches,
)
from lace_sdn.lab.names import host_interface, pod_interface
from lace_sdn.lab.probes import Observation, Probe
from lace_sdn.model.objects import ExternalHost, HostPod, Port, Protocol
from lace_sdn.pipeline.constants import GATEWAY_INTERFACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bring, BringWith

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState

pytestmark = pytest.mark.lab
PEERING = Path(__file__).parents[2] / "flows" / "one-way-peering"
BOUND_S, PATIENCE = 30.0, 15.0
DNS, WEB = Port(Protocol.UDP, 53), Port(Protocol.TCP, 80)
API = Port(Protocol.TCP, 6443)


def _host(name: str, *addresses: str, gateway: str = "node1") -> ExternalHost:
    return ExternalHost(name, tuple(map(ip_address, addresses)), (DNS, WEB), gateway)


CLIENT = _host("client", "203.0.113.10", "2001:db8::10")
SERVER = _host("server", "198.51.100.7", "198.51.100.8", "2001:db8:7::7", "2001:db8:7::8", gateway="node2")
NODE_IPV6 = {"node1": ip_address("fd00:50::1"), "node2": ip_address("fd00:50::2")}


def _with(*outside: ExternalHost) -> Callable[[ClusterState], ClusterState]:
    """Also IPv6 addresses of the nodes, and a pod on node1's own network."""

    def change(state: ClusterState) -> ClusterState:
        nodes = tuple(
            replace(node, addresses=(*node.addresses, NODE_IPV6[node.name])) for node in state.nodes
        )
        pod = HostPod("kube-system", "api", "node1", (API, DNS))
        return replace(state, nodes=nodes, host_pods=(pod,), external_hosts=outside)

    return change


def _seen(lab: Lab, *probes: Probe) -> list[Observation]:
    return agent_client.probe(lab, [replace(each, patience=PATIENCE) for each in probes])


def _by(name: str) -> Observation:
    return Observation((name,), (name,))


def _routes(namespace: str) -> str:
    return processes.run(["ip", "-n", namespace, "route"]) + processes.run(
        ["ip", "-n", namespace, "-6", "route"]
    )


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


SERVER_PROBES = [
    (address, protocol, port)
    for address in map(str, SERVER.addresses)
    for protocol, port in ((Protocol.ICMP, 0), (Protocol.TCP, 80), (Protocol.UDP, 53))
]


@pytest.mark.parametrize("source", ["host client", "node node1", "node node2"])
def test_hosts_are_reached_at_each_address_in_both_families_and_answer_from_it(
    standing: Lab, bring_with: BringWith, source: str
) -> None:
    """A client's socket takes an answer from the called address only."""
    bring_with(standing, PEERING, _with(CLIENT, SERVER))
    probes = [Probe(source, address, protocol, port) for address, protocol, port in SERVER_PROBES]
    assert _seen(standing, *probes) == [_by("host server")] * len(probes)


def test_a_nodes_own_processes_are_reached_at_its_addresses(standing: Lab, bring_with: BringWith) -> None:
    built = bring_with(standing, PEERING, _with(CLIENT))
    node = built.state.node_by_name["node1"]
    probes = [
        Probe(source, str(address), protocol, port)
        for source in ("host client", "node node2")
        for address in node.addresses
        for protocol, port in ((Protocol.ICMP, 0), (Protocol.TCP, 6443), (Protocol.UDP, 53))
    ]
    assert _seen(standing, *probes) == [_by("node node1")] * len(probes)


def test_a_port_that_nobody_has_is_refused_and_not_seen_by_the_node(
    standing: Lab, bring_with: BringWith
) -> None:
    built = bring_with(standing, PEERING, _with(CLIENT))
    address = str(built.state.node_by_name["node2"].addresses[0])
    asked = [
        Probe("host client", address, Protocol.TCP, 6443),
        Probe("host client", address, Protocol.UDP, 9),
    ]
    assert _seen(standing, *asked) == [Observation(refused=True)] * 2


@pytest.mark.parametrize(("protocol", "port"), [(Protocol.ICMP, 0), (Protocol.TCP, 80), (Protocol.UDP, 53)])
def test_what_a_node_only_forwards_is_not_seen_by_it(
    standing: Lab, bring_with: BringWith, protocol: Protocol, port: int
) -> None:
    built = bring_with(standing, PEERING, _with(CLIENT, SERVER))
    node = standing.node_namespace("node1")
    gateway = str(built.state.node_by_name["node1"].addresses[0])
    client = standing.host_namespace("client")
    by_node = [
        "ip",
        "-n",
        client,
        "route",
        "replace",
        "198.51.100.7",
        "via",
        gateway,
        "dev",
        "eth0",
        "onlink",
    ]
    processes.run(by_node)
    uplink = datapath.of(standing).underlay_device
    processes.run(netns.command(node, "sysctl", "-w", "net.ipv4.ip_forward=1", f"net.ipv4.conf.{uplink}.send_redirects=0", "net.ipv4.conf.all.send_redirects=0"))  # fmt: skip
    before = _forwarded(node)
    assert _seen(standing, Probe("host client", "198.51.100.7", protocol, port)) == [_by("host server")]
    assert _forwarded(node) > before


def _forwarded(namespace: str) -> int:
    """RFC 4293: ipIfStatsOutForwDatagrams, here of all interfaces."""
    lines = processes.run(netns.command(namespace, "cat", "/proc/net/snmp")).splitlines()
    names, values = (line.split() for line in lines if line.startswith("Ip:"))
    return int(values[names.index("ForwDatagrams")])


def test_hosts_come_change_and_go_and_others_are_not_touched(standing: Lab, bring_with: BringWith) -> None:
    bring_with(standing, PEERING, _with(CLIENT))
    node, client = standing.node_namespace("node1"), standing.host_namespace("client")
    before = netns.identity(client)
    bring_with(standing, PEERING, _with(CLIENT, SERVER))
    uplink = datapath.of(standing).underlay_device
    assert f"198.51.100.7 dev {uplink}" in _routes(node)
    assert f"2001:db8:7::7 dev {uplink}" in _routes(node)
    moved = _host("server", "198.51.100.99")
    bring_with(standing, PEERING, _with(CLIENT, moved))
    for namespace in (node, client):
        assert "198.51.100.99 dev" in _routes(namespace)
        assert "198.51.100.7 " not in _routes(namespace)
        assert "2001:db8:7::7" not in _routes(namespace)
    assert _seen(standing, Probe("host client", "198.51.100.99", Protocol.TCP, 80)) == [_by("host server")]
    bring_with(standing, PEERING, _with(CLIENT))
    assert "198.51.100.99" not in _routes(node)
    assert not netns.exists(standing.host_namespace("server"))
    assert not hosts.is_whole(standing, "server")
    assert netns.identity(client) == before


def test_an_address_that_another_host_takes_over_is_reached_at_once(
    standing: Lab, bring_with: BringWith
) -> None:
    probes = [Probe(source, "203.0.113.10", Protocol.UDP, 53) for source in ("host server", "node node1")]
    bring_with(standing, PEERING, _with(CLIENT, SERVER))
    assert _seen(standing, *probes) == [_by("host client")] * 2
    bring_with(standing, PEERING, _with(replace(CLIENT, name="heir"), SERVER))
    assert _seen(standing, *probes) == [_by("host heir")] * 2


def test_a_host_has_another_gateway_when_it_is_said(standing: Lab, bring_with: BringWith) -> None:
    built = bring_with(standing, PEERING, _with(CLIENT))
    bring_with(standing, PEERING, _with(replace(CLIENT, gateway="node2")))
    defaults = [
        line.split()[2]
        for line in _routes(standing.host_namespace("client")).splitlines()
        if line.startswith("default")
    ]
    assert defaults == [str(address) for address in built.state.node_by_name["node2"].addresses]


def _stream(lab: Lab, address: str) -> socket.socket:
    with netns.inside(lab.host_namespace("client")):
        stream = socket.create_connection((address, 80), timeout=10)
    assert stream.recv(100)
    return stream


def test_up_again_leaves_hosts_and_their_connections_as_they_are(
    standing: Lab, bring_with: BringWith
) -> None:
    bring_with(standing, PEERING, _with(CLIENT, SERVER))
    before = processes.find(standing.run)
    with _stream(standing, "198.51.100.7") as stream:
        bring_with(standing, PEERING, _with(CLIENT, SERVER))
        stream.sendall(b"still there?")
        assert stream.recv(100)
    assert processes.find(standing.run) == before


def test_the_link_to_the_pods_speaks_both_families_and_is_watched(lab: Lab, bring_with: BringWith) -> None:
    bring_with(lab, PEERING, _with(CLIENT))
    add = ("--may-exist", "add-port", "br-int", GATEWAY_INTERFACE, "--", "set", "Interface", GATEWAY_INTERFACE, "type=internal")  # fmt: skip
    switches.Switch(lab, "node1").vsctl(*add)
    built = bring_with(lab, PEERING, _with(CLIENT))
    option = f"/proc/sys/net/ipv6/conf/{GATEWAY_INTERFACE}/disable_ipv6"
    inside = netns.command(lab.node_namespace("node1"), "cat", option)
    assert processes.run(inside) == "0\n"
    (node,) = (its for its in places.residents(lab, built.state) if its.id == "node node1")
    assert node.devices == (datapath.of(lab).underlay_device, GATEWAY_INTERFACE)


def test_a_node_hears_by_its_own_links_only(standing: Lab, bring_with: BringWith) -> None:
    """A pod that knows the MAC of its port's end in the node does not get past the switch by it."""
    built = bring_with(standing, PEERING, _with(CLIENT))
    node, pod = standing.node_namespace("node1"), standing.pod_namespace("shop/web-0")
    inner = links.mac(node, pod_interface("shop/web-0"))
    address = str(built.state.node_by_name["node1"].addresses[0])
    with netns.inside(pod):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with netns.inside(node):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, listener:
        listener.bind((address, 7777))
        listener.settimeout(0.3)
        sender.bind(("eth0", 0))
        sender.send(_datagram(inner, address, 7777))
        with pytest.raises(TimeoutError):
            listener.recv(100)


def _datagram(mac: str, address: str, port: int) -> bytes:
    """RFC 894, RFC 791, RFC 768, without the checksum of UDP."""
    ethernet = bytes.fromhex(mac.replace(":", "")) + bytes([2, 0, 0, 0, 0, 9]) + b"\x08\x00"
    addresses = ip_address("203.0.113.10").packed + ip_address(address).packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 32, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    total = sum(struct.unpack("!10H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = header[:10] + checksum.to_bytes(2) + header[12:]
    return ethernet + header + struct.pack("!HHHH", 5555, port, 12, 0) + b"past"


DAMAGES = {
    "namespace": lambda _lab, namespace: ["ip", "netns", "del", namespace],
    "link": lambda _lab, namespace: ["ip", "-n", namespace, "link", "del", "eth0"],
    "port": lambda lab, _namespace: ["ip", "-n", lab.underlay_namespace, "link", "del", host_interface("client")],
    "down": lambda _lab, namespace: ["ip", "-n", namespace, "link", "set", "eth0", "down"],
    "unplugged": lambda lab, _namespace: ["ip", "-n", lab.underlay_namespace, "link", "set", host_interface("client"), "nomaster"],
    "addresses": lambda _lab, namespace: ["ip", "-n", namespace, "addr", "flush", "dev", "eth0"],
    "routes": lambda _lab, namespace: ["ip", "-n", namespace, "route", "flush", "table", "main"],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_up_completes_a_host_that_is_not_whole(standing: Lab, bring_with: BringWith, damage: str) -> None:
    bring_with(standing, PEERING, _with(CLIENT, SERVER))
    processes.run(DAMAGES[damage](standing, standing.host_namespace("client")))
    bring_with(standing, PEERING, _with(CLIENT, SERVER))
    probes = [
        Probe("host client", str(address), protocol, port)
        for address in (SERVER.addresses[0], SERVER.addresses[2])
        for protocol, port in ((Protocol.ICMP, 0), (Protocol.UDP, 53))
    ]
    assert _seen(standing, *probes) == [_by("host server")] * 4
    assert _seen(standing, Probe("host server", "203.0.113.10", Protocol.TCP, 80)) == [_by("host client")]


STAGES = {
    "namespace": lambda lab: netns.exists(lab.host_namespace("client")),
    "link": lambda lab: "eth0" in links.devices(lab.host_namespace("client")),
    "other": lambda lab: netns.exists(lab.host_namespace("server")),
    "stack": lambda lab: bool(processes.find(stacks.mark(lab, "node1"))),
}


@pytest.mark.parametrize("stage", STAGES)
def test_up_goes_on_where_a_killed_one_ended(lab: Lab, bring_with: BringWith, stage: str) -> None:
    asked = (lab, PEERING, _with(CLIENT, SERVER))
    killed = get_context("fork").Process(target=bring_with, args=asked)
    killed.start()
    _await(lambda: STAGES[stage](lab))
    killed.kill()
    killed.join(BOUND_S)
    bring_with(*asked)
    probes = [Probe("host client", str(address), Protocol.UDP, 53) for address in SERVER.addresses]
    assert _seen(lab, *probes) == [_by("host server")] * len(probes)
    assert cluster.down(lab)
    assert netns.names(lab.namespace_prefix) == []


def test_what_runs_in_a_host_ends_with_it(standing: Lab, bring: Bring, bring_with: BringWith) -> None:
    bring_with(standing, PEERING, _with(CLIENT))
    namespace = standing.host_namespace("client")
    mark = standing.host_mark(namespace)
    inside = netns.command(namespace, "sleep", "1000")
    with subprocess.Popen(inside, env=processes.marked(mark)) as running:
        _await(lambda: bool(processes.find(mark)))
        bring(standing, PEERING)
        assert running.wait(timeout=BOUND_S) != 0
    assert not netns.exists(namespace)


def test_down_removes_hosts_with_everything_else(lab: Lab, bring_with: BringWith) -> None:
    bring_with(lab, PEERING, _with(CLIENT, SERVER))
    assert cluster.down(lab)
    assert netns.names(lab.namespace_prefix) == []
    assert processes.find(lab.run) == {}
    assert not lab.run.exists()
