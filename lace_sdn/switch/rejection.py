"""The answer to a packet that does not go on: refused, by a TCP reset or ICMP "port unreachable"; too large, by ICMP with the MTU.

Pure, but for what the library needs. Frames come from pods, so any bytes may be in them: none of them raises out of here.
The library reads single headers of known length, nothing else: its parsers of TCP options and of what follows do not end, or
fail, for some bytes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Any, Final, NamedTuple

from lace_sdn.openflow.fields import EthType, IpProto
from lace_sdn.pipeline.constants import GATEWAY_IPV4, GATEWAY_IPV6
from lace_sdn.switch import library

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_ETHERNET, _IPV4, _IPV6, _TCP, _UDP = 14, 20, 40, 20, 8
"""Octets of headers, without options."""
_MORE_FRAGMENTS: Final = 1
_GROUP: Final = 1
"""Bit of the first octet of a MAC: more than one receiver."""
_BROADCAST: Final = IPv4Address("255.255.255.255")
_TTL: Final = 64
_GATEWAYS: Final = {4: str(GATEWAY_IPV4), 6: str(GATEWAY_IPV6)}
_ICMP_ERRORS: Final = frozenset((3, 4, 5, 11, 12))
"""RFC 1122 section 3.2.2."""
_ICMPV6_ERRORS: Final = frozenset((*range(128), 137))
"""RFC 4443 section 2.1; 137 is a redirect, to which none is due either (section 2.4 e)."""
_NEXT_HEADER: Final = 6
"""Where an IPv6 header says what follows it (RFC 8200 section 3); ``_NOTHING`` does."""
_NOTHING: Final = b"\x3b"
_FRAGMENT: Final = 44
_EXTENSIONS: Final = frozenset((0, 43, _FRAGMENT, 60))
"""IPv6 headers that tell where the next one is (RFC 8200 section 4.1), but for IPsec's."""
# RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 (c): the whole error stays within these sizes.
_LONGEST_QUOTE: Final = {4: 576 - 20 - 8, 6: 1280 - 40 - 8}


class _Unfit(Exception):  # noqa: N818 (what it is, not a mistake)
    """A frame that nothing is answered to."""


class _Datagram(NamedTuple):
    """What came. ``size``: octets behind the IP header as that says, which are all in ``packet`` unless it was cut off."""

    ether: Any
    ip: Any
    protocol: int
    packet: bytes
    payload: bytes
    size: int

    @property
    def length(self) -> int:
        """Octets from the IP header on, as that says."""
        return int(self.ip.total_length if self.ip.version == 4 else _IPV6 + self.ip.payload_length)

    @property
    def is_fragment(self) -> bool:
        """For IPv4; the fragments of IPv6 have a protocol of their own."""
        return self.ip.version == 4 and bool(self.ip.offset or self.ip.flags & _MORE_FRAGMENTS)


def rejection(frame: bytes) -> bytes | None:
    """The frame that refuses ``frame``, from the address that was called; None for what is never answered.

    That is: resets, fragments (a switch sees no ports in them), several receivers, what is malformed, and all that is neither TCP nor UDP.
    """
    try:
        datagram = _read(bytes(frame))
        if datagram.is_fragment or datagram.protocol not in (IpProto.TCP, IpProto.UDP):
            return None
        answer = _reset(datagram) if datagram.protocol == IpProto.TCP else _unreachable(datagram)
        return _frame(datagram, answer, datagram.ip.dst)
    except Exception:  # noqa: BLE001 - whatever the library makes of hostile bytes, they get no answer
        return None


def too_large(frame: bytes, mtu: int) -> bytes | None:
    """The frame by which a pod's gateway says that ``frame`` has more than ``mtu`` octets behind its Ethernet header.

    None for what is never answered: what is not too large, ICMP errors, later fragments, several receivers, what is malformed.
    IPv4 packets without DF are answered too: nobody here could fragment them, so it is up to their sender.
    """
    try:
        datagram = _read(bytes(frame))
        if datagram.length <= mtu or _is_error(datagram):
            return None
        return _frame(datagram, _packet_too_big(datagram, mtu), _GATEWAYS[datagram.ip.version])
    except Exception:  # noqa: BLE001 - as above
        return None


def _read(frame: bytes) -> _Datagram:
    ether, _, _ = library.ethernet.ethernet.parser(frame[:_ETHERNET])
    if (int(ether.src[:2], 16) | int(ether.dst[:2], 16)) & _GROUP:
        raise _Unfit
    read = {EthType.IPV4: _read_ipv4, EthType.IPV6: _read_ipv6}[ether.ethertype]
    datagram = read(ether, frame[_ETHERNET:])
    for text in (datagram.ip.src, datagram.ip.dst):
        address = ip_address(text)
        if address.is_multicast or address.is_unspecified or address.is_loopback or address == _BROADCAST:
            raise _Unfit
    if datagram.size < 0:
        raise _Unfit
    return datagram


def _read_ipv4(ether: Any, packet: bytes) -> _Datagram:
    ip, _, _ = library.ipv4.ipv4.parser(packet)
    header = 4 * ip.header_length
    if ip.version != 4 or header < _IPV4:
        raise _Unfit
    packet = packet[: ip.total_length]
    return _Datagram(ether, ip, ip.proto, packet, packet[header:], ip.total_length - header)


def _read_ipv6(ether: Any, packet: bytes) -> _Datagram:
    """The library is told of no extension headers: it fails for those, which are cut off."""
    head = packet[:_NEXT_HEADER] + _NOTHING + packet[_NEXT_HEADER + 1 : _IPV6]
    ip, _, _ = library.ipv6.ipv6.parser(head)
    if ip.version != 6:
        raise _Unfit
    protocol = packet[_NEXT_HEADER]
    packet = packet[: _IPV6 + ip.payload_length]
    return _Datagram(ether, ip, protocol, packet, packet[_IPV6:], ip.payload_length)


def _reset(datagram: _Datagram) -> Any:
    """RFC 9293 section 3.10.7.1: a segment to a connection that does not exist."""
    tcp, _, _ = library.tcp.tcp.parser(datagram.payload[:_TCP])
    header = 4 * tcp.offset
    if tcp.bits & _RST or not _TCP <= header <= datagram.size:
        raise _Unfit
    if tcp.bits & _ACK:
        numbers = {"seq": tcp.ack, "ack": 0, "bits": _RST}
    else:
        length = datagram.size - header + bool(tcp.bits & _SYN) + bool(tcp.bits & _FIN)
        numbers = {"seq": 0, "ack": (tcp.seq + length) & 0xFFFFFFFF, "bits": _RST | _ACK}
    return library.tcp.tcp(src_port=tcp.dst_port, dst_port=tcp.src_port, window_size=0, **numbers)


def _unreachable(datagram: _Datagram) -> Any:
    """RFC 792, RFC 4443 section 3.1: port unreachable, with as much of the datagram as fits."""
    udp, _, _ = library.udp.udp.parser(datagram.payload[:_UDP])
    if not _UDP <= udp.total_length <= datagram.size:
        raise _Unfit
    quote = datagram.packet[: _LONGEST_QUOTE[datagram.ip.version]]
    if datagram.ip.version == 4:
        return library.icmp.icmp(type_=3, code=3, data=library.icmp.dest_unreach(data=quote))
    unused = bytes(4)
    return library.icmpv6.icmpv6(type_=1, code=4, data=unused + quote)


def _packet_too_big(datagram: _Datagram, mtu: int) -> Any:
    """RFC 1191 section 4, RFC 4443 section 3.2: with the MTU, and as much of the datagram as fits."""
    quote = datagram.packet[: _LONGEST_QUOTE[datagram.ip.version]]
    if datagram.ip.version == 4:
        return library.icmp.icmp(type_=3, code=4, data=library.icmp.dest_unreach(mtu=mtu, data=quote))
    return library.icmpv6.icmpv6(type_=2, code=0, data=mtu.to_bytes(4, "big") + quote)


def _is_error(datagram: _Datagram) -> bool:
    """Whether it is an ICMP error. Raises for a later fragment, and where the headers end before that is known."""
    if datagram.ip.version == 4:
        if datagram.ip.offset:
            raise _Unfit
        return datagram.protocol == IpProto.ICMP and datagram.payload[0] in _ICMP_ERRORS
    protocol, rest = datagram.protocol, datagram.payload
    while protocol in _EXTENSIONS:
        if protocol == _FRAGMENT and int.from_bytes(rest[2:4], "big") >> 3:
            raise _Unfit
        size = 8 if protocol == _FRAGMENT else 8 * (rest[1] + 1)
        protocol, rest = rest[0], rest[size:]
    return protocol == IpProto.ICMPV6 and rest[0] in _ICMPV6_ERRORS


def _frame(datagram: _Datagram, answer: Any, source: str) -> bytes:
    """``answer``, from ``source`` to who sent the datagram."""
    protocol = {library.tcp.tcp: IpProto.TCP, library.icmp.icmp: IpProto.ICMP}.get(
        type(answer), IpProto.ICMPV6
    )
    ether, ip = datagram.ether, datagram.ip
    frame = library.packet.Packet()
    frame.add_protocol(library.ethernet.ethernet(dst=ether.src, src=ether.dst, ethertype=ether.ethertype))
    if ip.version == 4:
        frame.add_protocol(library.ipv4.ipv4(src=source, dst=ip.src, proto=protocol, ttl=_TTL))
    else:
        frame.add_protocol(library.ipv6.ipv6(src=source, dst=ip.src, nxt=protocol, hop_limit=_TTL))
    frame.add_protocol(answer)
    frame.serialize()
    return bytes(frame.data)
