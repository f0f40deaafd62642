"""Numbers and addresses that the flows, the switch and the pods must agree on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from lace_sdn.openflow.match import parse_mac

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
"""Inner destination MAC of a routed frame: the low 32 bits are a service id, 0 for none."""

TUNNEL_OVERHEAD_IPV4: Final = 50
"""Octets: inner Ethernet 14, outer IPv4 20, UDP 8, Geneve 8 (RFC 8926). An IPv6 underlay takes 20 more."""


class Priority:
    """Higher wins; LPM rows add the prefix length to their band (at most 128)."""

    OWN_PREFIX = 400
    CLASS_PREFIX = 200
    ROUTE = 100
    DROP = 210
    ESTABLISHED = 190
    NEW = 170
    SELF = 300
    NORMAL = 200
    LOW = 100
    DEFAULT = 0
