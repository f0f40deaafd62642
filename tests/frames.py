"""Packets of the simulator as octets, and back: what a real switch is fed and what it puts out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TYPE_CHECKING

from lace_sdn.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    IP_PROTO,
    EthType,
    Field,
    IpProto,
)
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import address_fields, icmp_form, port_fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GENEVE_PORT = 6081
ERRORS = {IpProto.ICMP: (3, 11, 12), IpProto.ICMPV6: (1, 2, 3, 4)}
CLIENT_SEQUENCE, SERVER_SEQUENCE = 1000, 5000
WINDOW = 8192


def encode(packet: Packet) -> bytes:
    """An Ethernet frame with right checksums; TCP sequence numbers are those of a handshake and what follows it."""
    headers = packet.headers
    ether = _mac(headers[ETH_DST]) + _mac(headers[ETH_SRC]) + struct.pack("!H", headers[ETH_TYPE])
    if headers[ETH_TYPE] == EthType.ARP:
        return ether + _arp(packet)
    return ether + encode_ip(packet)


def encode_ip(packet: Packet) -> bytes:
    """The IP packet of a frame."""
    four = packet.headers[ETH_TYPE] == EthType.IPV4
    size = 4 if four else 16
    source, destination = (
        packet.headers[each].to_bytes(size, "big") for each in address_fields(packet.headers[ETH_TYPE])
    )
    protocol = packet.headers[IP_PROTO]
    body = _l4(packet, source + destination)
    if four:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, packet.ttl, protocol, 0)
        head += source + destination
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, packet.ttl) + source + destination + body


def _l4(packet: Packet, addresses: bytes) -> bytes:
    protocol = packet.headers[IP_PROTO]
    ports = port_fields(protocol)
    if protocol == IpProto.TCP and ports:
        numbers = [packet.headers[each] for each in ports]
        sequence = _sequence(packet, is_client=numbers[0] > numbers[1])
        body = struct.pack("!HHIIBBHHH", *numbers, *sequence, 5 << 4, packet.tcp_flags, WINDOW, 0, 0)
        place = 16
    elif protocol == IpProto.UDP and ports:
        numbers = [packet.headers[each] for each in ports]
        body = struct.pack("!HHHH", *numbers, 8 + len(packet.payload), 0)
        place = 6
    else:
        form = icmp_form(4 if protocol == IpProto.ICMP else 6)
        rest = struct.pack("!HH", 0 if packet.quoted else packet.icmp_id, 0)
        body = struct.pack("!BBH", packet.headers[form.type], packet.headers[form.code], 0) + rest
        body += encode_ip(packet.quoted) if packet.quoted else b""
        place = 2
    body += packet.payload
    total = checksum(_pseudo(addresses, body, protocol) + body) or 0xFFFF
    return body[:place] + struct.pack("!H", total) + body[place + 2 :]


def _pseudo(addresses: bytes, body: bytes, protocol: int) -> bytes:
    """What the checksum covers beside the body (RFC 9293 section 3.1, RFC 8200 section 8.1)."""
    return addresses + struct.pack("!II", len(body), protocol) if protocol != IpProto.ICMP else b""


def _sequence(packet: Packet, *, is_client: bool) -> tuple[int, int]:
    if packet.tcp_flags & Tcp.SYN:
        both = packet.tcp_flags & Tcp.ACK
        return (SERVER_SEQUENCE, CLIENT_SEQUENCE + 1) if both else (CLIENT_SEQUENCE, 0)
    ends = (CLIENT_SEQUENCE + 1, SERVER_SEQUENCE + 1)
    return ends if is_client else (ends[1], ends[0])


def _arp(packet: Packet) -> bytes:
    fields = packet.headers
    head = struct.pack("!HHBBH", 1, EthType.IPV4, 6, 4, fields[ARP_OP])
    sender = _mac(fields[ARP_SHA]) + fields[ARP_SPA].to_bytes(4, "big")
    return head + sender + _mac(fields[ARP_THA]) + fields[ARP_TPA].to_bytes(4, "big")


def decode(frame: bytes) -> Packet:
    """The packet of an Ethernet frame without options or extension headers. Raises ValueError for a wrong checksum."""
    headers: dict[Field, int] = {
        ETH_DST: int.from_bytes(frame[:6], "big"),
        ETH_SRC: int.from_bytes(frame[6:12], "big"),
        ETH_TYPE: int.from_bytes(frame[12:14], "big"),
    }
    body = frame[14:]
    if headers[ETH_TYPE] == EthType.ARP:
        places = {ARP_OP: (6, 8), ARP_SHA: (8, 14), ARP_SPA: (14, 18), ARP_THA: (18, 24), ARP_TPA: (24, 28)}
        headers |= {each: int.from_bytes(body[slice(*place)], "big") for each, place in places.items()}
        return Packet(MappingProxyType(headers))
    return _decode_ip(headers, body)


def _decode_ip(headers: dict[Field, int], body: bytes) -> Packet:
    four = headers[ETH_TYPE] == EthType.IPV4
    first, size, head = (12, 4, 20) if four else (8, 16, 40)
    source, destination = address_fields(headers[ETH_TYPE])
    addresses = body[first : first + 2 * size]
    headers[source] = int.from_bytes(addresses[:size], "big")
    headers[destination] = int.from_bytes(addresses[size:], "big")
    headers[IP_PROTO] = protocol = body[9] if four else body[6]
    ttl = body[8] if four else body[7]
    l4 = body[head:]
    if (four and checksum(body[:head])) or checksum(_pseudo(addresses, l4, protocol) + l4):
        raise ValueError(f"wrong checksum: {body.hex()}")
    ports = port_fields(protocol)
    if ports is not None:
        headers |= zip(ports, struct.unpack("!HH", l4[:4]), strict=True)
        is_tcp = protocol == IpProto.TCP
        flags = l4[13] if is_tcp else 0
        return Packet(MappingProxyType(headers), ttl, flags, payload=l4[20 if is_tcp else 8 :])
    form = icmp_form(4 if protocol == IpProto.ICMP else 6)
    headers |= {form.type: l4[0], form.code: l4[1]}
    identifier = int.from_bytes(l4[4:6], "big")
    if l4[0] in ERRORS[protocol]:
        quoted = _decode_ip({ETH_TYPE: headers[ETH_TYPE]}, l4[8:])
        return Packet(MappingProxyType(headers), ttl, quoted=quoted)
    return Packet(MappingProxyType(headers), ttl, icmp_id=identifier, payload=l4[8:])


@dataclass(frozen=True)
class Outer:
    """What surrounds a frame in a Geneve tunnel (RFC 8926)."""

    source_mac: int
    destination_mac: int
    source: IPv4Address
    destination: IPv4Address
    key: int


def encapsulate(outer: Outer, frame: bytes) -> bytes:
    """The frame inside Geneve, UDP, IPv4 and Ethernet."""
    inside = struct.pack("!BBHI", 0, 0, 0x6558, outer.key << 8) + frame
    udp = struct.pack("!HHHH", 50000, GENEVE_PORT, 8 + len(inside), 0) + inside
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, IpProto.UDP, 0)
    head += outer.source.packed + outer.destination.packed
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    ether = _mac(outer.destination_mac) + _mac(outer.source_mac) + struct.pack("!H", EthType.IPV4)
    return ether + head + udp


def underlay_destination(frame: bytes) -> IPv4Address | IPv6Address:
    """Where an encapsulated frame goes."""
    is_ipv6 = int.from_bytes(frame[12:14], "big") == EthType.IPV6
    return IPv6Address(frame[38:54]) if is_ipv6 else IPv4Address(frame[30:34])


def read_pcap(path: Path, position: int) -> tuple[list[bytes], int]:
    """Frames of a pcap file after ``position``, and the position after them; a frame still being written waits."""
    with path.open("rb") as file:
        file.seek(max(position, 24))
        data = file.read()
    frames = list(_records(data))
    return frames, max(position, 24) + sum(16 + len(frame) for frame in frames)


def _records(data: bytes) -> Iterator[bytes]:
    offset = 0
    while offset + 16 <= len(data):
        length = struct.unpack_from("=I", data, offset + 8)[0]
        if offset + 16 + length > len(data):
            return
        yield data[offset + 16 : offset + 16 + length]
        offset += 16 + length


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _mac(value: int) -> bytes:
    return value.to_bytes(6, "big")
