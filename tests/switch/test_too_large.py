"""What a pod is told whose packet is larger than pods' packets may be, and when it is told nothing."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from holding import HolderProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import (
    ACK,
    GATEWAY,
    ICMP,
    ICMPV6,
    PSH,
    SYN,
    TCP,
    UDP,
    Answer,
    Ipv4,
    Ipv6,
    ether,
    read,
    tcp,
    udp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MTU = 1450
SENT = 1280
"""Octets of a frame that the switch sends to the controller."""
IP = {4: Ipv4(), 6: Ipv6()}
HEADER = {4: 20, 6: 40}
BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 6])
DF, MORE = 0x4000, 0x2000
MUCH = bytes(2000)
ECHO, ECHO_V6 = b"\x08\0\0\0\0\1\0\1", b"\x80\0\0\0\0\1\0\1"


class Complainer:
    """The process with the OpenFlow library, asked what it says to frames."""

    def __init__(self, process: HolderProcess) -> None:
        self._process = process

    def complaints(self, *frames: bytes, mtu: int = MTU) -> list[bytes | None]:
        found: list[bytes | None] = self._process.ask("complaints", frames, mtu)
        return found

    def complaint(self, packet: bytes, version: int, mtu: int = MTU) -> Answer:
        (found,) = self.complaints(ether(packet)[:SENT], mtu=mtu)
        assert found is not None
        return read(found, version, GATEWAY)


@pytest.fixture(scope="module")
def complainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Complainer]:
    folder: Path = tmp_path_factory.mktemp("complainer")
    with HolderProcess(folder / "openflow.sock") as process:
        yield Complainer(process)


TOLD = {
    "tcp": (TCP, tcp(ACK | PSH, data=MUCH)),
    "udp": (UDP, udp(MUCH)),
    "sctp": (132, struct.pack("!HHII", 1, 2, 0, 0) + MUCH),
    "another protocol": (47, MUCH),
}


@BOTH_VERSIONS
@pytest.mark.parametrize("what", TOLD)
def test_the_gateway_tells_the_mtu_and_quotes_as_much_as_fits(
    complainer: Complainer, version: int, what: str
) -> None:
    """RFC 1191 section 4 and RFC 1812 section 4.3.2.3; RFC 4443 sections 3.2 and 2.4 (c)."""
    packet = IP[version].around(*TOLD[what])
    answer = complainer.complaint(packet, version)
    kind, code, mtu, quote = answer.too_big
    assert (answer.protocol, kind, code, mtu) == {4: (ICMP, 3, 4, MTU), 6: (ICMPV6, 2, 0, MTU)}[version]
    assert len(answer.packet) == {4: 576, 6: 1280}[version]
    assert packet.startswith(quote)


@BOTH_VERSIONS
def test_a_ping_is_told_too(complainer: Complainer, version: int) -> None:
    protocol, echo = {4: (ICMP, ECHO), 6: (ICMPV6, ECHO_V6)}[version]
    assert complainer.complaint(IP[version].around(protocol, echo + MUCH), version).too_big[2] == MTU


@pytest.mark.parametrize("flags", [0, DF, MORE])
def test_a_packet_that_might_be_fragmented_and_a_first_fragment_are_told_alike(
    complainer: Complainer, flags: int
) -> None:
    """Open vSwitch cannot fragment."""
    packet = Ipv4(fragment=flags).around(UDP, udp(MUCH, length=4008))
    assert complainer.complaint(packet, 4).too_big[:3] == (3, 4, MTU)


def test_a_first_fragment_of_ipv6_and_what_is_behind_options_are_told(complainer: Complainer) -> None:
    for packet in (
        Ipv6(fragment=1).around(UDP, udp(MUCH, length=4008)),
        Ipv6(before=(60, b"\0" + bytes(6))).around(UDP, udp(MUCH)),
        Ipv6(before=(0, b"\1" + bytes(14))).around(ICMPV6, ECHO_V6 + MUCH),
    ):
        assert complainer.complaint(packet, 6).too_big[:3] == (2, 0, MTU)


@BOTH_VERSIONS
def test_only_what_is_larger_is_told(complainer: Complainer, version: int) -> None:
    fits, larger = (
        ether(IP[version].around(UDP, udp(bytes(MTU - HEADER[version] - 8 + more)))) for more in (0, 1)
    )
    found = complainer.complaints(fits[:SENT], larger[:SENT], fits + bytes(100))
    assert [each is None for each in found] == [True, False, True]


@pytest.mark.parametrize("mtu", [1280, 1430, 8950])
def test_the_mtu_is_what_the_controller_was_given(complainer: Complainer, mtu: int) -> None:
    packet = Ipv4().around(TCP, tcp(ACK, data=bytes(9000)))
    assert complainer.complaint(packet, 4, mtu).too_big[2] == mtu


SILENT = {
    "a later fragment": Ipv4(fragment=MORE | 100).around(UDP, MUCH),
    "the last fragment": Ipv4(fragment=100).around(UDP, MUCH),
    "a later IPv6 fragment": Ipv6(fragment=100 << 3 | 1).around(UDP, MUCH),
    "a call to all": Ipv4(destination="255.255.255.255").around(UDP, udp(MUCH)),
    "a call to many": Ipv4(destination="224.0.0.251").around(UDP, udp(MUCH)),
    "an IPv6 call to many": Ipv6(destination="ff02::fb").around(UDP, udp(MUCH)),
    "a sender that is many": Ipv4(source="224.0.0.1").around(UDP, udp(MUCH)),
    "a sender that is nobody": Ipv6(source="::").around(UDP, udp(MUCH)),
    "an ICMP error": Ipv4().around(ICMP, b"\3\3" + bytes(6) + MUCH),
    "an ICMPv6 error": Ipv6().around(ICMPV6, b"\1\4" + bytes(6) + MUCH),
    "an ICMPv6 error behind options": Ipv6(before=(60, bytes(7))).around(ICMPV6, b"\2\0" + MUCH),
    "a redirect": Ipv6().around(ICMPV6, b"\x89\0" + MUCH),
    "ICMP without a type": Ipv4(length=2000).around(ICMP, b""),
    "ICMPv6 without a type": Ipv6(length=2000).around(ICMPV6, b""),
    "options without end": Ipv6(length=2000).around(60, bytes.fromhex("3c00000000000000") * 150),
    "an IP header that is too short": b"\x44" + Ipv4().around(UDP, udp(MUCH))[1:],
}


@pytest.mark.parametrize("packet", SILENT.values(), ids=list(SILENT))
def test_nothing_is_said_to(complainer: Complainer, packet: bytes) -> None:
    """RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)."""
    assert complainer.complaints(ether(packet)[:SENT]) == [None]


def test_nothing_is_said_to_frames_for_many_or_of_other_kinds(complainer: Complainer) -> None:
    packet = Ipv4().around(UDP, udp(MUCH))
    frames = (ether(packet, to=b"\xff" * 6), ether(packet, kind=0x86DD), ether(packet, kind=0x0806))
    assert complainer.complaints(*frames) == [None, None, None]


ORDINARY = [
    ether(each)[:200]
    for each in (
        Ipv4().around(TCP, tcp(SYN, data=MUCH)),
        Ipv4(options=bytes(8)).around(ICMP, ECHO + MUCH),
        Ipv6(fragment=1).around(UDP, udp(MUCH, length=4008)),
        Ipv6(before=(60, b"\0" + bytes(6))).around(ICMPV6, ECHO_V6 + MUCH),
    )
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An ordinary frame with some octets changed, behind its addresses, and cut off somewhere."""
    frame = bytearray(draw(st.sampled_from(ORDINARY)))
    places = st.integers(14, len(frame) - 1).filter(lambda place: place not in range(22, 54))
    for place in draw(st.lists(places, max_size=6)):
        frame[place] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.integers(14, len(frame)))])


def judged(answer: bytes | None) -> bool:
    """Whether it is silence, or a right answer. Raises AssertionError for a wrong one."""
    if answer is None:
        return True
    version = 4 if answer[12:14] == b"\x08\x00" else 6
    return read(answer, version, GATEWAY).too_big[:3] == {4: (3, 4, MTU), 6: (2, 0, MTU)}[version]


@given(st.lists(st.one_of(st.binary(max_size=120), damaged()), min_size=1, max_size=20))
@settings(deadline=None)
def test_whatever_bytes_they_are_the_answer_is_right_or_none(
    complainer: Complainer, frames: list[bytes]
) -> None:
    assert all(map(judged, complainer.complaints(*frames)))
