"""Packets as frozen values: the fields that flows match, and what conntrack needs beside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from lace_sdn.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    ICMP_CODE,
    ICMP_TYPE,
    ICMPV6_CODE,
    ICMPV6_TYPE,
    IP_PROTO,
    IPV4_DST,
    IPV4_SRC,
    IPV6_DST,
    IPV6_SRC,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_SRC,
    UDP_DST,
    UDP_SRC,
    EthType,
    Field,
    IpProto,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address

    Address = IPv4Address | IPv6Address

DEFAULT_TTL: Final = 64
SHORTEST: Final = 60
"""Octets of an Ethernet frame (IEEE 802.3 section 3.2.8), without its checksum."""


class Tcp:
    """TCP flags (RFC 9293 section 3.1)."""

    FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class IcmpForm(NamedTuple):
    """The numbers of one ICMP version (RFC 792, RFC 4443)."""

    type: Field
    code: Field
    echo: int
    echo_reply: int
    unreachable: int
    port_unreachable: int


ICMPV4_FORM: Final = IcmpForm(ICMP_TYPE, ICMP_CODE, 8, 0, 3, 3)
ICMPV6_FORM: Final = IcmpForm(ICMPV6_TYPE, ICMPV6_CODE, 128, 129, 1, 4)

_PORTS: Final = {
    IpProto.TCP: (TCP_SRC, TCP_DST),
    IpProto.UDP: (UDP_SRC, UDP_DST),
    IpProto.SCTP: (SCTP_SRC, SCTP_DST),
}


class Ends(NamedTuple):
    """The MACs (48 bits) and addresses of a packet."""

    source_mac: int
    destination_mac: int
    source: Address
    destination: Address


@dataclass(frozen=True)
class Packet:
    """An Ethernet frame. ``quoted``: the packet that an ICMP error is about, as its sender saw it leave.

    ``tcp_flags``: see ``Tcp``; ``icmp_id``: identifier of an echo; ``payload`` tells packets apart in tests.
    ``size``: octets of the frame, whatever its payload is here.
    """

    headers: Mapping[Field, int]
    ttl: int = DEFAULT_TTL
    tcp_flags: int = 0
    icmp_id: int = 0
    quoted: Packet | None = None
    payload: bytes = field(default=b"")
    size: int = SHORTEST

    def __hash__(self) -> int:
        return hash((frozenset(self.headers.items()), self.tcp_flags, self.icmp_id, self.payload))

    def with_headers(self, changed: Mapping[Field, int]) -> Packet:
        """The same packet with some fields changed, as a forger would."""
        return replace(self, headers=MappingProxyType({**self.headers, **changed}))

    @property
    def protocol(self) -> int | None:
        """The IP protocol; None for what is not IP."""
        return self.headers.get(IP_PROTO) if self.headers[ETH_TYPE] != EthType.ARP else None

    @property
    def is_ipv6(self) -> bool:
        return self.headers[ETH_TYPE] == EthType.IPV6

    @staticmethod
    def _ip(ends: Ends, protocol: int, l4: Mapping[Field, int]) -> MappingProxyType[Field, int]:
        four = ends.source.version == 4
        return MappingProxyType(
            {
                ETH_SRC: ends.source_mac,
                ETH_DST: ends.destination_mac,
                ETH_TYPE: EthType.IPV4 if four else EthType.IPV6,
                IPV4_SRC if four else IPV6_SRC: int(ends.source),
                IPV4_DST if four else IPV6_DST: int(ends.destination),
                IP_PROTO: protocol,
                **l4,
            }
        )

    @classmethod
    def tcp(cls, ends: Ends, ports: tuple[int, int], flags: int, payload: bytes = b"") -> Packet:
        """A TCP segment; ``ports``: source, destination."""
        l4 = {TCP_SRC: ports[0], TCP_DST: ports[1]}
        return cls(cls._ip(ends, IpProto.TCP, l4), tcp_flags=flags, payload=payload)

    @classmethod
    def udp(cls, ends: Ends, ports: tuple[int, int], payload: bytes = b"") -> Packet:
        """A UDP datagram; ``ports``: source, destination."""
        return cls(cls._ip(ends, IpProto.UDP, {UDP_SRC: ports[0], UDP_DST: ports[1]}), payload=payload)

    @classmethod
    def sctp(cls, ends: Ends, ports: tuple[int, int], payload: bytes = b"") -> Packet:
        """An SCTP packet; ``ports``: source, destination."""
        return cls(cls._ip(ends, IpProto.SCTP, {SCTP_SRC: ports[0], SCTP_DST: ports[1]}), payload=payload)

    @classmethod
    def echo(cls, ends: Ends, identifier: int, payload: bytes = b"") -> Packet:
        """An ICMP or ICMPv6 echo request."""
        form = icmp_form(ends.source.version)
        headers = cls._ip(ends, icmp_protocol(ends.source.version), {form.type: form.echo, form.code: 0})
        return cls(headers, icmp_id=identifier, payload=payload)

    @classmethod
    def unreachable(cls, ends: Ends, about: Packet) -> Packet:
        """An ICMP error "port unreachable" about a packet that its sender received."""
        form = icmp_form(ends.source.version)
        l4 = {form.type: form.unreachable, form.code: form.port_unreachable}
        return cls(cls._ip(ends, icmp_protocol(ends.source.version), l4), quoted=about)

    @classmethod
    def arp_request(cls, mac: int, sender: IPv4Address, target: IPv4Address) -> Packet:
        """Who has ``target``? Broadcast (RFC 826)."""
        return cls(
            MappingProxyType(
                {
                    ETH_SRC: mac,
                    ETH_DST: ETH_DST.all_ones,
                    ETH_TYPE: EthType.ARP,
                    ARP_OP: 1,
                    ARP_SPA: int(sender),
                    ARP_TPA: int(target),
                    ARP_SHA: mac,
                    ARP_THA: 0,
                }
            )
        )


def icmp_form(version: int) -> IcmpForm:
    """For IPv``version`` (4 or 6)."""
    return ICMPV4_FORM if version == 4 else ICMPV6_FORM


def icmp_protocol(version: int) -> int:
    """The IP protocol of ICMP for IPv``version`` (4 or 6)."""
    return IpProto.ICMP if version == 4 else IpProto.ICMPV6


def port_fields(protocol: int) -> tuple[Field, Field] | None:
    """Source and destination port of a protocol that has ports, otherwise None."""
    return _PORTS.get(protocol)


def address_fields(eth_type: int) -> tuple[Field, Field]:
    """Source and destination address of an IP packet."""
    return (IPV4_SRC, IPV4_DST) if eth_type == EthType.IPV4 else (IPV6_SRC, IPV6_DST)
