"""What a bridge does for packets: it refuses them, forgets their connections, and learns without anybody minding."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

import programs
import pytest
from dummy import wait_until
from dummy_fabric import Control
from frames import read_pcap
from holding import BOUND_S
from openflow_client import OpenFlowClient
from segments import ACK, GATEWAY, RST, SYN, TCP, UDP, VIP, Ipv4, Ipv6, checked_udp, ether, read, tcp, udp

from lace_sdn.openflow import wire
from lace_sdn.openflow.diff import diff
from lace_sdn.openflow.flow import BridgeProgram, program
from lace_sdn.openflow.wire import ConnectionFilter, TupleFilter
from lace_sdn.openflow.wire.dumps import FLOW_DESC
from lace_sdn.pipeline.constants import DEFAULT_MTU, GATEWAY_PORT
from lace_sdn.pipeline.fixed import Fixed
from lace_sdn.pipeline.limits import TOLD_A_SECOND
from lace_sdn.pipeline.tables import CONTROLLER_LIMIT, PACKET_SIZE, REJECT, SIZE_GATE
from lace_sdn.switch.contract import OTHERS, OURS
from lace_sdn.switch.settings import READ_LIMITS, read_limits, write_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dummy import DummySwitch
    from holding import HeldBridge, HolderProcess

pytestmark = pytest.mark.switch

FOREIGN = "table=90, priority=60000,tcp,tp_dst=80 actions=CONTROLLER:1280"
ELSEWHERE = f"{programs.OURS}, priority=60000,tcp,tp_dst=80 actions=CONTROLLER:1280"
REFUSING = program(
    (
        *programs.flows(f"{programs.OURS}, priority=100 actions=goto_table:90").flows,
        *(flow for flow in Fixed().flows() if flow.table in (REJECT.number, CONTROLLER_LIMIT.number)),
    ),
    (),
    Fixed().meters(),
)
UNMETERED = program(
    (
        *programs.flows(f"{programs.OURS}, priority=100 actions=goto_table:90").flows,
        *(flow for flow in REFUSING.flows if flow.table == REJECT.number),
    )
)
"""As a bridge is whose meters somebody took away, until it is read back."""
MEASURING_TABLES = (PACKET_SIZE.number, SIZE_GATE.number, CONTROLLER_LIMIT.number)
MEASURING = program(
    (
        *programs.flows(
            f"{programs.OURS}, priority=100 actions=goto_table:8",
            f"{programs.OURS}, table=10, priority=100 actions=output:2",
        ).flows,
        *(flow for flow in Fixed().flows() if flow.table in MEASURING_TABLES),
    ),
    (),
    Fixed().meters(),
)
SIZES = {4: (DEFAULT_MTU - 20, DEFAULT_MTU - 19), 6: (DEFAULT_MTU - 40, DEFAULT_MTU - 39)}
"""By IP version, octets behind the IP header: what just fits, and what does not."""
BACKENDS = {4: ("10.1.0.1", "10.1.0.2"), 6: ("fd00:1::1", "fd00:1::2")}
EVERY_BACKEND = sorted((*BACKENDS[4], *BACKENDS[6]))
ZONES = (71, 72)
"""Of the ports 1 and 2: a connection of the same addresses and ports in each."""
TRANSLATING = programs.flows(
    *(
        f"{programs.OURS}, priority=100,{kind},in_port={port} "
        f"actions=ct(commit,table=50,zone={ZONES[port - 1]},nat(dst={to}:5353))"
        for kind, port, to in (
            ("udp", 1, "10.1.0.1"),
            ("udp", 2, "10.1.0.2"),
            ("udp6", 1, "[fd00:1::1]"),
            ("udp6", 2, "[fd00:1::2]"),
        )
    ),
    f"{programs.OURS}, table=50, priority=1 actions=IN_PORT",
)
LEARNING = programs.flows(
    f"{programs.OURS}, priority=100,ip,in_port=1 actions=set_field:0x7->reg8,goto_table:24",
    "cookie=0x1ace060000000007, table=24, priority=200,ip,reg8=0x7 "
    "actions=learn(table=106,idle_timeout=600,priority=200,delete_learned,cookie=0x1ace800000000007,"
    "eth_type=0x800,NXM_NX_REG1[],NXM_NX_REG8[],NXM_OF_IP_SRC[],load:NXM_NX_REG4[]->NXM_NX_REG4[]),goto_table:25",
)


_LEARNS = (
    "learn(table=106,idle_timeout=600,priority=200,delete_learned,cookie=0x1ace800000000007,limit=3,"
    "eth_type=0x800,NXM_OF_IP_SRC[],load:NXM_NX_REG4[]->NXM_NX_REG4[])"
)
LIMITED_LEARNING = programs.flows(
    f"{programs.OURS}, priority=100,ip,in_port=1 actions=goto_table:24",
    f"{programs.OURS}, priority=100,ip,in_port=2 actions=goto_table:24",
    f"cookie=0x1ace060000000007, table=24, priority=210,ip,in_port=1 actions={_LEARNS},goto_table:25",
    "cookie=0x1ace060000000007, table=24, priority=200,ip "
    f"actions={_LEARNS.replace('800000000007', '808000000007')},goto_table:25",
    f"{programs.OURS}, table=25, priority=1 actions=IN_PORT",
)
"""What comes in by port 1 is counted apart from the rest, as clients outside are from pods."""


class Wires:
    """The ports 1 and 2 of a bridge: frames in, and all that ever came out."""

    def __init__(self, switch: DummySwitch, bridge: HeldBridge) -> None:
        self._control = Control(switch.control)
        self._bridge = bridge.name
        self._sent: dict[int, Path] = {}
        for port in (1, 2):
            self._sent[port] = switch.folder / f"{self._name(port)}.pcap"
            switch.add_port(bridge.name, self._name(port), port, f"options:tx_pcap={self._sent[port]}")

    def close(self) -> None:
        self._control.close()

    def receive(self, port: int, *frames: bytes) -> None:
        for frame in frames:
            self._control("netdev-dummy/receive", self._name(port), frame.hex())

    def connect(self) -> None:
        """A connection by each port, in each IP version."""
        for port in self._sent:
            self.receive(port, *(ether(checked_udp(ip, b"x")) for ip in (Ipv4(), Ipv6())))
        wait_until(lambda: self.connections() == EVERY_BACKEND, "all connections", BOUND_S)

    def sent(self, port: int) -> list[bytes]:
        return read_pcap(self._sent[port], 0)[0]

    def answer(self, port: int) -> bytes:
        """The first frame that comes out of the port."""
        wait_until(lambda: bool(self.sent(port)), f"a frame out of port {port}", BOUND_S)
        return self.sent(port)[0]

    def connections(self) -> list[str]:
        """Those of our zones, sorted: the address that replies come from."""
        lines = self._control("dpctl/dump-conntrack").splitlines()
        ours = (line for line in lines if any(f"zone={zone}" in line for zone in ZONES))
        return sorted(line.partition("reply=(src=")[2].partition(",")[0] for line in ours)

    def _name(self, port: int) -> str:
        return f"{self._bridge}p{port}"


@pytest.fixture
def bridge(held_bridge: Callable[[], HeldBridge]) -> HeldBridge:
    return held_bridge()


@pytest.fixture
def wires(openvswitch: DummySwitch, bridge: HeldBridge) -> Iterator[Wires]:
    """Of ``bridge``, without connections."""
    made = Wires(openvswitch, bridge)
    openvswitch.appctl("dpctl/flush-conntrack")
    yield made
    made.close()


def install(bridge: HeldBridge, desired: BridgeProgram) -> None:
    bridge.commit(diff(bridge.dump().program, desired))


@pytest.mark.parametrize("version", [4, 6])
def test_a_segment_to_nobody_comes_back_refused_where_it_came_in(
    bridge: HeldBridge, wires: Wires, version: int
) -> None:
    """And nowhere else."""
    install(bridge, REFUSING)
    wires.receive(2, ether({4: Ipv4(), 6: Ipv6()}[version].around(TCP, tcp(SYN))))
    assert read(wires.answer(2), version).reset[2:] == (0, 1001, RST | ACK)
    assert wires.sent(1) == []


def test_a_bridge_that_is_called_has_segments_refused_too(
    openvswitch: DummySwitch, holder: HolderProcess
) -> None:
    """It sends packets to a controller that it did not connect to only if that one asks for them."""
    name, number = "called", 0xCA11ED
    openvswitch.add_bridge(name, f"other-config:datapath-id={number:016x}")
    socket = openvswitch.folder / f"{name}.controller"
    openvswitch.vsctl("set-controller", name, f"punix:{socket}")
    holder.ask("call", str(socket))
    bridge = holder.wait_for_bridge(number)
    bridge.name = name
    install(bridge, REFUSING)
    wires = Wires(openvswitch, bridge)
    wires.receive(2, ether(Ipv4().around(TCP, tcp(SYN))))
    assert read(wires.answer(2)).reset[2:] == (0, 1001, RST | ACK)
    wires.close()
    holder.ask("hang_up")
    openvswitch.remove_bridge(name)


@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_to_nobody_comes_back_as_unreachable(
    bridge: HeldBridge, wires: Wires, version: int
) -> None:
    """With all of it that an error may quote: the switch cuts off no more than that."""
    install(bridge, REFUSING)
    packet = {4: Ipv4(), 6: Ipv6()}[version].around(UDP, udp(b"x" * 1300))
    wires.receive(1, ether(packet))
    answer = read(wires.answer(1), version)
    assert packet.startswith(answer.error[2])
    assert len(answer.packet) == {4: 576, 6: 1280}[version]


@pytest.mark.parametrize("version", [4, 6])
def test_the_sender_of_a_packet_that_is_too_large_is_told_and_what_fits_goes_on(
    bridge: HeldBridge, wires: Wires, version: int
) -> None:
    """By the octet: the switch counts the Ethernet header too."""
    install(bridge, MEASURING)
    fits, larger = ({4: Ipv4(), 6: Ipv6()}[version].around(47, bytes(size)) for size in SIZES[version])
    wires.receive(1, ether(larger), ether(fits))
    answer = read(wires.answer(1), version, GATEWAY)
    assert answer.too_big[:3] == {4: (3, 4, DEFAULT_MTU), 6: (2, 0, DEFAULT_MTU)}[version]
    assert larger.startswith(answer.too_big[3])
    assert len(answer.packet) == {4: 576, 6: 1280}[version]
    wires.answer(2)
    assert [len(wires.sent(port)) for port in (1, 2)] == [1, 1]
    assert wires.sent(2) == [ether(fits)]


def test_a_segment_that_the_library_cannot_read_stops_nobody(
    bridge: HeldBridge, wires: Wires, holder: HolderProcess
) -> None:
    """The process goes on, and the next segment is refused too."""
    install(bridge, REFUSING)
    wires.receive(1, ether(Ipv4().around(TCP, tcp(SYN, options=b"\x4d\0\0\0"))))
    wires.answer(1)
    assert bridge.dump().program == REFUSING
    wires.receive(2, ether(Ipv4().around(TCP, tcp(SYN))))
    wires.answer(2)


@pytest.mark.parametrize("flow", [FOREIGN, ELSEWHERE], ids=["cookie", "table"])
def test_packets_of_other_flows_are_not_answered(
    openvswitch: DummySwitch, bridge: HeldBridge, wires: Wires, flow: str
) -> None:
    """Neither those of somebody else's flow in our table, nor those of a flow of another table with our cookie."""
    install(bridge, REFUSING)
    openvswitch.ofctl("add-flow", bridge.name, flow)
    wires.receive(1, ether(Ipv4().around(TCP, tcp(SYN))))
    wires.receive(1, ether(Ipv4().around(UDP, udp(b"x"))))
    assert read(wires.answer(1)).error[:2] == (3, 3)
    assert len(wires.sent(1)) == 1


def test_so_many_are_refused_a_second_and_no_more(bridge: HeldBridge, wires: Wires) -> None:
    """The switch drops the others, and counts them."""
    install(bridge, REFUSING)
    started = time.monotonic()
    wires.receive(1, *[ether(Ipv4().around(TCP, tcp(SYN)))] * 3 * TOLD_A_SECOND)
    wait_until(lambda: len(wires.sent(1)) >= TOLD_A_SECOND, "a second's worth of answers", BOUND_S)
    wait_until(lambda: bridge.metered()[GATEWAY_PORT].dropped > 0, "packets too many", BOUND_S)
    answers = len(wires.sent(1))
    assert answers <= TOLD_A_SECOND * (1 + time.monotonic() - started)


def test_without_meters_one_port_still_takes_no_answer_from_another(
    bridge: HeldBridge, wires: Wires, holder: HolderProcess
) -> None:
    """What one port sends too much of is not answered, and counted; another's only packet is."""
    install(bridge, UNMETERED)
    wires.receive(1, *[ether(Ipv4().around(TCP, tcp(SYN)))] * 3 * TOLD_A_SECOND)
    wires.receive(2, ether(Ipv4().around(TCP, tcp(SYN))))
    wires.answer(2)
    assert holder.ask("unanswered", bridge.datapath_id) > 0


@pytest.mark.parametrize("version", [4, 6])
def test_just_the_connections_to_an_endpoint_are_forgotten(
    bridge: HeldBridge, wires: Wires, version: int
) -> None:
    """Those by the other endpoint of the VIP, and those of the other IP version, live on."""
    install(bridge, TRANSLATING)
    wires.connect()
    gone = BACKENDS[version][0]
    called = TupleFilter(destination=VIP[version], destination_port=80)
    bridge.flush_connections(
        [ConnectionFilter(UDP, called, TupleFilter(source=ip_address(gone), source_port=5353))]
    )
    assert wires.connections() == [each for each in EVERY_BACKEND if each != gone]


def test_all_connections_to_a_port_of_a_vip_are_forgotten(bridge: HeldBridge, wires: Wires) -> None:
    """Whoever answers them."""
    install(bridge, TRANSLATING)
    wires.connect()
    bridge.flush_connections([ConnectionFilter(UDP, TupleFilter(destination=VIP[4], destination_port=80))])
    assert wires.connections() == sorted(BACKENDS[6])


def test_a_switch_that_cannot_forget_goes_on_and_is_reported_once(
    bridge: HeldBridge, holder: HolderProcess
) -> None:
    """Open vSwitch before 3.1 knows no such message."""
    install(bridge, TRANSLATING)
    every = [ConnectionFilter(UDP, TupleFilter(destination=VIP[4], destination_port=80))]
    with holder.unable_to_flush():
        bridge.flush_connections(every * 2)
        bridge.flush_connections(every)
    assert bridge.dump().program == TRANSLATING
    assert holder.log.count(f"event=cannot_flush bridge={bridge.datapath_id:016x}") == 1


def test_a_zone_at_its_limit_keeps_what_it_has_and_takes_nothing_from_another(
    openvswitch: DummySwitch, bridge: HeldBridge, wires: Wires
) -> None:
    """The limit of each zone is its own: in userspace the default would be one count for all zones together."""
    install(bridge, TRANSLATING)
    datapath = openvswitch.appctl("dpctl/dump-dps").strip()
    for verb, *words in write_limits({71: 5, 72: 5}):
        openvswitch.appctl(verb, datapath, *words)
    floods = [ether(checked_udp(Ipv4(source=f"10.0.9.{last}"), b"x")) for last in range(1, 21)]
    wires.receive(1, *floods)
    wires.receive(2, *floods[:4])
    wait_until(lambda: entries(openvswitch, datapath)[72] == 4, "the other zone's connections", BOUND_S)
    assert entries(openvswitch, datapath) == {71: 5, 72: 4}
    before = wires.connections()
    wires.receive(1, *floods)
    wires.receive(2, *floods[:4])
    assert wires.connections() == before
    assert entries(openvswitch, datapath) == {71: 5, 72: 4}
    openvswitch.appctl("dpctl/ct-del-limits", datapath, "zone=71,72")


def entries(switch: DummySwitch, datapath: str) -> dict[int, int]:
    """How many connections conntrack counts in the zones that have limits."""
    shown = read_limits(switch.appctl(READ_LIMITS[0], datapath))
    return {zone: each.entries for zone, each in shown.items() if zone in ZONES}


def test_what_a_bridge_learned_is_no_part_of_its_program(
    openvswitch: DummySwitch, bridge: HeldBridge, wires: Wires
) -> None:
    """Nor foreign; it is neither repaired nor removed, and goes with the flow that taught it."""
    install(bridge, LEARNING)
    wires.receive(1, ether(Ipv4().around(UDP, udp(b"x"))))
    wait_until(lambda: learned(openvswitch, bridge) == 1, "a learned flow", BOUND_S)
    found = bridge.dump()
    assert (found.program, found.foreign_flows) == (LEARNING, ())
    other = programs.flows(f"{programs.OURS}, priority=90,ip,in_port=2 actions=drop").flows
    install(bridge, program((*LEARNING.flows, *other)))
    assert learned(openvswitch, bridge) == 1
    install(bridge, BridgeProgram())
    assert learned(openvswitch, bridge) == 0


def test_forged_clients_of_one_side_take_no_place_of_the_other_s_and_none_is_sent_with_a_dump(
    openvswitch: DummySwitch, bridge: HeldBridge, wires: Wires
) -> None:
    """Who is not remembered is served all the same."""
    install(bridge, LIMITED_LEARNING)
    wires.receive(1, *(ether(Ipv4(source=f"10.0.9.{last}").around(UDP, udp(b"x"))) for last in range(1, 9)))
    wires.receive(2, ether(Ipv4(source="10.0.8.1").around(UDP, udp(b"x"))))
    wait_until(lambda: len(wires.sent(2)) == 1, "the other side's packet", BOUND_S)
    wait_until(lambda: len(wires.sent(1)) == 8, "all packets", BOUND_S)
    assert learned(openvswitch, bridge) == 3 + 1
    with OpenFlowClient(openvswitch.management_socket(bridge.name)) as client:
        sent = b"".join(client.ask(wire.flow_dump_request(7, *which)) for which in (OURS, *OTHERS))
    assert {flow.table for flow in wire.decode_flow_dump(wire.bodies(sent, FLOW_DESC))} == {0, 24, 25}
    assert bridge.dump().program == LIMITED_LEARNING


def learned(switch: DummySwitch, bridge: HeldBridge) -> int:
    return switch.ofctl("dump-flows", bridge.name, "table=106").count("cookie=")
