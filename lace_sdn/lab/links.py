"""Links, addresses, routes and neighbours of the underlay, the nodes and the pods, by netlink."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from pyroute2.netlink.exceptions import NetlinkError

from lace_sdn.lab import LabError, netns
from lace_sdn.node.checksum import disable_transmit_checksum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyroute2 import IPRoute

UNDERLAY_MTU = 1500
TUNNEL_OVERHEAD = 50
"""Geneve without options over IPv4: 20 IPv4, 8 UDP, 8 Geneve, 14 inner Ethernet (RFC 8926)."""
POD_MTU = UNDERLAY_MTU - TUNNEL_OVERHEAD
GATEWAY_MAC = "0a:00:00:00:00:01"
GATEWAYS = {socket.AF_INET: "169.254.127.1", socket.AF_INET6: "fe80::1"}
POD_DEVICE = "eth0"
NODE_UPLINK = "phy0"
"""The node's end of its cable to the underlay, a port of its br-phy."""

_BRIDGE = "underlay"
_ONLINK = 4  # linux/rtnetlink.h: RTNH_F_ONLINK
_NODAD = 2  # linux/if_addr.h: IFA_F_NODAD
_PERMANENT = 0x80  # linux/neighbour.h: NUD_PERMANENT


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair: ``device`` with its ``mac`` in ``namespace``, its other end ``peer`` in ``peer_namespace``."""

    namespace: str
    device: str
    peer_namespace: str
    peer: str
    mtu: int
    mac: str | None = None


def ensure_underlay(namespace: str) -> None:
    """A namespace with one Linux bridge, the wire between the nodes."""
    netns.ensure(namespace)
    with netns.netlink(namespace) as route:
        if not route.link_lookup(ifname=_BRIDGE):
            route.link("add", ifname=_BRIDGE, kind="bridge", br_stp_state=0, br_mcast_snooping=0)
        route.link("set", index=_index(route, _BRIDGE), mtu=UNDERLAY_MTU, state="up")


def ensure_uplink(namespace: str, underlay: str, port: str) -> None:
    """A cable from a node to the underlay's bridge; ``port`` is its name there."""
    with netns.netlink(underlay) as route:
        whole = bool(route.link_lookup(ifname=port))
    with netns.netlink(namespace) as route:
        whole = whole and bool(route.link_lookup(ifname=NODE_UPLINK))
    if not whole:
        unplug(underlay, port)
        plug(Cable(namespace, NODE_UPLINK, underlay, port, UNDERLAY_MTU))
    # A killed command may have left a cable whose ends are down.
    with netns.netlink(underlay) as route:
        bridge = _index(route, _BRIDGE)
        route.link("set", index=_index(route, port), master=bridge, mtu=UNDERLAY_MTU, state="up")
    with netns.netlink(namespace) as route:
        route.link("set", index=_index(route, NODE_UPLINK), mtu=UNDERLAY_MTU, state="up")


def plug(cable: Cable) -> None:
    """Lay a new cable and put both ends up. Raises NetlinkError if one of the names is taken."""
    peer = {"ifname": cable.device, "net_ns_fd": cable.namespace}
    if cable.mac:
        peer["address"] = cable.mac
    with netns.netlink(cable.peer_namespace) as route:
        route.link("add", ifname=cable.peer, kind="veth", peer=peer)
        route.link("set", index=_index(route, cable.peer), mtu=cable.mtu, state="up")
    with netns.netlink(cable.namespace) as route:
        route.link("set", index=_index(route, cable.device), mtu=cable.mtu, state="up")


def unplug(namespace: str, device: str) -> None:
    """Remove a cable by one of its ends, if it is there."""
    if netns.exists(namespace):
        with netns.netlink(namespace) as route:
            for index in route.link_lookup(ifname=device):
                route.link("del", index=index)


def devices(namespace: str) -> frozenset[str]:
    """The names of all links of a namespace; none if there is no such namespace."""
    if not netns.exists(namespace):
        return frozenset()
    with netns.netlink(namespace) as route:
        return frozenset(link.get("ifname") for link in route.get_links())


def mac(namespace: str, device: str) -> str:
    """The address of a link. Raises NetlinkError or FileNotFoundError if it is not there."""
    with netns.netlink(namespace) as route:
        (link,) = route.get_links(_index(route, device))
        return str(link.get("address"))


def put_up(namespace: str, device: str, mtu: int) -> None:
    """Put a link up that somebody may have put down. Raises NetlinkError if it is not there."""
    with netns.netlink(namespace) as route:
        route.link("set", index=_index(route, device), mtu=mtu, state="up")


def quiet(namespace: str) -> None:
    """Keep a node's kernel out of what its switch forwards: no IPv6 of its own on ports, ARP answers for their own address only.

    The kernel still sees every frame of a port that a switch in userspace reads.
    """
    with netns.inside(namespace):
        _set_device_options("default", with_ipv6=False)
        Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")


def configure_node(namespace: str, device: str, addresses: Sequence[str]) -> None:
    """Give ``device`` exactly these addresses (with prefix length): Open vSwitch takes its tunnels' routes from them."""
    with_ipv6 = any(":" in address for address in addresses)
    with netns.inside(namespace):
        _set_device_options(device, with_ipv6=with_ipv6)
    with netns.netlink(namespace) as route:
        index = _index(route, device)
        _up(route, "lo")
        route.link("set", index=index, mtu=UNDERLAY_MTU, state="up")
        _set_addresses(route, index, addresses)


def prepare_pod(namespace: str, addresses: Sequence[str]) -> None:
    """Set, before its link is there, what a link takes over when it appears: no waiting for duplicates, no router but ours."""
    with netns.inside(namespace):
        _set_device_options(
            "default", with_ipv6=any(_family(address) == socket.AF_INET6 for address in addresses)
        )


def configure_pod(namespace: str, mac: str, addresses: Sequence[str]) -> None:
    """Addresses of one host each, routes through the gateway, which is a permanent neighbour (a controller may be dead).

    Changes nothing where they are. Raises NetlinkError or OSError if the pod has no link.
    """
    with netns.inside(namespace):
        disable_transmit_checksum(POD_DEVICE)
    with netns.netlink(namespace) as route:
        index = _index(route, POD_DEVICE)
        _up(route, "lo")
        route.link("set", index=index, mtu=POD_MTU, state="up")
        (link,) = route.get_links(index)
        if link.get("address") != mac:  # setting the same would make the kernel forget neighbours
            route.link("set", index=index, address=mac)
        if any(_family(address) == socket.AF_INET6 for address in addresses):
            _ensure_link_local(route, index)
        _set_addresses(route, index, [_host(address) for address in addresses])
        for family in sorted({_family(address) for address in addresses}):
            gateway = GATEWAYS[family]
            route.neigh(
                "replace", dst=gateway, lladdr=GATEWAY_MAC, ifindex=index, family=family, state=_PERMANENT
            )
            everything = "0.0.0.0/0" if family == socket.AF_INET else "::/0"
            route.route("replace", dst=everything, gateway=gateway, oif=index, family=family, flags=_ONLINK)


def _set_device_options(device: str, *, with_ipv6: bool) -> None:
    """/proc/sys/net is that of the thread's namespace."""
    options = {"accept_dad": 0, "dad_transmits": 0, "accept_ra": 0, "router_solicitations": 0}
    folder = Path("/proc/sys/net/ipv6/conf") / device
    if not folder.exists():
        if with_ipv6:
            raise LabError(
                "this kernel has IPv6 switched off, and there are IPv6 addresses among the objects"
            )
        return
    for name, value in {**options, "disable_ipv6": 0 if with_ipv6 else 1}.items():
        (folder / name).write_text(str(value))


def _set_addresses(route: IPRoute, index: int, addresses: Sequence[str]) -> None:
    """Exactly these, each with its prefix length, beside the kernel's own link-local ones."""
    present = {f"{message.get('address')}/{message['prefixlen']}" for message in route.get_addr(index=index)}
    for address in sorted(present - set(addresses)):
        if not address.startswith("fe80:"):
            host, _, length = address.partition("/")
            route.addr("del", index=index, address=host, prefixlen=int(length))
    for address in [address for address in addresses if address not in present]:
        host, _, length = address.partition("/")
        extra = {"flags": _NODAD} if _family(host) == socket.AF_INET6 else {}
        route.addr("add", index=index, address=host, prefixlen=int(length), **extra)


def _ensure_link_local(route: IPRoute, index: int) -> None:
    """The kernel gives a link its own address, fe80::..., only when it comes up."""
    present = [str(message.get("address")) for message in route.get_addr(index=index, family=socket.AF_INET6)]
    if not any(address.startswith("fe80:") for address in present):
        route.link("set", index=index, state="down")
        route.link("set", index=index, state="up")


def _up(route: IPRoute, device: str) -> None:
    route.link("set", index=_index(route, device), state="up")


def _index(route: IPRoute, device: str) -> int:
    found = route.link_lookup(ifname=device)
    if not found:
        raise NetlinkError(19, f"no link {device}")  # ENODEV
    return int(found[0])


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6


def _host(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"
