"""Links, addresses, routes and neighbours of the underlay, the nodes, the hosts and the pods, by netlink."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyroute2.netlink.exceptions import NetlinkError

from lace_sdn.lab import netns, processes
from lace_sdn.node import pod_link
from lace_sdn.node.checksum import disable_transmit_checksum
from lace_sdn.node.pod_link import (
    IPV6_OPTIONS,
    as_host,
    ensure_mac,
    family_of,
    has_ipv6,
    index_of,
    set_addresses,
    set_device_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyroute2 import IPRoute

    from lace_sdn.lab.underlay import Post

UNDERLAY_MTU = 1500
TUNNEL_OVERHEAD = 50
"""Geneve without options over IPv4: 20 IPv4, 8 UDP, 8 Geneve, 14 inner Ethernet (RFC 8926)."""
POD_MTU = UNDERLAY_MTU - TUNNEL_OVERHEAD
POD_DEVICE = "eth0"
HOST_DEVICE = "eth0"

_BRIDGE = "underlay"
_LAB = 77
"""Routing protocol of the routes that a lab keeps, beside other programs' (ip-route(8): RTPROTO)."""
_SHIELD = """
table inet lace-lab
delete table inet lace-lab
table inet lace-lab {
  chain ports {
    type filter hook prerouting priority raw; policy accept;
    iifname != { DEVICES } counter drop
  }
}
"""
"""One transaction: what the node's kernel receives by other devices goes no further (nft(8); raw is before any tracking)."""
_CLONED = 0x200  # linux/rtnetlink.h: RTM_F_CLONED
_ONLINK = 4  # linux/rtnetlink.h: RTNH_F_ONLINK
_LINK = 253  # linux/rtnetlink.h: RT_SCOPE_LINK
_MAIN = 254  # linux/rtnetlink.h: RT_TABLE_MAIN


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair: ``device`` with its ``mac`` in ``namespace``, its other end ``peer``, a switch's port, in ``peer_namespace``."""

    namespace: str
    device: str
    peer_namespace: str
    peer: str
    mtu: int
    mac: str | None = None


def ensure_underlay(namespace: str) -> None:
    """A namespace with one Linux bridge, the wire between nodes and hosts."""
    netns.ensure(namespace)
    with netns.inside(namespace):
        set_device_options("default", with_ipv6=False)
    with netns.netlink(namespace) as route:
        if not route.link_lookup(ifname=_BRIDGE):
            route.link("add", ifname=_BRIDGE, kind="bridge", br_stp_state=0, br_mcast_snooping=0)
        route.link("set", index=index_of(route, _BRIDGE), mtu=UNDERLAY_MTU, state="up")


def ensure_uplink(namespace: str, underlay: str, port: str, device: str, mac: str | None) -> None:
    """A cable from ``device`` of a node or host to the underlay's bridge; ``port`` is its name there.

    ``mac``: of a device that has addresses. One without is a port of a switch, and the kernel says nothing there.
    """
    with netns.netlink(underlay) as route:
        whole = bool(route.link_lookup(ifname=port))
    with netns.netlink(namespace) as route:
        whole = whole and bool(route.link_lookup(ifname=device))
    if not whole:
        unplug(underlay, port)
        unplug(namespace, device)
        lay(Cable(namespace, device, underlay, port, UNDERLAY_MTU, mac))
    # A killed command may have left a cable whose ends are down.
    with netns.netlink(underlay) as route:
        bridge = index_of(route, _BRIDGE)
        route.link("set", index=index_of(route, port), master=bridge, mtu=UNDERLAY_MTU, state="up")
    if mac is None:
        silence(namespace, device)
    put_up(namespace, device, UNDERLAY_MTU)


def plug(cable: Cable) -> None:
    """Lay a new cable and put both ends up. Raises NetlinkError if one of the names is taken."""
    lay(cable)
    silence(cable.peer_namespace, cable.peer)
    put_up(cable.peer_namespace, cable.peer, cable.mtu)
    put_up(cable.namespace, cable.device, cable.mtu)


def lay(cable: Cable) -> None:
    """A new cable, both ends down. Raises NetlinkError if one of the names is taken."""
    peer = {"ifname": cable.device, "net_ns_fd": cable.namespace}
    if cable.mac:
        peer["address"] = cable.mac
    with netns.netlink(cable.peer_namespace) as route:
        route.link("add", ifname=cable.peer, kind="veth", peer=peer)


def unplug(namespace: str, device: str) -> None:
    """Remove a cable by one of its ends, if it is there."""
    if netns.exists(namespace):
        with netns.netlink(namespace) as route:
            for index in route.link_lookup(ifname=device):
                try:
                    route.link("del", index=index)
                except NetlinkError as error:
                    # The namespace of its other end is ending, and took it away meanwhile.
                    if error.code != errno.ENODEV:
                        raise


def devices(namespace: str) -> frozenset[str]:
    """The names of all links of a namespace; none if there is no such namespace."""
    if not netns.exists(namespace):
        return frozenset()
    with netns.netlink(namespace) as route:
        return frozenset(link.get("ifname") for link in route.get_links())


def number(namespace: str, device: str) -> int:
    """The number of a link, which another of that name does not have. Raises NetlinkError or FileNotFoundError."""
    with netns.netlink(namespace) as route:
        return index_of(route, device)


def mac(namespace: str, device: str) -> str:
    """The address of a link. Raises NetlinkError or FileNotFoundError if it is not there."""
    with netns.netlink(namespace) as route:
        (link,) = route.get_links(index_of(route, device))
        return str(link.get("address"))


def put_up(namespace: str, device: str, mtu: int) -> None:
    """Put a link up that somebody may have put down. Raises NetlinkError if it is not there."""
    with netns.netlink(namespace) as route:
        route.link("set", index=index_of(route, device), mtu=mtu, state="up")


def quiet(namespace: str, own: Sequence[str]) -> None:
    """Keep a node's kernel out of what its switch forwards: it listens on the devices ``own`` only, ARP answers for their addresses.

    The kernel still sees every frame of a port that a switch in userspace reads, before the switch has decided.
    """
    with netns.inside(namespace):
        if IPV6_OPTIONS.exists():
            set_device_options("default", with_ipv6=True)
        Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
    devices = ", ".join(f'"{device}"' for device in ("lo", *own))
    processes.run(netns.command(namespace, "nft", "-f", "-"), input=_SHIELD.replace("DEVICES", devices))


def silence(namespace: str, port: str) -> None:
    """No IPv6 of the kernel's own on a port of a switch."""
    with netns.inside(namespace):
        set_device_options(port, with_ipv6=False)


def configure_node(namespace: str, device: str, post: Post, macs: Mapping[str, str], gateway: str) -> None:
    """Give ``device`` exactly the MAC and addresses of ``post``: the tunnels' routes are taken from them.

    ``macs`` by address: of whomever it may meet there. ``gateway``: the device, if it is there, that leads to the pods.
    """
    with_ipv6 = has_ipv6(post.addresses)
    with netns.inside(namespace):
        set_device_options(device, with_ipv6=with_ipv6)
        if with_ipv6 and (IPV6_OPTIONS / gateway).exists():
            set_device_options(gateway, with_ipv6=True)
    with netns.netlink(namespace) as route:
        index = index_of(route, device)
        _up(route, "lo")
        ensure_mac(route, index, post.mac)
        route.link("set", index=index, mtu=UNDERLAY_MTU, state="up")
        set_addresses(route, index, post.addresses)
        _set_neighbours(route, index, post.neighbours)
        _correct_macs(route, index, macs)


def configure_host(namespace: str, post: Post, macs: Mapping[str, str], *, is_userspace: bool) -> None:
    """Exactly the addresses of ``post``, its neighbours on the wire, and its default routes; ``macs`` as for a node.

    ``is_userspace``: the datapath of whom it talks to, which needs checksums made by the host.
    """
    with netns.inside(namespace):
        if is_userspace:
            disable_transmit_checksum(HOST_DEVICE)
        set_device_options(HOST_DEVICE, with_ipv6=has_ipv6(post.addresses))
    with netns.netlink(namespace) as route:
        index = index_of(route, HOST_DEVICE)
        _up(route, "lo")
        ensure_mac(route, index, post.mac)
        set_addresses(route, index, post.addresses)
        _set_neighbours(route, index, post.neighbours)
        _set_default_routes(route, index, post.gateways)
        _correct_macs(route, index, macs)


def prepare_pod(namespace: str, addresses: Sequence[str]) -> None:
    """Set, before its link is there, what a link takes over when it appears."""
    with netns.inside(namespace):
        pod_link.prepare(addresses)


def configure_pod(namespace: str, mac: str, addresses: Sequence[str], *, is_userspace: bool) -> None:
    """As the CNI plugin does. Raises NetlinkError or OSError if the pod has no link."""
    with netns.netlink(namespace) as route, netns.inside(namespace):
        link = pod_link.PodLink(POD_DEVICE, mac, tuple(addresses), POD_MTU, is_userspace)
        pod_link.configure(route, link)


def _correct_macs(route: IPRoute, index: int, macs: Mapping[str, str]) -> None:
    """An address may have gone over to another place, which the kernel would notice after half a minute only."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in route.get_neighbours(ifindex=index, family=family):
            address, learned = message.get("dst"), message.get("lladdr")
            if learned and macs.get(address, learned) != learned:
                route.neigh("del", dst=address, ifindex=index, family=family)


def _set_neighbours(route: IPRoute, index: int, neighbours: Sequence[str]) -> None:
    """Exactly these addresses by a route of their own each."""
    wanted = {as_host(address) for address in neighbours}
    present = {destination for destination, _ in _kept_routes(route, index) if destination}
    for verb, destinations in (("del", present - wanted), ("replace", wanted - present)):
        for destination in sorted(destinations):
            family = family_of(destination)
            options = {"scope": _LINK} if family == socket.AF_INET else {}
            route.route(verb, dst=destination, oif=index, family=family, proto=_LAB, **options)


def _set_default_routes(route: IPRoute, index: int, gateways: Sequence[str]) -> None:
    present = {gateway for destination, gateway in _kept_routes(route, index) if not destination}
    for gateway in sorted(present - set(gateways)):
        route.route("del", dst="default", gateway=gateway, oif=index, family=family_of(gateway), proto=_LAB)
    for gateway in sorted(set(gateways) - present):
        options = {"oif": index, "family": family_of(gateway), "proto": _LAB, "flags": _ONLINK}
        route.route("replace", dst="default", gateway=gateway, **options)


def _kept_routes(route: IPRoute, index: int) -> list[tuple[str, str]]:
    """(destination, gateway) of the lab's routes by a link; "" for a default route's destination, and for no gateway."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in route.get_routes(family=family, table=_MAIN):
            # What the kernel has learned of a way, as its MTU, is listed as a clone of the route.
            is_clone = bool(message["flags"] & _CLONED)
            if message["proto"] == _LAB and message.get("oif") == index and not is_clone:
                destination = message.get("dst")
                its = f"{destination}/{message['dst_len']}" if destination else ""
                found.append((its, message.get("gateway") or ""))
    return found


def _up(route: IPRoute, device: str) -> None:
    route.link("set", index=index_of(route, device), state="up")
