"""The answer to a packet that is refused: a TCP reset, or ICMP "port unreachable", from the address that was called.

Pure, but for what the library needs. Frames come from pods, so any bytes may be in them: none of them raises out of here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lace_sdn.switch import library

MOST_A_SECOND: Final = 200
"""Refusals of one bridge; what is more gets no answer. The switch limits too, by port: see ovsdb_plan."""

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_ETHERNET: Final = 14
_TTL: Final = 64
# RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 (c): the whole error stays below these sizes.
_LONGEST_QUOTE: Final = {4: 576 - 20 - 8, 6: 1280 - 40 - 8}
_MORE_FRAGMENTS: Final = 1


def rejection(frame: bytes) -> bytes | None:
    """The frame that refuses ``frame``; None for what is never answered: resets, fragments, multicast, what is no TCP or UDP."""
    try:
        return _answer(frame, library.packet.Packet(frame))
    except Exception:  # noqa: BLE001 - whatever the library makes of hostile bytes, they get no answer
        return None


def _answer(frame: bytes, parsed: Any) -> bytes | None:
    ether = parsed.get_protocol(library.ethernet.ethernet)
    four, six = (parsed.get_protocol(each) for each in (library.ipv4.ipv4, library.ipv6.ipv6))
    ip = four or six
    if ip is None or int(ether.src[:2], 16) & 1:
        return None
    if (four and (four.offset or four.flags & _MORE_FRAGMENTS)) or (six and six.ext_hdrs):
        return None
    tcp, udp = (parsed.get_protocol(each) for each in (library.tcp.tcp, library.udp.udp))
    if tcp is not None:
        layers = _reset(ip, tcp)
    elif udp is not None:
        layers = _unreachable(ip, frame)
    else:
        return None
    return _frame(ether, ip, layers) if layers else None


def _reset(ip: Any, tcp: Any) -> tuple[Any, ...]:
    """RFC 9293 section 3.10.7.1: a segment to a connection that does not exist."""
    if tcp.bits & _RST:
        return ()
    if tcp.bits & _ACK:
        numbers = {"seq": tcp.ack, "ack": 0, "bits": _RST}
    else:
        length = _payload(ip) - 4 * tcp.offset + bool(tcp.bits & _SYN) + bool(tcp.bits & _FIN)
        numbers = {"seq": 0, "ack": (tcp.seq + length) & 0xFFFFFFFF, "bits": _RST | _ACK}
    return (library.tcp.tcp(src_port=tcp.dst_port, dst_port=tcp.src_port, window_size=0, **numbers),)


def _payload(ip: Any) -> int:
    """Octets behind the IP header, as the header says: the frame may be cut off."""
    return int(ip.total_length - 4 * ip.header_length if ip.version == 4 else ip.payload_length)


def _unreachable(ip: Any, frame: bytes) -> tuple[Any, ...]:
    """RFC 792, RFC 4443 section 3.1: port unreachable, with as much of the datagram as fits."""
    quote = frame[_ETHERNET : _ETHERNET + _LONGEST_QUOTE[ip.version]]
    if ip.version == 4:
        return (library.icmp.icmp(type_=3, code=3, data=library.icmp.dest_unreach(data=quote)),)
    unused = bytes(4)
    return (library.icmpv6.icmpv6(type_=1, code=4, data=unused + quote),)


def _frame(ether: Any, ip: Any, layers: tuple[Any, ...]) -> bytes:
    protocol = {library.tcp.tcp: 6, library.icmp.icmp: 1, library.icmpv6.icmpv6: 58}[type(layers[0])]
    answer = library.packet.Packet()
    answer.add_protocol(library.ethernet.ethernet(dst=ether.src, src=ether.dst, ethertype=ether.ethertype))
    if ip.version == 4:
        answer.add_protocol(library.ipv4.ipv4(src=ip.dst, dst=ip.src, proto=protocol, ttl=_TTL))
    else:
        answer.add_protocol(library.ipv6.ipv6(src=ip.dst, dst=ip.src, nxt=protocol, hop_limit=_TTL))
    for layer in layers:
        answer.add_protocol(layer)
    answer.serialize()
    return bytes(answer.data)


@dataclass(slots=True)
class Allowance:
    """So many a second, and never more than a second's worth at once. ``now``: seconds of a clock that never goes back."""

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
