"""Messages that make a switch forget connections: byte by byte those of ovs-ofctl, and obeyed by a real switch."""

from __future__ import annotations

import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dummy_fabric import DummyFabric

sys.path.insert(0, str(Path(__file__).parent))

from ofctl_peer import sent_by_ofctl
from openflow_client import OpenFlowClient

from lace_sdn.openflow import wire
from lace_sdn.openflow.fields import IpProto
from lace_sdn.openflow.flow import program
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.openflow.text import parse_flow
from lace_sdn.openflow.wire import ConnectionFilter, TupleFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.switch

VIP, VIP_SIX = ip_address("10.96.0.10"), ip_address("fd00:96::10")
ONE, OTHER, SIX = (ip_address(each) for each in ("10.1.0.5", "10.1.0.6", "fd00:1::5"))
CLIENT, CLIENT_SIX = ip_address("10.0.0.5"), ip_address("fd00::5")
TO_VIP = TupleFilter(destination=VIP, destination_port=53)
TO_VIP_SIX = TupleFilter(destination=VIP_SIX, destination_port=53)

FILTERS = {
    "a port of a VIP": ConnectionFilter(IpProto.UDP, TO_VIP),
    "a port of an IPv6 VIP": ConnectionFilter(IpProto.UDP, TO_VIP_SIX),
    "one endpoint": ConnectionFilter(IpProto.UDP, TO_VIP, TupleFilter(source=ONE, source_port=5353)),
    "one IPv6 endpoint": ConnectionFilter(IpProto.UDP, TO_VIP_SIX, TupleFilter(source=SIX, source_port=5353)),
    "every part": ConnectionFilter(
        IpProto.TCP, TupleFilter(CLIENT, VIP, 40000, 80), TupleFilter(ONE, CLIENT, 8080, 40001)
    ),
    "an address alone": ConnectionFilter(IpProto.UDP, TupleFilter(source=CLIENT_SIX)),
}


@pytest.mark.parametrize("which", FILTERS.values(), ids=list(FILTERS))
def test_a_flush_has_the_bytes_that_ovs_ofctl_sends(which: ConnectionFilter) -> None:
    """Its text is what ovs-ofctl takes."""
    (theirs,) = sent_by_ofctl("ct-flush", *str(which).split())
    xid = int.from_bytes(theirs[4:8], "big")
    assert wire.ct_flush(which, xid).hex() == theirs.hex()


def test_a_flush_of_a_zone_has_the_bytes_that_ovs_ofctl_sends() -> None:
    (theirs,) = sent_by_ofctl("ct-flush-zone", "32769")
    assert wire.ct_flush_zone(32769, int.from_bytes(theirs[4:8], "big")).hex() == theirs.hex()


FLOWS = (
    "table=0, priority=3,udp,nw_dst=10.96.0.10,udp_dst=53,udp_src=40001 actions=ct(commit,table=1,zone=5,nat(dst=10.1.0.5:5353))",
    "table=0, priority=3,udp,nw_dst=10.96.0.10,udp_dst=53,udp_src=40002 actions=ct(commit,table=1,zone=6,nat(dst=10.1.0.6:5353))",
    "table=0, priority=2,udp,nw_dst=10.96.0.10,udp_dst=54 actions=ct(commit,table=1,zone=5,nat(dst=10.1.0.5:5353))",
    "table=0, priority=2,tcp,nw_dst=10.96.0.10,tcp_dst=53 actions=ct(commit,table=1,zone=5,nat(dst=10.1.0.5:5353))",
    "table=0, priority=2,udp6,ipv6_dst=fd00:96::10,udp_dst=53 actions=ct(commit,table=1,zone=5,nat(dst=[fd00:1::5]:5353))",
    "table=0, priority=1,udp,nw_dst=10.1.0.5 actions=ct(commit,table=1,zone=7)",
    "table=1, priority=0 actions=output:2",
)
MACS = (0x020000000001, 0x0A0000000001)
FOUR_TO_VIP, SIX_TO_VIP, DIRECT = (
    Ends(*MACS, *each) for each in ((CLIENT, VIP), (CLIENT_SIX, VIP_SIX), (CLIENT, ONE))
)
PACKETS = {
    "first endpoint": Packet.udp(FOUR_TO_VIP, (40001, 53), b"x"),
    "other endpoint": Packet.udp(FOUR_TO_VIP, (40002, 53), b"x"),
    "other port": Packet.udp(FOUR_TO_VIP, (40003, 54), b"x"),
    "TCP": Packet.tcp(FOUR_TO_VIP, (40004, 53), Tcp.SYN),
    "IPv6": Packet.udp(SIX_TO_VIP, (40005, 53), b"x"),
    "direct": Packet.udp(DIRECT, (40006, 5353), b"x"),
}
NAME_OF_PORT = dict(zip(range(40001, 40007), PACKETS, strict=True))


@pytest.fixture(scope="module")
def fabric() -> Iterator[DummyFabric]:
    with DummyFabric(nodes=1, ports=2) as made:
        yield made


@pytest.fixture
def tracking(fabric: DummyFabric) -> DummyFabric:
    """A real switch with a connection for each of ``PACKETS``."""
    fabric.reset({"node0": program(map(parse_flow, FLOWS))})
    for packet in PACKETS.values():
        assert fabric.inject("node0", 1, packet).deliveries
    return fabric


def known(fabric: DummyFabric) -> set[str]:
    """The connections that the switch has, by the client's port."""
    dump = fabric.nodes["node0"].switch.appctl("dpctl/dump-conntrack")
    return {NAME_OF_PORT[int(port)] for port in re.findall(r"orig=\([^)]*sport=(\d+)", dump)}


def forget(fabric: DummyFabric, which: ConnectionFilter) -> list[tuple[int, int, int]]:
    """The errors that the switch answers."""
    path = fabric.nodes["node0"].switch.management_socket("br-int")
    with OpenFlowClient(path) as client:
        return client.errors(client.ask(wire.ct_flush(which, 77)))


GONE = {
    "a port of a VIP": {"first endpoint", "other endpoint"},
    "a port of an IPv6 VIP": {"IPv6"},
    "one endpoint": {"first endpoint"},
    "one IPv6 endpoint": {"IPv6"},
    "every part": set(),
    "an address alone": {"IPv6"},
}


@pytest.mark.parametrize(("name", "gone"), GONE.items(), ids=list(GONE))
def test_a_switch_forgets_just_these(tracking: DummyFabric, name: str, gone: set[str]) -> None:
    """In every zone; connections of other protocols, ports and endpoints live on."""
    assert known(tracking) == set(PACKETS)
    assert forget(tracking, FILTERS[name]) == []
    assert known(tracking) == set(PACKETS) - gone
