"""Numbers and addresses that the flows, the switch and the pods must agree on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from lace_sdn.openflow.match import parse_mac

SECOND_ZONE: Final = 0x8000
"""Added to a pod's ofport: the zone of its connections to itself through a VIP, in its part as the server."""

HAIRPIN_SOURCE: Final[dict[int, IPv4Address | IPv6Address]] = {
    4: IPv4Address("169.254.0.253"),
    6: IPv6Address("64:ff9b:1::a9fe:fd"),
}
"""By IP version: whom a pod sees that calls itself through a VIP. RFC 8215: 64:ff9b:1::/48 is for local translation."""
TWIN_SOURCE: Final[dict[int, IPv4Address | IPv6Address]] = {
    4: IPv4Address("169.254.0.252"),
    6: IPv6Address("64:ff9b:1::a9fe:fc"),
}
"""By IP version: whom an endpoint sees when its client, of another network, has the endpoint's own address."""

REJECTED_OCTETS: Final = 1280
"""Of a refused packet, to the controller: what an ICMPv6 error may quote (RFC 4443 section 2.4 c)."""

LAST_POD_PORT: Final = 0x6FFF
"""Pods' ofports are 1..28671: an ofport is also the conntrack zone of its pod, zones above have other uses."""
TUNNEL_PORT: Final = 0x7000

GATEWAY_MAC: Final = "0a:00:00:00:00:01"
"""The MAC of the gateway that every pod of every network sees."""
GATEWAY_ETHER: Final = parse_mac(GATEWAY_MAC)
GATEWAY_IPV4: Final = IPv4Address("169.254.0.1")
GATEWAY_IPV6: Final = IPv6Address("fe80::1")

TUNNEL_SOURCE: Final = parse_mac("0e:00:00:00:00:00")
"""Inner source MAC of a routed frame in a tunnel: the low 24 bits are the key of the source network."""
TUNNEL_SOURCE_MASK: Final = parse_mac("ff:ff:ff:00:00:00")
TUNNEL_DESTINATION: Final = parse_mac("0a:00:00:00:00:00")
"""Inner destination MAC of a routed frame: the low 32 bits are the number of a Service's port, 0 for none."""
TUNNEL_DESTINATION_MASK: Final = parse_mac("ff:ff:00:00:00:00")

TUNNEL_OVERHEAD_IPV4: Final = 50
"""Octets: inner Ethernet 14, outer IPv4 20, UDP 8, Geneve 8 (RFC 8926). An IPv6 underlay takes 20 more."""


class Priority:
    """Higher wins; LPM rows add the prefix length to their band (at most 128)."""

    OWN_PREFIX = 400
    CLASS_PREFIX = 200
    ROUTE = 100
    OWN_CONNECTION = 310
    OWN_ADDRESS = 300
    DROP = 210
    SHARED_REPLIES = 195
    DATAGRAM = 195
    ESTABLISHED = 190
    TRANSLATED = 180
    NEW = 170
    SELF = 300
    NORMAL = 200
    ALL_SERVICES = 190
    NAMESPACE_SERVICES = 180
    LOW = 100
    DEFAULT = 0
