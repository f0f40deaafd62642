"""Pods speak untagged Ethernet: a frame with an 802.1Q tag goes nowhere, whatever stands behind the tag."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Endpoint, Network, NetworkType, Node, Subnet
from lace_sdn.openflow.fields import VLAN
from lace_sdn.openflow.match import parse_mac
from lace_sdn.openflow.simulator import Fabric, Packet
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.pipeline import compile_node, offline_ports
from lace_sdn.pipeline.constants import GATEWAY_ETHER, TUNNEL_PORT

BLUE = Network("blue", NetworkType.L3, 7, (Subnet(ip_network("10.0.0.0/16"), 24),))
PODS = tuple(
    Endpoint("shop", f"web-{i}", "node-1", "blue", (ip_address(f"10.0.0.{i}"),), f"02:00:0a:00:00:0{i}")
    for i in (2, 3)
)
STATE = ClusterState(nodes=(Node("node-1", (ip_address("192.0.2.1"),)),), networks=(BLUE,), endpoints=PODS)


def datagram() -> Packet:
    ends = Ends(parse_mac(PODS[0].mac), GATEWAY_ETHER, PODS[0].addresses[0], PODS[1].addresses[0])
    return Packet.udp(ends, (1000, 53))


def arrivals(packet: Packet) -> list[int]:
    ports = offline_ports(STATE, "node-1")
    fabric = Fabric(TUNNEL_PORT)
    fabric.add("node-1", [ip_address("192.0.2.1")])
    fabric.install("node-1", compile_node(STATE, "node-1", ports))
    return [delivery.port for delivery in fabric.inject("node-1", ports["shop/web-2"], packet).deliveries]


def test_an_untagged_datagram_arrives() -> None:
    assert len(arrivals(datagram())) == 1


@pytest.mark.parametrize("tag", [0x1000, 0x1005, 0x1FFF])
def test_a_tagged_datagram_goes_nowhere(tag: int) -> None:
    """Also one with VLAN id 0, which carries a priority alone."""
    assert arrivals(datagram().with_headers({VLAN: tag})) == []
