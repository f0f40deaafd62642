"""The answer to a packet that is refused: a TCP reset, or ICMP "port unreachable", from the address that was called.

Pure, but for what the library needs. Frames come from pods, so any bytes may be in them: none of them raises out of here.
The library reads single headers of known length, nothing else: its parsers of TCP options and of what follows do not end, or
fail, for some bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Any, Final, NamedTuple

from lace_sdn.openflow.fields import EthType, IpProto
from lace_sdn.switch import library

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_ETHERNET, _IPV4, _IPV6, _TCP, _UDP = 14, 20, 40, 20, 8
"""Octets of headers, without options."""
_MORE_FRAGMENTS: Final = 1
_GROUP: Final = 1
"""Bit of the first octet of a MAC: more than one receiver."""
_BROADCAST: Final = IPv4Address("255.255.255.255")
_TTL: Final = 64
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


def rejection(frame: bytes) -> bytes | None:
    """The frame that refuses ``frame``; None for what is never answered.

    That is: resets, fragments (a switch sees no ports in them), several receivers, what is malformed, and all that is neither TCP nor UDP.
    """
    try:
        datagram = _read(bytes(frame))
        answer = _reset(datagram) if datagram.protocol == IpProto.TCP else _unreachable(datagram)
        return _frame(datagram, answer)
    except Exception:  # noqa: BLE001 - whatever the library makes of hostile bytes, they get no answer
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
    if datagram.size < 0 or datagram.protocol not in (IpProto.TCP, IpProto.UDP):
        raise _Unfit
    return datagram


def _read_ipv4(ether: Any, packet: bytes) -> _Datagram:
    ip, _, _ = library.ipv4.ipv4.parser(packet)
    header = 4 * ip.header_length
    if ip.version != 4 or header < _IPV4 or ip.offset or ip.flags & _MORE_FRAGMENTS:
        raise _Unfit
    packet = packet[: ip.total_length]
    return _Datagram(ether, ip, ip.proto, packet, packet[header:], ip.total_length - header)


def _read_ipv6(ether: Any, packet: bytes) -> _Datagram:
    """Without extension headers: the library fails for those, which are cut off."""
    ip, _, _ = library.ipv6.ipv6.parser(packet[:_IPV6])
    if ip.version != 6:
        raise _Unfit
    packet = packet[: _IPV6 + ip.payload_length]
    return _Datagram(ether, ip, ip.nxt, packet, packet[_IPV6:], ip.payload_length)


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


def _frame(datagram: _Datagram, answer: Any) -> bytes:
    """``answer`` on the way back: from whom was called to who called."""
    protocol = {library.tcp.tcp: IpProto.TCP, library.icmp.icmp: IpProto.ICMP}.get(
        type(answer), IpProto.ICMPV6
    )
    ether, ip = datagram.ether, datagram.ip
    frame = library.packet.Packet()
    frame.add_protocol(library.ethernet.ethernet(dst=ether.src, src=ether.dst, ethertype=ether.ethertype))
    if ip.version == 4:
        frame.add_protocol(library.ipv4.ipv4(src=ip.dst, dst=ip.src, proto=protocol, ttl=_TTL))
    else:
        frame.add_protocol(library.ipv6.ipv6(src=ip.dst, dst=ip.src, nxt=protocol, hop_limit=_TTL))
    frame.add_protocol(answer)
    frame.serialize()
    return bytes(frame.data)


@dataclass(slots=True)
class Allowance:
    """So many a second, and never more than a second's worth at once. ``at``: seconds of a clock that never goes back."""

    rate: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        """Whether one more may be done."""
        self.left = min(self.rate, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
