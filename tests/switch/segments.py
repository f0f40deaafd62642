"""Frames of pods, octet by octet, and what an answer to them says: shares no code with the library that makes answers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from frames import checksum

Addresses = dict[int, IPv4Address | IPv6Address]
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
POD_MAC, GATEWAY_MAC = bytes.fromhex("02000a000002"), bytes.fromhex("0a0000000001")
POD = {4: ip_address("10.0.0.2"), 6: ip_address("fd00::2")}
GATEWAY = {4: ip_address("169.254.127.1"), 6: ip_address("fe80::1")}
VIP = {4: ip_address("10.96.0.1"), 6: ip_address("fd00:96::1")}
POD_PORT, VIP_PORT = 40000, 80
SHORTEST = 60
"""Octets of an Ethernet frame; what is shorter is padded."""
BAD_OPTION = b"\x4d\x00\x00\x00"
"""A TCP option of an unknown kind that says it is 0 octets long."""


def ether(packet: bytes, *, to: bytes = GATEWAY_MAC, kind: int | None = None) -> bytes:
    """A frame of the pod; its type is that of the IP version."""
    number = kind if kind is not None else {4: 0x0800, 6: 0x86DD}[packet[0] >> 4]
    return to + POD_MAC + struct.pack("!H", number) + packet


@dataclass(frozen=True)
class Ipv4:
    """``length``: of the datagram as its header says, None for the truth; ``fragment``: flags and offset."""

    destination: str = str(VIP[4])
    source: str = str(POD[4])
    fragment: int = 0
    length: int | None = None
    options: bytes = b""

    def around(self, protocol: int, payload: bytes) -> bytes:
        head = 0x40 | (20 + len(self.options)) // 4
        length = self.length if self.length is not None else 20 + len(self.options) + len(payload)
        packed = struct.pack("!BBHHHBBH", head, 0, length, 7, self.fragment, 64, protocol, 0)
        packed += ip_address(self.source).packed + ip_address(self.destination).packed + self.options
        return packed[:10] + struct.pack("!H", checksum(packed)) + packed[12:] + payload


@dataclass(frozen=True)
class Ipv6:
    """``fragment``: offset and flags of a fragment header, None for none; ``before``: another extension header, and its number."""

    destination: str = str(VIP[6])
    source: str = str(POD[6])
    fragment: int | None = None
    length: int | None = None
    before: tuple[int, bytes] | None = None

    def around(self, protocol: int, payload: bytes) -> bytes:
        if self.before is not None:
            number, rest = self.before
            protocol, payload = number, bytes([protocol]) + rest + payload
        if self.fragment is not None:
            protocol, payload = 44, struct.pack("!BBHI", protocol, 0, self.fragment, 9) + payload
        length = self.length if self.length is not None else len(payload)
        head = struct.pack("!IHBB", 6 << 28, length, protocol, 64)
        return head + ip_address(self.source).packed + ip_address(self.destination).packed + payload


def tcp(  # noqa: PLR0913 - the fields of a header
    flags: int, *, seq: int = 1000, ack: int = 0, data: bytes = b"", options: bytes = b"", offset: int = 0
) -> bytes:
    """``offset``: of the data, in words; 0 for the truth."""
    words = offset or 5 + len(options) // 4
    head = struct.pack("!HHIIBBHHH", POD_PORT, VIP_PORT, seq, ack, (words & 15) << 4, flags, 64240, 0, 0)
    return head + options + data


def udp(data: bytes, length: int | None = None) -> bytes:
    said = 8 + len(data) if length is None else length
    return struct.pack("!HHHH", POD_PORT, VIP_PORT, said, 0) + data


def checked_udp(ip: Ipv4 | Ipv6, data: bytes) -> bytes:
    """A packet whose checksum conntrack accepts: in IPv6 a datagram must have one."""
    bare = udp(data)
    addresses = ip_address(ip.source).packed + ip_address(ip.destination).packed
    total = checksum(addresses + struct.pack("!II", len(bare), UDP) + bare)
    return ip.around(UDP, bare[:6] + struct.pack("!H", total) + bare[8:])


class Answer(NamedTuple):
    """An answer to the pod; ``body`` is what stands behind the IP header."""

    version: int
    protocol: int
    body: bytes
    packet: bytes

    @property
    def reset(self) -> tuple[int, int, int, int, int]:
        """Ports from and to, sequence and acknowledgement number, flags."""
        source, destination, seq, ack = struct.unpack("!HHII", self.body[:12])
        assert len(self.body) == 20
        return source, destination, seq, ack, self.body[13]

    @property
    def error(self) -> tuple[int, int, bytes]:
        """ICMP type and code, and what is quoted."""
        assert self.body[4:8] == bytes(4)
        return self.body[0], self.body[1], self.body[8:]

    @property
    def too_big(self) -> tuple[int, int, int, bytes]:
        """ICMP type and code, the MTU, and what is quoted."""
        return self.body[0], self.body[1], int.from_bytes(self.body[4:8], "big"), self.body[8:]


def read(frame: bytes, version: int = 4, sender: Addresses = VIP) -> Answer:
    """An answer, judged: to the pod, from the gateway's MAC and ``sender``, checksums right, no octet behind it but padding."""
    assert frame[:14] == POD_MAC + GATEWAY_MAC + {4: b"\x08\x00", 6: b"\x86\xdd"}[version]
    length = int.from_bytes(frame[16:18], "big") if version == 4 else 40 + int.from_bytes(frame[18:20], "big")
    packet, padding = frame[14 : 14 + length], frame[14 + length :]
    assert padding == bytes(len(padding))
    assert not padding or len(frame) == SHORTEST
    return _read_ipv4(packet, sender) if version == 4 else _read_ipv6(packet, sender)


def _read_ipv4(packet: bytes, sender: Addresses) -> Answer:
    head, _, length, _, fragment, ttl, protocol = struct.unpack("!BBHHHBB", packet[:10])
    assert (head, length, fragment & 0x3FFF, ttl) == (0x45, len(packet), 0, 64)
    assert packet[12:20] == sender[4].packed + POD[4].packed
    assert checksum(packet[:20]) == 0
    body = packet[20:]
    pseudo = packet[12:20] + struct.pack("!HH", protocol, len(body)) if protocol != ICMP else b""
    assert checksum(pseudo + body) == 0
    return Answer(4, protocol, body, packet)


def _read_ipv6(packet: bytes, sender: Addresses) -> Answer:
    head, length, protocol, limit = struct.unpack("!IHBB", packet[:8])
    assert (head, length, limit) == (6 << 28, len(packet) - 40, 64)
    assert packet[8:40] == sender[6].packed + POD[6].packed
    body = packet[40:]
    assert checksum(packet[8:40] + struct.pack("!II", len(body), protocol) + body) == 0
    return Answer(6, protocol, body, packet)
