"""Promises about the packets of probes."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from lace_sdn.lab.frames import MAGIC, Arrival, echo_request, read
from lace_sdn.model.objects import Protocol

TOKEN = MAGIC + b"0123456789abcdef"
ETHERNET = bytes(12)
IPV4 = ETHERNET + b"\x08\x00" + bytes([0x45]) + bytes(8)
IPV6 = ETHERNET + b"\x86\xdd" + bytes(6)
REST_4, REST_6 = bytes(6) + bytes([10, 0, 0, 1]), bytes(17) + b"\xfd" + bytes(14) + b"\x01"
DESTINATIONS = {4: "10.0.0.1", 6: "fd00::1"}


def _frame(version: int, protocol: int, body: bytes) -> bytes:
    return (
        IPV4 + bytes([protocol]) + REST_4 + body if version == 4 else IPV6 + bytes([protocol]) + REST_6 + body
    )


@pytest.mark.parametrize("version", [4, 6])
def test_the_token_of_a_datagram_is_read(version: int) -> None:
    datagram = struct.pack("!HHHH", 20123, 53, 0, 0) + TOKEN
    assert read(_frame(version, 17, datagram)) == Arrival(DESTINATIONS[version], (Protocol.UDP, 53), TOKEN)


@pytest.mark.parametrize("version", [4, 6])
def test_a_first_segment_is_known_by_its_sequence_number(version: int) -> None:
    segment = struct.pack("!HHI", 20123, 80, 0xFEDCBA98) + bytes(12)
    expected = Arrival(DESTINATIONS[version], (Protocol.TCP, 80), sequence=0xFEDCBA98)
    assert read(_frame(version, 6, segment)) == expected


@pytest.mark.parametrize(("address", "protocol"), [("10.0.0.1", 1), ("fd00::1", 58)])
def test_an_echo_request_is_an_arrival_and_its_reply_is_not(address: str, protocol: int) -> None:
    version = 4 if protocol == 1 else 6
    request = echo_request(address, 7, 1, TOKEN)
    reply = bytes([0 if version == 4 else 129]) + request[1:]
    seen = Arrival(address, (Protocol.ICMP, 0), TOKEN)
    assert read(_frame(version, protocol, request)) == seen
    assert read(_frame(version, protocol, reply)) == replace(seen, is_echo_reply=True)


def test_the_checksum_of_an_echo_request_is_right() -> None:
    """RFC 1071: over a packet with its checksum the sum is all ones."""
    words = struct.unpack("!14H", echo_request("10.0.0.1", 0xFFFF, 0xFFFF, TOKEN))
    assert sum(words) % 0xFFFF == 0


def test_other_frames_say_nothing() -> None:
    assert read(ETHERNET + b"\x08\x06" + bytes(40)) is None
    assert read(_frame(4, 1, bytes([3]) + bytes(7) + TOKEN)) is None
    assert read(_frame(4, 47, bytes(8) + TOKEN)) is None
