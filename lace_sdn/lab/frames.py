"""The packets of probes: which frames are looked at (a filter in the kernel) and what is read from them.

Arrival is judged on the link, before a kernel looks at addresses: a packet that a wrong flow delivered to the wrong pod is seen
although its kernel would drop it, and so is the first segment of a connection that never comes about.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from lace_sdn.model.objects import Protocol

MAGIC = b"lace"
TOKEN_LENGTH = len(MAGIC) + 16

_ETHERNET = 14
_ETHERTYPES = {0x0800: 4, 0x86DD: 6}
_PORTS = {socket.IPPROTO_TCP: Protocol.TCP, socket.IPPROTO_UDP: Protocol.UDP}
_DESTINATION = {4: slice(_ETHERNET + 16, _ETHERNET + 20), 6: slice(_ETHERNET + 24, _ETHERNET + 40)}
_ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_ECHO_REQUEST = {4: 8, 6: 128}  # RFC 792, RFC 4443
_ECHO_REPLY = {4: 0, 6: 129}
_SO_ATTACH_FILTER = 26
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23  # linux/if_packet.h
_ETH_P_ALL = 3

# bpf(4), one tuple (code, jump if true, jump if false, operand) an instruction:
_WANTED = (
    (0x28, 0, 0, 12),  # ldh [12]: the ethertype
    (0x15, 0, 3, 0x0800),  # IPv4:
    (0xB1, 0, 0, _ETHERNET),  # x = length of its header
    (0x30, 0, 0, 23),  # ldb its protocol
    (0x05, 0, 0, 3),
    (0x15, 0, 9, 0x86DD),  # IPv6:
    (0x01, 0, 0, 40),
    (0x30, 0, 0, 20),
    (0x15, 0, 3, socket.IPPROTO_TCP),  # TCP: segments with SYN and without ACK
    (0x50, 0, 0, _ETHERNET + 13),
    (0x54, 0, 0, 0x12),
    (0x15, 2, 3, 0x02),
    (0x40, 0, 0, _ETHERNET + 8),  # others: the payload after 8 bytes of UDP or ICMP header begins with MAGIC
    (0x15, 0, 1, int.from_bytes(MAGIC)),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)
_NOTHING = ((0x06, 0, 0, 0),)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame of a probe: the ``token`` it carries, or for the first segment of TCP the sequence number that stands for one.

    ``destination`` and ``port`` (ICMP and 0 for an echo) are where it is sent.
    """

    destination: str
    port: tuple[Protocol, int]
    token: bytes = b""
    sequence: int = 0
    is_echo_reply: bool = False


def watch(device: str) -> socket.socket:
    """A socket that receives the frames of probes that arrive on ``device`` of the thread's namespace."""
    watcher = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    watcher.setblocking(False)
    _attach(watcher, _WANTED)
    watcher.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    watcher.bind((device, _ETH_P_ALL))
    return watcher


def echo_sender(version: int) -> socket.socket:
    """A socket to send ICMP messages of this IP version; it receives nothing (``watch`` does)."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    sender = socket.socket(family, socket.SOCK_RAW, _ICMP[version])
    sender.setblocking(False)
    _attach(sender, _NOTHING)
    return sender


def echo_request(address: str, identifier: int, sequence: int, token: bytes) -> bytes:
    """An ICMP or ICMPv6 echo request; the kernel fills in the checksum of the latter (RFC 3542 section 3.1)."""
    version = ip_address(address).version
    packet = struct.pack("!BBHHH", _ECHO_REQUEST[version], 0, 0, identifier, sequence) + token
    return packet if version == 6 else packet[:2] + _checksum(packet).to_bytes(2) + packet[4:]


def read(frame: bytes) -> Arrival | None:
    """What a frame of a probe says; None for any other."""
    version = _ETHERTYPES.get(int.from_bytes(frame[12:14]))
    if version is None:
        return None
    protocol = frame[_ETHERNET + (9 if version == 4 else 6)]
    destination = str(ip_address(frame[_DESTINATION[version]]))
    length = (frame[_ETHERNET] & 0xF) * 4 if version == 4 else 40
    body = frame[_ETHERNET + length :]
    token = body[8 : 8 + TOKEN_LENGTH]
    if protocol in _PORTS:
        port, sequence = struct.unpack_from("!2xHI", body)
        its = (_PORTS[protocol], port)
        is_tcp = protocol == socket.IPPROTO_TCP
        return Arrival(destination, its, sequence=sequence) if is_tcp else Arrival(destination, its, token)
    if protocol != _ICMP[version] or body[0] not in {_ECHO_REQUEST[version], _ECHO_REPLY[version]}:
        return None
    is_reply = body[0] == _ECHO_REPLY[version]
    return Arrival(destination, (Protocol.ICMP, 0), token, is_echo_reply=is_reply)


def _checksum(packet: bytes) -> int:
    """RFC 1071; the packet's length is even."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _attach(target: socket.socket, program: tuple[tuple[int, int, int, int], ...]) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    kept = ctypes.create_string_buffer(code)
    target.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(kept))
    )
