"""What the simulator does for Services: learned flows, choices among buckets, SCTP, packets to the controller, flushes."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from conversation import answer
from dummy_fabric import DummyFabric

from lace_sdn.openflow.fields import IPV4_DST, IPV4_SRC, SCTP_DST, SCTP_SRC, UDP_DST, IpProto
from lace_sdn.openflow.flow import program
from lace_sdn.openflow.simulator import Fabric, Packet, Tcp, Tracker
from lace_sdn.openflow.simulator.conntrack import Parts
from lace_sdn.openflow.simulator.fabric import nth_bucket
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.openflow.text import parse_flow, parse_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation import Wires

    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.openflow.simulator.fabric import Journey

ONE, OTHER = IPv4Address("10.0.0.5"), IPv4Address("10.0.0.6")
VIP, SERVER = IPv4Address("10.96.0.10"), IPv4Address("10.1.0.5")
MACS = (0x020000000001, 0x0A0000000001)


def call(client: IPv4Address = ONE, port: int = 40000) -> Packet:
    """A datagram to the VIP."""
    return Packet.udp(Ends(*MACS, client, VIP), (port, 53), b"x")


def simulated(desired: BridgeProgram, tracker: Tracker = Tracker.USERSPACE) -> Fabric:
    fabric = Fabric(0x7000, tracker)
    fabric.add("node0", [IPv4Address("192.168.50.1")], desired)
    return fabric


def of_flows(*lines: str) -> BridgeProgram:
    return program(map(parse_flow, lines))


def ports(journey: Journey) -> list[int]:
    return [each.port for each in journey.deliveries]


LEARNING = of_flows(
    "table=0, priority=1,ip actions=resubmit(,5),goto_table:1",
    "table=1, priority=2,ip,reg4=0x3 actions=output:3",
    "table=1, priority=1,ip actions=set_field:0x3->reg4,goto_table:2",
    "table=2, priority=1,ip actions=learn(table=5,priority=200,idle_timeout=600,delete_learned,cookie=0x1ace800000000007,"
    "eth_type=0x800,NXM_OF_IP_SRC[],load:NXM_NX_REG4[]->NXM_NX_REG4[]),output:2",
)


@pytest.fixture(scope="module")
def switch() -> Iterator[DummyFabric]:
    with DummyFabric(nodes=1, ports=3) as fabric:
        yield fabric


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.switch)])
def learning(request: pytest.FixtureRequest) -> Wires:
    """Port 2 for a client's first packet, port 3 for those of whom something was learned."""
    if request.param == "real":
        real: DummyFabric = request.getfixturevalue("switch")
        real.reset({"node0": of_flows("table=0, priority=0 actions=drop")})
        real.install("node0", LEARNING)
        return real
    return simulated(LEARNING)


def settle(wires: Wires) -> None:
    """Let a real switch forget how it switched packets before it learned something: else that takes it a moment."""
    if isinstance(wires, DummyFabric):
        wires.nodes["node0"].control("revalidator/purge")


def test_what_a_packet_taught_is_known_to_later_ones(learning: Wires) -> None:
    """Of the same client only; itself it goes as before."""
    assert ports(learning.inject("node0", 1, call())) == [2]
    settle(learning)
    packets = (call(), call(OTHER), call(port=40001))
    assert [ports(learning.inject("node0", 1, each)) for each in packets] == [[3], [2], [3]]


def test_what_was_learned_is_gone_when_nothing_teaches_it(learning: Wires) -> None:
    """And does not come back by itself."""
    learning.inject("node0", 1, call())
    learning.install("node0", of_flows(*map(str, LEARNING.flows[:3])))
    assert ports(learning.inject("node0", 1, call())) == []
    learning.install("node0", LEARNING)
    assert ports(learning.inject("node0", 1, call())) == [2]


def test_what_was_learned_stays_while_something_teaches_it() -> None:
    fabric = simulated(LEARNING)
    fabric.inject("node0", 1, call())
    more = parse_flow("table=9, priority=1 actions=drop")
    fabric.install("node0", program((*LEARNING.flows, more)))
    assert ports(fabric.inject("node0", 1, call())) == [3]


def test_what_a_copy_learns_is_its_own() -> None:
    fabric = simulated(LEARNING)
    fabric.copy().inject("node0", 1, call())
    assert ports(fabric.inject("node0", 1, call())) == [2]


SPREADING = program(
    [parse_flow("priority=0 actions=group:1")],
    [
        parse_group(
            "group_id=1,type=select,selection_method=dp_hash,bucket=bucket_id:7,actions=output:2,bucket=bucket_id:8,actions=output:3"
        )
    ],
)


@pytest.mark.parametrize(("number", "port"), [(0, 2), (1, 3), (2, 2)])
def test_a_chooser_takes_the_bucket_of_its_number(number: int, port: int) -> None:
    """Counted from 0 and round again; the fabric that was copied keeps its own choice."""
    fabric = simulated(SPREADING)
    assert ports(fabric.copy(nth_bucket(number)).inject("node0", 1, call())) == [port]
    assert ports(fabric.inject("node0", 1, call())) == [2]


def test_what_goes_to_the_controller_arrives_nowhere_else() -> None:
    """As the packet is by then, by the port that it came in by."""
    fabric = simulated(of_flows("priority=0 actions=set_field:10.9.9.9->ip_dst,CONTROLLER:256"))
    journey = fabric.inject("node0", 4, call())
    assert journey.deliveries == ()
    [(node, port, packet)] = journey.to_controller
    assert (node, port, packet.headers[IPV4_DST]) == ("node0", 4, int(IPv4Address("10.9.9.9")))


def test_what_arrives_goes_not_to_the_controller() -> None:
    assert simulated(SPREADING).inject("node0", 1, call()).to_controller == ()


TRANSLATING_SCTP = of_flows(
    "priority=1,sctp,nw_dst=10.96.0.10 actions=ct(commit,table=1,zone=5,nat(dst=10.1.0.5:8080))",
    "priority=1,sctp,nw_src=10.1.0.5 actions=ct(table=1,zone=5,nat)",
    "table=1, priority=1 actions=output:2",
)


@pytest.mark.parametrize(
    ("tracker", "port"), [(Tracker.USERSPACE, 80), (Tracker.KERNEL, 8080)], ids=["userspace", "kernel"]
)
def test_only_the_kernel_translates_the_ports_of_sctp(tracker: Tracker, port: int) -> None:
    """Open vSwitch's own tracker changes the address alone."""
    fabric = simulated(TRANSLATING_SCTP, tracker)
    packet = Packet.sctp(Ends(*MACS, ONE, VIP), (40000, 80))
    request = fabric.inject("node0", 1, packet).deliveries[0].packet.headers
    assert (request[IPV4_DST], request[SCTP_SRC], request[SCTP_DST]) == (int(SERVER), 40000, port)
    back = Packet.sctp(Ends(*MACS[::-1], SERVER, ONE), (port, 40000))
    reply = fabric.inject("node0", 3, back).deliveries[0].packet.headers
    assert (reply[IPV4_SRC], reply[SCTP_SRC], reply[SCTP_DST]) == (int(VIP), 80, 40000)


TRACKING = of_flows(
    "priority=2,udp,nw_dst=10.96.0.10,in_port=1 actions=ct(commit,table=1,zone=5,nat(dst=10.1.0.5:5353))",
    "priority=2,udp,nw_dst=10.96.0.10,in_port=4 actions=ct(commit,table=1,zone=6,nat(dst=10.1.0.6:5353))",
    "priority=2,tcp,nw_dst=10.96.0.10 actions=ct(commit,table=1,zone=5,nat(dst=10.1.0.5:5353))",
    "table=1, priority=1 actions=output:2",
)
TO_VIP = Parts(destination=int(VIP), destination_port=53)
FROM_SERVER = Parts(source=int(SERVER), source_port=5353)
FORGOTTEN: dict[str, tuple[int, Parts, Parts, set[tuple[int, int]]]] = {
    "a port of the VIP": (IpProto.UDP, TO_VIP, Parts(), {(5, IpProto.TCP)}),
    "one endpoint": (IpProto.UDP, TO_VIP, FROM_SERVER, {(6, IpProto.UDP), (5, IpProto.TCP)}),
    "TCP": (IpProto.TCP, TO_VIP, Parts(), {(5, IpProto.UDP), (6, IpProto.UDP)}),
    "another port": (
        IpProto.UDP,
        TO_VIP._replace(destination_port=54),
        Parts(),
        {(5, IpProto.UDP), (6, IpProto.UDP), (5, IpProto.TCP)},
    ),
}


@pytest.mark.parametrize(("protocol", "original", "reply", "left"), FORGOTTEN.values(), ids=list(FORGOTTEN))
def test_just_the_connections_that_are_like_both_are_forgotten(
    protocol: int, original: Parts, reply: Parts, left: set[tuple[int, int]]
) -> None:
    """In every zone."""
    fabric = tracking()
    fabric.forget_matching("node0", protocol, original, reply)
    entries = fabric.conntrack("node0").entries.values()
    assert {(each.zone, each.original.protocol) for each in entries} == left


def test_a_connection_that_is_forgotten_begins_anew() -> None:
    """Its answers are unknown until then."""
    fabric = tracking()
    request = fabric.inject("node0", 1, call()).deliveries[0].packet
    assert request.headers[UDP_DST] == 5353
    fabric.forget_matching("node0", IpProto.UDP, TO_VIP, FROM_SERVER)
    assert not any(
        each.reply.source == int(SERVER) and each.original.protocol == IpProto.UDP
        for each in fabric.conntrack("node0").entries.values()
    )
    assert len(fabric.conntrack("node0").replies) == len(fabric.conntrack("node0").entries) == 2
    again = fabric.inject("node0", 1, call()).deliveries[0].packet
    assert again.headers == request.headers
    assert answer(again).headers == answer(request).headers


def tracking() -> Fabric:
    """A bridge with connections in two zones, to two endpoints, by two protocols."""
    fabric = simulated(TRACKING)
    fabric.inject("node0", 1, call())
    fabric.inject("node0", 4, call(OTHER))
    fabric.inject("node0", 1, Packet.tcp(Ends(*MACS, ONE, VIP), (40000, 53), Tcp.SYN))
    assert len(fabric.conntrack("node0").entries) == 3
    return fabric
