"""Fragments that come out of conntrack beside another packet: they go on by its registers, with their own headers and lookup."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lace_sdn.openflow.flow import program
from lace_sdn.openflow.simulator import Fabric, Packet, Tracker
from lace_sdn.openflow.simulator.fabric import Astray
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.openflow.text import parse_flow

GATEWAY, TUNNEL = 0x0A0000000001, 0x7000
ADDRESSES = tuple(IPv4Address(f"10.0.0.{each}") for each in range(5))
FIRST, SECOND = (
    Packet.udp(Ends(0x020000000000 | port, GATEWAY, ADDRESSES[port], ADDRESSES[port + 1]), (4000, 53))
    for port in (1, 3)
)
SENDERS = (
    "in_port=1,ip actions=set_field:2->reg3,set_field:1->reg6,ct(table=1,zone=NXM_NX_REG6[0..15])",
    "in_port=3,ip actions=set_field:4->reg3,set_field:3->reg6,ct(table=1,zone=NXM_NX_REG6[0..15])",
)
"""Port 1 sends to port 2 and is looked up in zone 1, port 3 sends to port 4 in zone 3."""


def bridge(*lines: str, tracker: Tracker = Tracker.USERSPACE, strays: int = 8) -> Fabric:
    """One bridge with these flows behind those of the senders, and another node that sends to its ports 2 what a tunnel brings."""
    fabric = Fabric(TUNNEL, tracker, strays=strays)
    fabric.add("node0", [IPv4Address("192.168.50.1")], program(map(parse_flow, (*SENDERS, *lines))))
    far = ("in_port=0x7000,ip actions=output:2",)
    fabric.add("node1", [IPv4Address("192.168.50.2")], program(map(parse_flow, far)))
    return fabric


def astray(fabric: Fabric) -> list[tuple[tuple[str, int], str, int]]:
    """Of fragments of what port 1 sends first, beside what port 3 sends then: whose, and where they come out."""
    assert fabric.inject("node0", 1, FIRST).astray == ()
    found = fabric.inject("node0", 3, SECOND).astray
    return [(each.sender, *each.delivery[:2]) for each in found]


LOST = (("node0", 1), "node0", 4)


def test_a_fragment_goes_on_by_the_registers_of_the_packet_beside() -> None:
    """Once as its datagram was looked up, once as if its rest had never come; with its own headers."""
    fabric = bridge("table=1, actions=output:NXM_NX_REG3[]")
    assert astray(fabric) == [LOST, LOST]
    (found, _) = fabric.copy().inject("node0", 3, SECOND).astray[:2]
    assert isinstance(found, Astray)
    assert found.delivery.packet.headers == FIRST.headers


def test_a_fragment_whose_rest_never_came_is_not_tracked() -> None:
    assert astray(bridge("table=1, ct_state=+trk actions=output:NXM_NX_REG3[]")) == [LOST]


def test_a_fragment_keeps_the_zone_of_its_own_lookup() -> None:
    asked = (
        f"table=1, ct_state=+trk,ct_zone={zone},reg6={zone} actions=output:NXM_NX_REG3[]" for zone in (1, 3)
    )
    assert astray(bridge(*asked)) == []


def test_a_further_lookup_is_in_the_zone_that_the_registers_name() -> None:
    """So a zone that is asked for there alone tells nothing."""
    again = "table=1, ct_state=+trk,ip actions=ct(table=2,zone=NXM_NX_REG3[0..15])"
    asked = (f"table=2, ct_state=+trk,ct_zone={each},reg3={each} actions=output:{each}" for each in (2, 4))
    assert set(astray(bridge(again, *asked))) == {LOST}


def test_a_fragment_may_come_out_where_its_packet_did_or_at_its_sender() -> None:
    fabric = bridge("table=1, actions=output:2,output:1")
    assert astray(fabric) == []


def test_a_fragment_may_go_astray_through_a_tunnel() -> None:
    by_tunnel = "set_field:192.168.50.2->tun_dst,output:28672"
    fabric = bridge(f"table=1, priority=2,reg3=4 actions={by_tunnel}", "table=1, priority=1 actions=output:5")
    assert set(astray(fabric)) == {(("node0", 1), "node1", 2)}


def test_a_fragment_may_go_astray_to_the_controller() -> None:
    """Which answers to the port of the packet beside."""
    fabric = bridge(
        "table=1, priority=2,reg3=4 actions=CONTROLLER:128", "table=1, priority=1 actions=output:5"
    )
    assert set(astray(fabric)) == {(("node0", 1), "node0", 3)}


def test_the_kernel_lets_no_fragment_go_beside_another_packet() -> None:
    assert astray(bridge("table=1, actions=output:NXM_NX_REG3[]", tracker=Tracker.KERNEL)) == []


def test_a_fabric_has_no_strays_unless_it_is_asked_for() -> None:
    assert astray(bridge("table=1, actions=output:NXM_NX_REG3[]", strays=0)) == []


@pytest.mark.parametrize("strays", [1, 2, 8])
def test_strays_change_nothing_for_the_packets_themselves(strays: int) -> None:
    """What they commit is not kept."""
    lines = (
        "table=1, priority=2,ct_state=+new+trk,ip actions=ct(commit,table=2,zone=NXM_NX_REG6[0..15])",
        "table=1, priority=1 actions=output:NXM_NX_REG3[]",
        "table=2, actions=output:NXM_NX_REG3[]",
    )
    with_strays, without = bridge(*lines, strays=strays), bridge(*lines, strays=0)
    for port, packet in ((1, FIRST), (3, SECOND), (1, FIRST), (3, SECOND)):
        here, there = with_strays.inject("node0", port, packet), without.inject("node0", port, packet)
        assert (here.deliveries, here.passages) == (there.deliveries, there.passages)
    assert with_strays.conntrack("node0") == without.conntrack("node0")
