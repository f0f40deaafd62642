"""Numbers and addresses that the flows, the switch and the pods must agree on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from lace_sdn.openflow.match import parse_mac

SECOND_ZONE: Final = 0x8000
"""Added to a pod's ofport: the zone of its connections to itself through a VIP, in its part as the server."""

HAIRPIN_SOURCE: Final[dict[int, IPv4Address | IPv6Address]] = {
    4: IPv4Address("169.254.127.253"),
    6: IPv6Address("64:ff9b:1::a9fe:7ffd"),
}
"""By IP version: whom a pod sees that calls itself through a VIP. RFC 8215: 64:ff9b:1::/48 is for local translation."""
TWIN_SOURCE: Final[dict[int, IPv4Address | IPv6Address]] = {
    4: IPv4Address("169.254.127.252"),
    6: IPv6Address("64:ff9b:1::a9fe:7ffc"),
}
"""By IP version: whom an endpoint sees when its client, of another network, has the endpoint's own address."""

DEFAULT_MTU: Final = 1450
"""Octets of the largest IP packet of a pod where the underlay carries 1500 and is IPv4."""

REJECTED_OCTETS: Final = 1280
"""Of a packet that is refused or too large, to the controller: what an ICMPv6 error may quote (RFC 4443 section 2.4 c)."""

LAST_POD_PORT: Final = 0x6FFF
"""Pods' ofports are 1..28671: an ofport is also the conntrack zone of its pod, zones above have other uses."""
TUNNEL_PORT: Final = 0x7000
GATEWAY_PORT: Final = 0x7001
"""The way to the node's own network stack and by it to the world; also the zone of connections that come in by it."""
GATEWAY_INTERFACE: Final = "lace-gw0"

GATEWAY_MAC: Final = "0a:00:00:00:00:01"
"""The MAC of the gateway that every pod of every network sees."""
GATEWAY_ETHER: Final = parse_mac(GATEWAY_MAC)
GATEWAY_IPV4: Final = IPv4Address("169.254.127.1")
GATEWAY_IPV6: Final = IPv6Address("fe80::1")

HOST_KEY: Final = 1 << 24
"""In place of a network key: the node itself, as far as it may do what no policy says. No network has it (24 bits)."""
HOST_MAC: Final = "0a:00:00:00:00:02"
"""The MAC of ``GATEWAY_INTERFACE``, as the bridge sees the node's own network stack."""
HOST_ADDRESS: Final[dict[int, IPv4Address | IPv6Address]] = {
    4: IPv4Address("169.254.127.2"),
    6: IPv6Address("64:ff9b:1::a9fe:7f02"),
}
"""By IP version: of ``GATEWAY_INTERFACE``; nobody in a network can reach it."""
NODE_PORT_ADDRESS: Final[dict[int, IPv4Address | IPv6Address]] = {
    4: IPv4Address("169.254.127.3"),
    6: IPv6Address("64:ff9b:1::a9fe:7f03"),
}
"""By IP version: what the node's stack puts in place of its own address for the bridge, when a NodePort is called."""
OUTWARD_SOURCES: Final[dict[int, IPv4Network | IPv6Network]] = {
    4: IPv4Network("169.254.0.0/17"),
    6: IPv6Network("64:ff9b:1::a9fe:0/113"),
}
"""By IP version: a pod is seen by its node's stack as the address here whose low 15 bits are its ofport."""
PSEUDO_DESTINATION: Final[dict[int, IPv4Network | IPv6Network]] = {
    4: IPv4Network("240.0.0.0/4"),
    6: IPv6Network("64:ff9b:1:0:f::/96"),
}
"""By IP version: addresses that stand for a node inside a bridge, never outside of it. RFC 1112 section 4: nobody has them."""

TUNNELS_UDP_PORT: Final = 6081
"""Of Geneve (RFC 8926 section 3.3). No pod may speak to it: nodes take each other's tunnels by their address alone."""
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
    OUTWARD = 320
    OWN_CONNECTION = 310
    OWN_ADDRESS = 300
    NODE_PORT_OF_PODS = 240
    NODE_PORT_OF_OWN = 230
    NODE_PORT = 220
    OF_OUTSIDE = 210
    DROP = 210
    RELATED = 205
    SHARED_REPLIES = 195
    DATAGRAM = 195
    RENEWED = 197
    ESTABLISHED = 190
    TRANSLATED = 180
    NEW = 170
    SELF = 300
    NORMAL = 200
    ALL_SERVICES = 190
    NAMESPACE_SERVICES = 180
    LOW = 100
    DEFAULT = 0
