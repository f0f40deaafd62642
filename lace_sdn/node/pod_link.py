"""The end of a pod's link inside the pod: addresses of one host each, and routes through the gateway, which is nobody's address.

The calling thread is in the pod's network namespace where /proc/sys/net is written.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pyroute2.netlink.exceptions import NetlinkError

from lace_sdn.node.checksum import disable_transmit_checksum
from lace_sdn.pipeline.constants import GATEWAY_IPV4, GATEWAY_IPV6, GATEWAY_MAC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyroute2 import IPRoute

GATEWAYS: Final = {socket.AF_INET: str(GATEWAY_IPV4), socket.AF_INET6: str(GATEWAY_IPV6)}
IPV6_OPTIONS: Final = Path("/proc/sys/net/ipv6/conf")

_ONLINK: Final = 4  # linux/rtnetlink.h: RTNH_F_ONLINK
_NODAD: Final = 2  # linux/if_addr.h: IFA_F_NODAD
_PERMANENT: Final = 0x80  # linux/neighbour.h: NUD_PERMANENT


def prepare(addresses: Iterable[str]) -> None:
    """Set, before the link is there, what it takes over when it appears: no waiting for duplicates, no router but ours."""
    set_device_options("default", with_ipv6=has_ipv6(addresses))


@dataclass(frozen=True, slots=True)
class PodLink:
    """``addresses`` without length; ``mtu``: octets. ``is_userspace``: the datapath, which needs checksums made by the pod."""

    device: str
    mac: str
    addresses: tuple[str, ...]
    mtu: int
    is_userspace: bool


def configure(route: IPRoute, link: PodLink) -> None:
    """Changes nothing where all is as it should be. ``route``: netlink of the pod's namespace. Raises NetlinkError or OSError.

    The gateway is a permanent neighbour: a controller may be dead.
    """
    device, mac, addresses, mtu = link.device, link.mac, link.addresses, link.mtu
    if link.is_userspace:
        disable_transmit_checksum(device)
    index = index_of(route, device)
    route.link("set", index=index_of(route, "lo"), state="up")
    route.link("set", index=index, mtu=mtu, state="up")
    ensure_mac(route, index, mac)
    if has_ipv6(addresses):
        _ensure_link_local(route, index)
    set_addresses(route, index, [as_host(address) for address in addresses])
    for family in sorted({family_of(address) for address in addresses}):
        gateway = GATEWAYS[family]
        route.neigh(
            "replace", dst=gateway, lladdr=GATEWAY_MAC, ifindex=index, family=family, state=_PERMANENT
        )
        everything = "0.0.0.0/0" if family == socket.AF_INET else "::/0"
        route.route("replace", dst=everything, gateway=gateway, oif=index, family=family, flags=_ONLINK)


def set_device_options(device: str, *, with_ipv6: bool) -> None:
    """/proc/sys/net is that of the thread's namespace. Raises OSError if there should be IPv6 and the kernel has none."""
    options = {"accept_dad": 0, "dad_transmits": 0, "accept_ra": 0, "router_solicitations": 0}
    folder = IPV6_OPTIONS / device
    if not folder.exists():
        if with_ipv6:
            raise OSError("this kernel has IPv6 switched off, and there are IPv6 addresses among the objects")
        return
    for name, value in {**options, "disable_ipv6": 0 if with_ipv6 else 1}.items():
        (folder / name).write_text(str(value))


def set_addresses(route: IPRoute, index: int, addresses: Sequence[str]) -> None:
    """Exactly these, each with its prefix length, beside the kernel's own link-local ones."""
    present = {f"{message.get('address')}/{message['prefixlen']}" for message in route.get_addr(index=index)}
    for address in sorted(present - set(addresses)):
        if not address.startswith("fe80:"):
            host, _, length = address.partition("/")
            route.addr("del", index=index, address=host, prefixlen=int(length))
    for address in [address for address in addresses if address not in present]:
        host, _, length = address.partition("/")
        extra = {"flags": _NODAD} if family_of(host) == socket.AF_INET6 else {}
        route.addr("add", index=index, address=host, prefixlen=int(length), **extra)


def ensure_mac(route: IPRoute, index: int, mac: str) -> None:
    """Setting the same again would make the kernel forget neighbours."""
    (link,) = route.get_links(index)
    if link.get("address") != mac:
        route.link("set", index=index, address=mac)


def index_of(route: IPRoute, device: str) -> int:
    """Raises NetlinkError (ENODEV) if there is no such link."""
    found = route.link_lookup(ifname=device)
    if not found:
        raise NetlinkError(19, f"no link {device}")
    return int(found[0])


def has_ipv6(addresses: Iterable[str]) -> bool:
    """Whether one of them, with or without a length, is IPv6."""
    return any(ip_interface(address).version == 6 for address in addresses)


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ip_interface(address).version == 6 else socket.AF_INET


def as_host(address: str) -> str:
    """With the length of a single address."""
    found = ip_address(address)
    return f"{found}/{found.max_prefixlen}"


def _ensure_link_local(route: IPRoute, index: int) -> None:
    """The kernel gives a link its own address, fe80::..., only when it comes up."""
    present = [str(message.get("address")) for message in route.get_addr(index=index, family=socket.AF_INET6)]
    if not any(address.startswith("fe80:") for address in present):
        route.link("set", index=index, state="down")
        route.link("set", index=index, state="up")
