"""The simulator against flows written by hand: what each action does, and services as a real switch does them.

Over 400 lines: one small case an action, all with the helpers at the top.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conversation import answer
from dummy_fabric import DummyFabric

from lace_sdn.openflow.actions import GroupAction, Resubmit, SetField
from lace_sdn.openflow.fields import ICMPV6_TYPE, IPV4_DST, IPV4_SRC, REG, TCP_DST, TCP_SRC
from lace_sdn.openflow.flow import Bucket, Flow, Group, Meter, program
from lace_sdn.openflow.match import Match
from lace_sdn.openflow.simulator import Fabric, Packet, SimulationError, Tcp, Tracker
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.openflow.text import parse_flow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conversation import Wires

    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.openflow.simulator.fabric import Journey

CLIENT_MAC, SERVER_MAC, GATEWAY = 0x020000000001, 0x020000000002, 0x0A0000000001
CLIENT, SERVER, VIP, HAIRPIN = (
    IPv4Address(each) for each in ("10.0.0.5", "10.1.0.5", "10.96.0.10", "169.254.127.253")
)
TO_SERVER = Ends(CLIENT_MAC, GATEWAY, CLIENT, SERVER)
TO_VIP = Ends(CLIENT_MAC, GATEWAY, CLIENT, VIP)
FROM_SERVER_TO_VIP = Ends(SERVER_MAC, GATEWAY, SERVER, VIP)
SYN = Packet.tcp(TO_SERVER, (40000, 80), Tcp.SYN)
DATAGRAM = Packet.udp(TO_SERVER, (40000, 53), b"x")


def bridge(*lines: str, groups: tuple[Group, ...] = (), tracker: Tracker = Tracker.USERSPACE) -> Fabric:
    """One simulated bridge with these flows."""
    fabric = Fabric(0x7000, tracker)
    fabric.add("node0", [IPv4Address("192.168.50.1")], program(map(parse_flow, lines), groups))
    return fabric


def test_a_meter_lets_every_packet_pass_and_must_be_there() -> None:
    """Packets come one by one; a flow with a meter that is not there would be refused."""
    lines = map(parse_flow, ("priority=10 actions=meter:7,output:2",))
    fabric = Fabric(0x7000)
    fabric.add("node0", [], program(lines, (), (Meter(7, 1, 1),)))
    assert [ports(fabric.inject("node0", 1, SYN)) for _ in range(3)] == [[2]] * 3
    with pytest.raises(SimulationError, match="meter 7 does not exist"):
        bridge("priority=10 actions=meter:7,output:2").inject("node0", 1, SYN)


def ports(journey: Journey) -> list[int]:
    return [each.port for each in journey.deliveries]


def test_the_highest_priority_that_matches_decides() -> None:
    fabric = bridge(
        "priority=10,tcp,nw_dst=10.1.0.0/16 actions=output:2",
        "priority=20,tcp,nw_dst=10.1.0.0/24 actions=output:3",
        "priority=30,tcp,nw_dst=10.1.1.0/24 actions=output:4",
        "priority=40,udp actions=output:5",
    )
    assert ports(fabric.inject("node0", 1, SYN)) == [3]


def test_a_table_miss_drops() -> None:
    journey = bridge("priority=10,udp actions=output:2").inject("node0", 1, SYN)
    assert (ports(journey), journey.passages[0].steps[0].flow) == ([], None)


def test_only_in_port_sends_back() -> None:
    fabric = bridge("priority=1,tcp actions=output:1", "priority=1,udp actions=IN_PORT")
    assert (ports(fabric.inject("node0", 1, SYN)), ports(fabric.inject("node0", 1, DATAGRAM))) == ([], [1])


def test_a_resubmit_returns_with_the_registers_it_set() -> None:
    fabric = bridge(
        "priority=0 actions=resubmit(,5),resubmit(,6),output:NXM_NX_REG3[]",
        "table=5, priority=0 actions=set_field:0x1->reg3",
        "table=6, priority=0 actions=set_field:0x2/0x2->reg3",
    )
    assert ports(fabric.inject("node0", 1, SYN)) == [3]


def test_a_ttl_that_ends_drops_what_follows() -> None:
    fabric = bridge("priority=0 actions=dec_ttl,output:2")
    last = Packet(SYN.headers, ttl=1, tcp_flags=Tcp.SYN)
    arrived = fabric.inject("node0", 1, SYN).deliveries
    assert (arrived[0].packet.ttl, ports(fabric.inject("node0", 1, last))) == (63, [])


def test_push_and_pop_exchange_fields() -> None:
    fabric = bridge(
        "priority=0,ip actions=push:NXM_OF_IP_SRC[],move:NXM_OF_IP_DST[]->NXM_OF_IP_SRC[],pop:NXM_OF_IP_DST[],IN_PORT"
    )
    packet = fabric.inject("node0", 1, SYN).deliveries[0].packet
    assert (packet.headers[IPV4_SRC], packet.headers[IPV4_DST]) == (int(SERVER), int(CLIENT))


def test_what_a_bucket_sets_is_gone_after_the_group() -> None:
    group = Group(7, (Bucket(0, (SetField(REG[3], 2), Resubmit(5))),))
    flow = Flow(0, 0, Match(), (GroupAction(7), Resubmit(5)))
    after = parse_flow("table=5, priority=0 actions=output:NXM_NX_REG3[]")
    fabric = Fabric(0x7000)
    fabric.add("node0", [IPv4Address("192.168.50.1")], program([flow, after], [group]))
    assert ports(fabric.inject("node0", 1, SYN)) == [2, 0]


def test_only_a_larger_frame_than_it_says_sets_the_bit() -> None:
    """And a smaller one clears it."""
    fabric = bridge(
        "priority=0 actions=set_field:0xff->reg3,check_pkt_larger(1464)->NXM_NX_REG3[1],output:NXM_NX_REG3[]"
    )
    sizes = (60, 1464, 1465, 9014)
    assert [ports(fabric.inject("node0", 1, replace(SYN, size=each))) for each in sizes] == [
        [0xFD],
        [0xFD],
        [0xFF],
        [0xFF],
    ]
    assert ports(fabric.inject("node0", 1, SYN)) == [0xFD]


def test_a_missing_group_is_an_error() -> None:
    with pytest.raises(SimulationError, match="group 9 does not exist"):
        bridge("priority=0 actions=group:9").inject("node0", 1, SYN)


def test_an_endless_loop_is_an_error() -> None:
    with pytest.raises(SimulationError, match="deeper than 64"):
        bridge("priority=0 actions=resubmit(,0)").inject("node0", 1, SYN)


def test_after_a_commit_without_table_the_packet_is_untracked() -> None:
    fabric = bridge(
        "priority=0,ip actions=ct(commit,zone=1),goto_table:1",
        "table=1, priority=2,ct_state=+trk,ip actions=output:2",
        "table=1, priority=1,ip actions=output:3",
    )
    assert ports(fabric.inject("node0", 1, SYN)) == [3]


BY_STATE = (
    "priority=0 actions=ct(table=1,zone=5)",
    "table=1, priority=2,ct_state=+new+trk,ip actions=ct(commit,table=2,zone=5)",
    "table=1, priority=1,ct_state=-rpl+est+trk,ip actions=output:11",
    "table=1, priority=1,ct_state=+rpl+est+trk,ip actions=output:12",
    "table=1, priority=3,ct_state=+inv+trk actions=output:13",
    "table=1, priority=3,ct_state=+rel+trk,ip actions=output:14",
    "table=2, priority=0 actions=output:10",
)


@pytest.mark.parametrize(
    ("tracker", "expected"), [(Tracker.USERSPACE, [10, 10, 11]), (Tracker.KERNEL, [10, 10, 10])], ids=str
)
def test_how_long_one_way_datagrams_are_new(tracker: Tracker, expected: list[int]) -> None:
    """In userspace for two packets, in the kernel until an answer came."""
    fabric = bridge(*BY_STATE, tracker=tracker)
    assert [ports(fabric.inject("node0", 1, DATAGRAM))[0] for _ in range(3)] == expected


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_answers_and_errors_belong_to_their_connection(tracker: Tracker) -> None:
    fabric = bridge(*BY_STATE, tracker=tracker)
    error = Packet.unreachable(Ends(SERVER_MAC, GATEWAY, SERVER, CLIENT), DATAGRAM)
    packets = (DATAGRAM, error, answer(DATAGRAM), DATAGRAM)
    assert [ports(fabric.inject("node0", 1, each))[0] for each in packets] == [10, 14, 12, 11]


SIX = Ends(CLIENT_MAC, GATEWAY, IPv6Address("fd00::5"), IPv6Address("fd00::6"))
SOLICITATION = Packet.echo(SIX, 0).with_headers({ICMPV6_TYPE: 135})


@pytest.mark.parametrize(
    "stray",
    [
        pytest.param(answer(SYN), id="SYN-ACK"),
        pytest.param(answer(Packet.echo(TO_SERVER, 7)), id="echo reply"),
        pytest.param(answer(Packet.echo(SIX, 7)), id="ICMPv6 echo reply"),
        pytest.param(Packet.unreachable(Ends(SERVER_MAC, GATEWAY, SERVER, CLIENT), SYN), id="error"),
        pytest.param(SOLICITATION, id="neighbour solicitation"),
    ],
)
@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_what_can_start_nothing_is_invalid(stray: Packet, tracker: Tracker) -> None:
    """Without a connection that it belongs to."""
    fabric = bridge(*BY_STATE, tracker=tracker)
    assert ports(fabric.inject("node0", 1, stray)) == [13]


def test_two_connections_with_one_reply_get_different_ports() -> None:
    """``nat(src)`` moves the source port when replies could not be told apart. Where they can, it must not be there."""
    fabric = bridge(
        "priority=1,tcp,tcp_dst=80 actions=ct(commit,table=1,zone=5,nat(dst=10.9.0.1:443))",
        "priority=1,tcp,tcp_dst=443 actions=ct(commit,table=1,zone=5,nat(src))",
        "table=1, priority=0 actions=output:2",
    )
    direct = Packet.tcp(Ends(CLIENT_MAC, GATEWAY, CLIENT, IPv4Address("10.9.0.1")), (40000, 443), Tcp.SYN)
    seen = [fabric.inject("node0", 1, each).deliveries[0].packet.headers for each in (SYN, direct)]
    assert [(each[TCP_SRC], each[TCP_DST]) for each in seen] == [(40000, 443), (40001, 443)]


def test_a_translation_that_changes_nothing_is_an_error() -> None:
    """Open vSwitch before 3.3 keeps an entry for it that outlives the connection; a packet that then comes ends the daemon."""
    actions = "priority=1,tcp actions=ct(commit,table=1,zone=5,nat(src))"
    with pytest.raises(SimulationError, match="translates nothing"):
        bridge(actions).inject("node0", 1, SYN)
    bridge(actions, tracker=Tracker.KERNEL).inject("node0", 1, SYN)


RENAMED = "set_field:10.1.0.6->ip_dst"
REWRITTEN = "actions=ct(table=1,zone=5)", f"table=1, ip actions={RENAMED},%s", "table=2, actions=output:2"


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
@pytest.mark.parametrize(
    "then",
    [
        "ct(table=2,zone=5)",
        "ct(commit,table=2,zone=5)",
        "ct(commit,force,table=2,zone=5)",
        "ct(table=2,zone=5,nat)",
        "resubmit(,3)",
    ],
)
def test_a_lookup_after_a_rewrite_without_ct_clear_is_an_error(then: str, tracker: Tracker) -> None:
    """The kernel keeps to the connection that the packet carries, whatever its addresses are now."""
    fabric = bridge(*(each.replace("%s", then) for each in REWRITTEN), RELAY, tracker=tracker)
    with pytest.raises(SimulationError, match="ct_clear"):
        fabric.inject("node0", 1, DATAGRAM)


RELAY = "table=3, ip actions=ct(table=2,zone=5)"


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
@pytest.mark.parametrize("then", ["ct_clear,ct(table=2,zone=5)", "ct(table=2,zone=6)", "ct(table=3,zone=6)"])
def test_a_lookup_after_a_rewrite_is_sound_once_the_connection_is_put_away(
    then: str, tracker: Tracker
) -> None:
    """By ``ct_clear`` or by a lookup in another zone."""
    fabric = bridge(*(each.replace("%s", then) for each in REWRITTEN), RELAY, tracker=tracker)
    assert ports(fabric.inject("node0", 1, DATAGRAM)) == [2]


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_a_zone_that_translated_a_packet_may_be_asked_again(tracker: Tracker) -> None:
    fabric = bridge(
        "udp actions=ct(commit,table=1,zone=5,nat(dst=10.9.0.1:443))",
        "table=1, udp actions=set_field:02:00:00:00:00:07->eth_dst,ct(commit,table=2,zone=5)",
        "table=2, actions=output:2",
        tracker=tracker,
    )
    assert ports(fabric.inject("node0", 1, DATAGRAM)) == [2]


def test_a_packet_without_connection_carries_none() -> None:
    """Nothing is kept of what is invalid: the kernel looks it up again."""
    fabric = bridge(*(each.replace("%s", "ct(table=2,zone=5)") for each in REWRITTEN), tracker=Tracker.KERNEL)
    assert ports(fabric.inject("node0", 1, answer(SYN))) == [2]


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_plain_connections_with_one_reply_are_an_error(tracker: Tracker) -> None:
    """The kernel drops the packet; Open vSwitch's own keeps both, and replies belong to either."""
    fabric = bridge(
        "priority=1,udp,nw_dst=10.1.0.5 actions=ct(commit,table=1,zone=5,nat(dst=10.9.0.1:443))",
        "priority=1,udp,nw_dst=10.9.0.1 actions=ct(commit,table=1,zone=5)",
        "table=1, actions=output:2",
        tracker=tracker,
    )
    direct = Packet.udp(Ends(CLIENT_MAC, GATEWAY, CLIENT, IPv4Address("10.9.0.1")), (40000, 443))
    fabric.inject("node0", 1, DATAGRAM)
    with pytest.raises(SimulationError, match="reply"):
        fabric.inject("node0", 1, direct)


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_a_connection_whose_replies_are_anothers_requests_is_an_error(tracker: Tracker) -> None:
    fabric = bridge(
        "priority=1,udp,nw_dst=10.1.0.5 actions=ct(commit,table=1,zone=5,nat(dst=10.9.0.1:443))",
        "priority=1,udp,nw_dst=10.0.0.5 actions=ct(commit,table=1,zone=5)",
        "table=1, actions=output:2",
        tracker=tracker,
    )
    fabric.inject("node0", 1, DATAGRAM)
    with pytest.raises(SimulationError, match="reply"):
        fabric.inject("node0", 3, answer(DATAGRAM))


FORCED = (
    "in_port=3,udp actions=ct(commit,table=3,zone=5,exec(set_field:0x1->ct_mark))",
    "in_port=2,udp actions=ct(table=2,zone=5)",
    "in_port=1,udp actions=ct(table=4,zone=5)",
    "table=2, udp actions=ct(commit,force,table=3,zone=5,exec(set_field:0x2->ct_mark))",
    "table=3, actions=output:1",
    "table=4, priority=1,ct_state=-rpl+trk,ct_mark=0x2,ip actions=output:2",
    "table=4, priority=1,ct_state=+rpl+trk,ct_mark=0x2,ip actions=output:3",
)
"""What comes in by port 3 is committed, by port 2 with force; by port 1 one asks what was: out by 2 or 3, by its direction."""


@pytest.mark.parametrize("kind", ["kernel", "simulated", pytest.param("real", marks=pytest.mark.switch)])
@pytest.mark.parametrize("first", [DATAGRAM, answer(DATAGRAM)], ids=["its direction", "the other direction"])
@pytest.mark.parametrize("is_answered", [False, True], ids=["one way", "answered"])
def test_force_commits_in_the_direction_of_the_packet(
    request: pytest.FixtureRequest, kind: str, first: Packet, is_answered: bool
) -> None:
    """A connection of the other direction is replaced by one of this packet's, one of the same is written to."""
    wires: Wires
    if kind == "real":
        real: DummyFabric = request.getfixturevalue("switch")
        real.reset({"node0": program(map(parse_flow, FORCED))})
        wires = real
    else:
        wires = bridge(*FORCED, tracker=Tracker.KERNEL if kind == "kernel" else Tracker.USERSPACE)
    assert ports(wires.inject("node0", 3, first)) == [1]
    if is_answered:
        assert ports(wires.inject("node0", 3, answer(first))) == [1]
    assert ports(wires.inject("node0", 1, DATAGRAM)) == []
    assert ports(wires.inject("node0", 2, DATAGRAM)) == [1]
    assert ports(wires.inject("node0", 1, DATAGRAM)) == [2]
    assert ports(wires.inject("node0", 1, answer(DATAGRAM))) == [3]


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_force_deletes_also_where_nothing_can_start(tracker: Tracker) -> None:
    """A SYN-ACK ends its connection, and is invalid."""
    fabric = bridge(
        "priority=2,tcp,tcp_dst=80 actions=ct(commit,table=1,zone=5)",
        "priority=1,tcp actions=ct(commit,force,table=1,zone=5)",
        "table=1, priority=2,ct_state=+inv+trk actions=output:3",
        "table=1, priority=1 actions=output:2",
        tracker=tracker,
    )
    assert ports(fabric.inject("node0", 1, SYN)) == [2]
    assert ports(fabric.inject("node0", 4, answer(SYN))) == [3]
    assert not fabric.conntrack("node0").entries


@pytest.mark.parametrize("tracker", list(Tracker), ids=str)
def test_force_on_a_reply_of_a_translated_connection_is_an_error(tracker: Tracker) -> None:
    """Open vSwitch 3.1 and the kernel do not commit the same there."""
    fabric = bridge(
        "priority=1,udp,nw_dst=10.1.0.5 actions=ct(commit,table=1,zone=5,nat(dst=10.9.0.1:443))",
        "priority=1,udp,nw_dst=10.0.0.5 actions=ct(commit,force,table=1,zone=5)",
        "table=1, actions=output:2",
        tracker=tracker,
    )
    seen = fabric.inject("node0", 1, DATAGRAM).deliveries[0].packet
    with pytest.raises(SimulationError, match="force"):
        fabric.inject("node0", 3, answer(seen))


def services() -> BridgeProgram:
    text = (Path(__file__).parent / "services.flows").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    chosen = Bucket(0, (SetField(REG[4], int(SERVER)), Resubmit(25)))
    return program(map(parse_flow, lines), [Group(1, (chosen,))])


@pytest.fixture(scope="module")
def switch() -> Iterator[DummyFabric]:
    with DummyFabric(nodes=1, ports=3) as fabric:
        yield fabric


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.switch)])
def wires(request: pytest.FixtureRequest) -> Wires:
    """One bridge with the flows of services.flows: simulated, and Open vSwitch."""
    if request.param == "real":
        real: DummyFabric = request.getfixturevalue("switch")
        real.reset({"node0": services()})
        return real
    fabric = Fabric(0x7000)
    fabric.add("node0", [IPv4Address("192.168.50.1")], services())
    return fabric


def only(journey: Journey, port: int) -> Packet:
    """The one packet that came out, at ``port``."""
    assert ports(journey) == [port]
    return journey.deliveries[0].packet


def ends(packet: Packet) -> tuple[str, int, str, int]:
    found = packet.headers
    return (
        str(IPv4Address(found[IPV4_SRC])),
        found[TCP_SRC],
        str(IPv4Address(found[IPV4_DST])),
        found[TCP_DST],
    )


def test_a_service_is_translated_there_and_back(wires: Wires) -> None:
    """The server sees the client and its own port, the client only the service."""
    request = only(wires.inject("node0", 1, Packet.tcp(TO_VIP, (40000, 80), Tcp.SYN)), 2)
    assert ends(request) == ("10.0.0.5", 40000, "10.1.0.5", 8080)
    reply = only(wires.inject("node0", 2, answer(request)), 1)
    assert ends(reply) == ("10.96.0.10", 80, "10.0.0.5", 40000)
    again = only(wires.inject("node0", 1, Packet.tcp(TO_VIP, (40000, 80), Tcp.ACK)), 2)
    assert ends(again) == ("10.0.0.5", 40000, "10.1.0.5", 8080)


def test_three_datagrams_to_a_service_before_its_answer(wires: Wires) -> None:
    packet = Packet.udp(TO_VIP, (40000, 53), b"x")
    requests = [only(wires.inject("node0", 1, packet), 2) for _ in range(3)]
    assert len({each.headers[IPV4_DST] for each in requests}) == 1
    assert only(wires.inject("node0", 2, answer(requests[0])), 1).headers[IPV4_SRC] == int(VIP)


def test_an_error_about_a_translated_packet_reaches_the_client_from_the_service(wires: Wires) -> None:
    request = only(wires.inject("node0", 1, Packet.udp(TO_VIP, (40000, 53), b"x")), 2)
    error = Packet.unreachable(Ends(SERVER_MAC, GATEWAY, SERVER, CLIENT), request)
    seen = only(wires.inject("node0", 2, error), 1)
    assert (seen.headers[IPV4_SRC], seen.headers[IPV4_DST]) == (int(VIP), int(CLIENT))


def test_a_pod_reaches_itself_through_its_service(wires: Wires) -> None:
    """Hairpin: it sees a caller that is not itself, and its answer finds the way back."""
    request = only(wires.inject("node0", 2, Packet.tcp(FROM_SERVER_TO_VIP, (40000, 80), Tcp.SYN)), 2)
    assert ends(request) == (str(HAIRPIN), 40000, "10.1.0.5", 8080)
    reply = only(wires.inject("node0", 2, answer(request)), 2)
    assert ends(reply) == ("10.96.0.10", 80, "10.1.0.5", 40000)


THROUGH = Packet.tcp(TO_VIP, (40000, 80), Tcp.SYN)
DIRECT = Packet.tcp(TO_SERVER, (40000, 8080), Tcp.SYN)


@pytest.mark.parametrize(
    "order", [(THROUGH, DIRECT), (DIRECT, THROUGH)], ids=["service first", "direct first"]
)
def test_one_client_port_for_a_service_and_its_server(wires: Wires, order: tuple[Packet, Packet]) -> None:
    """Both connections live: the second gets a port of its own, which the client never sees."""
    requests = []
    for each in order:
        requests.append(only(wires.inject("node0", 1, each), 2))
        assert ends(only(wires.inject("node0", 2, answer(requests[-1])), 1)) == ends(answer(each))
    assert ends(requests[0])[1] == 40000
    assert ends(requests[1])[1] != 40000
    later = [only(wires.inject("node0", 1, replace(each, tcp_flags=Tcp.ACK)), 2) for each in order]
    assert [ends(each) for each in later] == [ends(each) for each in requests]


def test_an_unknown_port_of_a_service_goes_nowhere(wires: Wires) -> None:
    assert ports(wires.inject("node0", 1, Packet.tcp(TO_VIP, (40000, 81), Tcp.SYN))) == []
