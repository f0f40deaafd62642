"""Promises about packets that are larger than pods' packets may be, on simulated bridges."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Allocation, Endpoint, Network, NetworkType, Node, Subnet
from lace_sdn.openflow import wire
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Fabric, Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.pipeline import NodeCompiler
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.pipeline.constants import GATEWAY_ETHER, TUNNEL_PORT
from lace_sdn.pipeline.size_rows import mtu_of
from lace_sdn.pipeline.tables import CONTROLLER_LIMIT, PACKET_SIZE, SIZE_GATE

BLUE = Network(
    "blue", NetworkType.L3, 7, (Subnet(ip_network("10.0.0.0/16"), 24), Subnet(ip_network("fd00::/48"), 64))
)
PODS = tuple(
    Endpoint(
        "shop",
        f"pod-{number}",
        "node-1",
        "blue",
        (ip_address(f"10.0.0.{number}"), ip_address(f"fd00::{number}")),
        f"02:00:0a:00:00:0{number}",
    )
    for number in (2, 3)
)
STATE = ClusterState(
    nodes=(Node("node-1", (ip_address("192.0.2.1"),)),),
    networks=(BLUE,),
    endpoints=PODS,
    allocations=(
        Allocation("blue", "node-1", ip_network("10.0.0.0/24")),
        Allocation("blue", "node-1", ip_network("fd00::/64")),
    ),
)
PORTS = {each.id: number for number, each in enumerate(PODS, start=1)}
ETHERNET = 14


def fabric(mtu: int) -> Fabric:
    made = Fabric(TUNNEL_PORT)
    program = NodeCompiler("node-1", mtu=mtu).compile(Cluster.of(STATE), PORTS)
    made.add("node-1", [ip_address("192.0.2.1")], program)
    return made


def packet(version: int, octets: int, destination: str = "") -> Packet:
    """A SYN of ``octets`` from one pod to the other, or to ``destination``."""
    source, other = (next(each for each in pod.addresses if each.version == version) for pod in PODS)
    to = ip_address(destination) if destination else other
    ends = Ends(parse_mac(PODS[0].mac), GATEWAY_ETHER, source, to)
    return replace(Packet.tcp(ends, (40000, 80), Tcp.SYN), size=ETHERNET + octets)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mtu", [1280, 1450, 8950])
def test_what_fits_goes_on_and_what_does_not_goes_to_the_controller(version: int, mtu: int) -> None:
    """By the octet, and unseen by conntrack."""
    bridge = fabric(mtu)
    larger = bridge.inject("node-1", 1, packet(version, mtu + 1))
    assert (larger.deliveries, len(larger.to_controller)) == ((), 1)
    assert larger.passages[0].steps[-1].table == CONTROLLER_LIMIT.number
    assert not bridge.conntrack("node-1").entries
    fits = bridge.inject("node-1", 1, packet(version, mtu))
    assert ([each.port for each in fits.deliveries], fits.to_controller) == ([2], ())


def test_an_mtu_beyond_what_a_switch_compares_with_is_sent_all_the_same() -> None:
    flows = NodeCompiler("node-1", mtu=65535).compile(Cluster.of(STATE), PORTS).flows
    assert "check_pkt_larger(65535)" in "".join(map(str, flows))
    assert all(wire.flow_add(flow, 1) for flow in flows)


def test_it_does_not_matter_whom_the_sender_called() -> None:
    """A VIP, the world, nobody: the answer tells nothing of who is there."""
    for destination in ("10.96.0.1", "198.51.100.7", "10.0.0.77"):
        journey = fabric(1450).inject("node-1", 1, packet(4, 1451, destination))
        assert len(journey.to_controller) == 1


def test_a_forged_packet_gets_no_answer() -> None:
    """It came in by the other pod's port."""
    journey = fabric(1450).inject("node-1", 2, packet(4, 1451))
    assert (journey.deliveries, journey.to_controller) == ((), ())


def test_pods_cost_no_flow_for_it() -> None:
    flows = NodeCompiler("node-1", mtu=1400).compile(Cluster.of(STATE), PORTS).flows
    tables = [flow.table for flow in flows if flow.table in (PACKET_SIZE.number, SIZE_GATE.number)]
    assert tables == [PACKET_SIZE.number, SIZE_GATE.number, SIZE_GATE.number]
    assert [mtu for flow in flows if (mtu := mtu_of(flow)) is not None] == [1400]
