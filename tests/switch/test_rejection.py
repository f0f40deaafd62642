"""What a packet that is refused is answered, and which packets are not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from holding import HolderProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import (
    ACK,
    BAD_OPTION,
    FIN,
    ICMP,
    ICMPV6,
    POD_MAC,
    POD_PORT,
    PSH,
    RST,
    SYN,
    TCP,
    UDP,
    VIP_PORT,
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

IP = {4: Ipv4(), 6: Ipv6()}
BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 6])
MORE = 0x2000
"""The flag of an IPv4 fragment that is not the last."""


class Refuser:
    """The process with the OpenFlow library, asked for answers; none is waited for longer than its patience."""

    def __init__(self, process: HolderProcess) -> None:
        self._process = process

    def answers(self, *frames: bytes) -> list[bytes | None]:
        answers: list[bytes | None] = self._process.ask("rejections", frames)
        return answers

    def answer(self, frame: bytes, version: int = 4) -> Answer:
        (found,) = self.answers(frame)
        assert found is not None
        return read(found, version)


@pytest.fixture(scope="module")
def refuser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refuser]:
    folder: Path = tmp_path_factory.mktemp("refuser")
    with HolderProcess(folder / "openflow.sock") as process:
        yield Refuser(process)


@BOTH_VERSIONS
@pytest.mark.parametrize(
    ("segment", "seq", "ack", "flags"),
    [
        (tcp(SYN), 0, 1001, RST | ACK),
        (tcp(SYN, data=b"early"), 0, 1006, RST | ACK),
        (
            tcp(SYN, options=bytes.fromhex("020405b40402080a0000000100000000" + "01030307")),
            0,
            1001,
            RST | ACK,
        ),
        (tcp(PSH, data=b"12345678"), 0, 1008, RST | ACK),
        (tcp(FIN), 0, 1001, RST | ACK),
        (tcp(SYN, seq=0xFFFFFFFF), 0, 0, RST | ACK),
        (tcp(ACK, ack=77), 77, 0, RST),
        (tcp(SYN | ACK, ack=77), 77, 0, RST),
        (tcp(ACK | PSH | FIN, ack=0xFFFFFFFF, data=b"late"), 0xFFFFFFFF, 0, RST),
    ],
    ids=["syn", "syn-data", "syn-options", "data", "fin", "wrap", "ack", "syn-ack", "ack-data-fin"],
)
def test_a_segment_is_reset_as_the_standard_says(  # noqa: PLR0913, PLR0917 - a table
    refuser: Refuser, version: int, segment: bytes, seq: int, ack: int, flags: int
) -> None:
    """RFC 9293 section 3.10.7.1: with an ACK, its number; without, that of the octet behind the segment."""
    answer = refuser.answer(ether(IP[version].around(TCP, segment)), version)
    assert answer.protocol == TCP
    assert answer.reset == (VIP_PORT, POD_PORT, seq, ack, flags)


def test_a_segment_that_was_cut_off_counts_with_its_whole_length(refuser: Refuser) -> None:
    """The switch sends its first octets only; the IP header says how long it was."""
    packet = Ipv4(length=20 + 20 + 1000).around(TCP, tcp(PSH, data=b"x" * 100))
    assert refuser.answer(ether(packet)).reset[3] == 2000


def test_padding_of_a_short_frame_is_no_data(refuser: Refuser) -> None:
    """Ethernet's shortest frame is longer than a segment."""
    frame = ether(Ipv4().around(TCP, tcp(PSH)))
    assert refuser.answer(frame.ljust(60, b"\0")).reset[3] == 1000


@BOTH_VERSIONS
def test_a_datagram_gets_port_unreachable_with_what_it_was(refuser: Refuser, version: int) -> None:
    packet = IP[version].around(UDP, udp(b"question"))
    answer = refuser.answer(ether(packet).ljust(90, b"\0"), version)
    assert answer.protocol == {4: ICMP, 6: ICMPV6}[version]
    assert answer.error == ({4: 3, 6: 1}[version], {4: 3, 6: 4}[version], packet)


@pytest.mark.parametrize(("version", "most"), [(4, 576), (6, 1280)])
def test_an_error_quotes_as_much_as_fits(refuser: Refuser, version: int, most: int) -> None:
    """RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c)."""
    packet = IP[version].around(UDP, udp(b"x" * 1400))
    answer = refuser.answer(ether(packet), version)
    assert len(answer.packet) == most
    assert packet.startswith(answer.error[2])


def test_options_are_quoted_too(refuser: Refuser) -> None:
    packet = Ipv4(options=bytes(8)).around(UDP, udp(b"question"))
    assert refuser.answer(ether(packet)).error == (3, 3, packet)


def test_a_reset_octet_by_octet(refuser: Refuser) -> None:
    (answer,) = refuser.answers(ether(Ipv4().around(TCP, tcp(SYN))))
    assert answer is not None
    assert answer[:54].hex() == (
        "02000a000002" + "0a0000000001" + "0800"
        "45000028" + "00000000" + "4006666e" + "0a600001" + "0a000002"
        "00509c40" + "00000000" + "000003e9" + "50140000" + "faf40000"
    )  # fmt: skip


def test_an_unreachable_octet_by_octet(refuser: Refuser) -> None:
    packet = Ipv4().around(UDP, udp(b"?"))
    (answer,) = refuser.answers(ether(packet))
    assert answer is not None
    assert answer.hex() == (
        "02000a000002" + "0a0000000001" + "0800"
        "45000039" + "00000000" + "40016662" + "0a600001" + "0a000002"
        "03032163" + "00000000" + packet.hex()
    )  # fmt: skip


SILENT = {
    "a reset": Ipv4().around(TCP, tcp(RST)),
    "a reset with ACK": Ipv6().around(TCP, tcp(RST | ACK, ack=5)),
    "the first fragment of a datagram": Ipv4(fragment=MORE).around(UDP, udp(b"x" * 64, length=3000)),
    "the first IPv6 fragment": Ipv6(fragment=1).around(UDP, udp(b"x" * 64, length=3000)),
    "a later fragment": Ipv4(fragment=MORE | 100).around(UDP, udp(b"x" * 8)),
    "the last fragment": Ipv4(fragment=100).around(UDP, udp(b"x" * 8)),
    "a later IPv6 fragment": Ipv6(fragment=100 << 3 | 1).around(UDP, udp(b"x" * 8)),
    "the first fragment of a segment": Ipv4(fragment=MORE).around(TCP, tcp(PSH, data=b"x" * 16)),
    "a call to all": Ipv4(destination="255.255.255.255").around(UDP, udp(b"x")),
    "a call to many": Ipv4(destination="224.0.0.251").around(UDP, udp(b"x")),
    "an IPv6 call to many": Ipv6(destination="ff02::fb").around(UDP, udp(b"x")),
    "a sender that is many": Ipv4(source="224.0.0.1").around(UDP, udp(b"x")),
    "a sender that is nobody": Ipv6(source="::").around(UDP, udp(b"x")),
    "a sender that is oneself": Ipv4(source="127.0.0.1").around(UDP, udp(b"x")),
    "ICMP": Ipv4().around(ICMP, bytes.fromhex("0800f7ff00000000")),
    "an ICMP error": Ipv4().around(ICMP, bytes.fromhex("0303fcfc00000000") + Ipv4().around(UDP, udp(b"x"))),
    "ICMPv6": Ipv6().around(ICMPV6, bytes.fromhex("8000000000000000")),
    "SCTP": Ipv4().around(132, struct.pack("!HHII", 1, 2, 0, 0)),
    "an unknown extension header": Ipv6(before=(60, b"\0" + bytes(6))).around(UDP, udp(b"x")),
    "a segment without all of its header": Ipv4().around(TCP, tcp(SYN)[:19]),
    "a header that is longer than the segment": Ipv4().around(TCP, tcp(SYN, offset=15)),
    "a header that is too short": Ipv4().around(TCP, tcp(SYN, offset=4)),
    "a datagram without all of its header": Ipv4().around(UDP, udp(b"")[:7]),
    "a datagram that is longer than its packet": Ipv4().around(UDP, udp(b"x", length=10)),
    "a datagram that is shorter than its header": Ipv6().around(UDP, udp(b"x", length=7)),
    "a packet that is shorter than its header": Ipv4(length=19).around(UDP, udp(b"x")),
    "an IP header that is too short": b"\x44" + Ipv4().around(UDP, udp(b"x"))[1:],
    "an IPv4 header alone": Ipv4().around(UDP, b""),
    "an IPv6 header alone": Ipv6(length=100).around(TCP, b""),
    "nothing": b"\x40",
}


@pytest.mark.parametrize("packet", SILENT.values(), ids=list(SILENT))
def test_nothing_is_answered_to(refuser: Refuser, packet: bytes) -> None:
    assert refuser.answers(ether(packet)) == [None]


SILENT_FRAMES = {
    "a frame to all": ether(Ipv4().around(UDP, udp(b"x")), to=b"\xff" * 6),
    "a frame to many": ether(Ipv4().around(UDP, udp(b"x")), to=bytes.fromhex("01005e0000fb")),
    "a tagged frame": ether(b"\0\1\x08\0" + Ipv4().around(UDP, udp(b"x")), kind=0x8100),
    "ARP": ether(bytes(28), kind=0x0806),
    "IPv6 that says it is IPv4": ether(Ipv6().around(UDP, udp(b"x")), kind=0x0800),
    "IPv4 that says it is IPv6": ether(Ipv4().around(UDP, udp(b"x" * 40)), kind=0x86DD),
    "half of an Ethernet header": POD_MAC,
    "no frame": b"",
}


@pytest.mark.parametrize("frame", SILENT_FRAMES.values(), ids=list(SILENT_FRAMES))
def test_no_answer_goes_out_for(refuser: Refuser, frame: bytes) -> None:
    assert refuser.answers(frame) == [None]


HOSTILE = {
    "an option without end": Ipv4().around(TCP, tcp(SYN, options=BAD_OPTION)),
    "an IPv6 segment with an option without end": Ipv6().around(TCP, tcp(SYN, options=BAD_OPTION)),
    "half an option": Ipv4().around(TCP, tcp(SYN, options=b"\2\4\5\1\1\1\1\2")),
    "data that BGP would not be": Ipv4().around(
        TCP, tcp(ACK, data=b"\xff" * 30).replace(struct.pack("!H", VIP_PORT), struct.pack("!H", 179), 1)
    ),
}


@pytest.mark.parametrize("packet", HOSTILE.values(), ids=list(HOSTILE))
def test_what_the_library_cannot_read_is_refused_like_the_rest(refuser: Refuser, packet: bytes) -> None:
    """Its parsers of options and of known ports would loop for ever, or fail."""
    assert refuser.answers(ether(packet)) != [None]


ORDINARY = [
    ether(each)
    for each in (
        Ipv4().around(TCP, tcp(SYN, options=bytes.fromhex("020405b401010402"))),
        Ipv6().around(TCP, tcp(ACK | PSH, ack=5, data=b"hello")),
        Ipv4(options=bytes(4)).around(UDP, udp(b"question")),
        Ipv6(fragment=1).around(UDP, udp(b"question" * 4, length=99)),
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


def judged(frame: bytes, answer: bytes | None) -> bool:
    """Whether it is silence, or a right answer from whomever the frame called. Raises AssertionError for a wrong one."""
    if answer is None:
        return True
    version = 4 if answer[12:14] == b"\x08\x00" else 6
    return read(answer, version).protocol in {TCP, ICMP, ICMPV6} and len(answer) <= 14 + len(frame) + 48


@given(st.lists(st.binary(max_size=120), min_size=1, max_size=20))
@settings(deadline=None)
def test_no_bytes_raise(refuser: Refuser, frames: list[bytes]) -> None:
    """Whatever they are; and hardly any get an answer."""
    assert len(refuser.answers(*frames)) == len(frames)


@given(st.lists(damaged(), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_damaged_frame_gets_a_right_answer_or_none(refuser: Refuser, frames: list[bytes]) -> None:
    answers = refuser.answers(*frames)
    assert all(judged(frame, answer) for frame, answer in zip(frames, answers, strict=True))
