"""A pod's link: a veth pair from its network namespace to the node's, made, looked at and removed. Never in a process patched by eventlet."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lace_sdn.node import NodeError
from lace_sdn.node.namespaces import inside, netlink
from lace_sdn.node.naming import LENGTH, PREFIX
from lace_sdn.node.pod_link import PodLink, as_host, configure, has_ipv6, prepare, set_device_options

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Link:
    """``namespace``: path of the pod's network namespace; ``peer``: the interface in the node."""

    namespace: str
    peer: str
    inside: PodLink


def plug(link: Link) -> None:
    """Make the link, or complete what was begun. Raises NodeError.

    It belongs to the pod's namespace as a whole: when that ends, the kernel removes it.
    """
    with _concerning(link):
        with inside(link.namespace):
            prepare(link.inside.addresses)
        if not _is_whole(link):
            unplug(link.peer)
            _make(link)
        with IPRoute() as route:
            _quiet(route, link.peer, link.inside.mtu)
        with netlink(link.namespace) as handle, inside(link.namespace):
            configure(handle, link.inside)


def unplug(peer: str) -> bool:
    """Remove a link by its end in the node; False if it was not there. Raises NodeError."""
    try:
        with IPRoute() as route:
            found = route.link_lookup(ifname=peer)
            for index in found:
                _tolerating(errno.ENODEV, route.link, "del", index=index)
    except (NetlinkError, OSError) as error:
        raise NodeError(f"interface {peer} cannot be removed: {_why(error)}") from None
    return bool(found)


def faults(link: Link) -> list[str]:
    """What of a link is not as it was made, in words; nothing if all is well."""
    try:
        with IPRoute() as route:
            found = route.link_lookup(ifname=link.peer)
            if not found:
                return [f"interface {link.peer} is missing on the node"]
            (outside,) = route.get_links(found[0])
            problems = [] if outside["state"] == "up" else [f"interface {link.peer} is down"]
        with netlink(link.namespace) as handle:
            return problems + _faults_inside(handle, link.inside)
    except FileNotFoundError:
        return [f"network namespace {link.namespace} is missing"]
    except (NetlinkError, OSError) as error:
        return [f"{link.inside.device} cannot be looked at: {_why(error)}"]


def links() -> list[str]:
    """The names of all interfaces of pods in the node, whoever's they are."""
    with IPRoute() as route:
        names = [str(message.get("ifname")) for message in route.get_links(kind="veth")]
    return sorted(name for name in names if name.startswith(PREFIX) and len(name) == len(PREFIX) + LENGTH)


def is_there(namespace: str) -> bool:
    """Whether a pod's namespace exists: a file that nothing is mounted on any more is none."""
    try:
        with inside(namespace):
            return True
    except OSError:
        return False


def _is_whole(link: Link) -> bool:
    """Whether both ends are there, and each other's."""
    with IPRoute() as route:
        outside = route.link_lookup(ifname=link.peer)
        if not outside:
            return False
        (message,) = route.get_links(outside[0])
    with netlink(link.namespace) as handle:
        found = handle.link_lookup(ifname=link.inside.device)
        return bool(found) and message.get("link") == found[0]


def _make(link: Link) -> None:
    peer = {"ifname": link.inside.device, "net_ns_fd": link.namespace, "address": link.inside.mac}
    with IPRoute() as route:
        route.link("add", ifname=link.peer, kind="veth", mtu=link.inside.mtu, peer=peer)


def _quiet(route: IPRoute, peer: str, mtu: int) -> None:
    """Up, and with no IPv6 of the kernel's own on a port of the switch."""
    set_device_options(peer, with_ipv6=False)
    route.link("set", index=route.link_lookup(ifname=peer)[0], mtu=mtu, state="up")


def _faults_inside(route: IPRoute, link: PodLink) -> list[str]:
    found = route.link_lookup(ifname=link.device)
    if not found:
        return [f"interface {link.device} is missing in the pod"]
    (message,) = route.get_links(found[0])
    problems = []
    if message.get("address") != link.mac:
        problems.append(f"{link.device} has the MAC {message.get('address')}, expected {link.mac}")
    if message["state"] != "up":
        problems.append(f"{link.device} is down")
    if message.get("mtu") != link.mtu:
        problems.append(f"{link.device} has the MTU {message.get('mtu')}, expected {link.mtu}")
    present = {f"{each.get('address')}/{each['prefixlen']}" for each in route.get_addr(index=found[0])}
    missing = {as_host(address) for address in link.addresses} - present
    if missing:
        problems.append(f"{link.device} lacks {', '.join(sorted(missing))}")
    families = {4: 2, 6: 10}
    for version, family in families.items():
        if not any(has_ipv6([address]) == (version == 6) for address in link.addresses):
            continue
        routes = route.get_routes(family=family, oif=found[0])
        if not any(each["dst_len"] == 0 and each.get("gateway") for each in routes):
            problems.append(f"{link.device} has no default route of IPv{version}")
    return problems


@contextlib.contextmanager
def _concerning(link: Link) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, OSError) as error:
        gone = "" if Path(link.namespace).exists() else "; the namespace does not exist"
        raise NodeError(
            f"interface {link.inside.device} in {link.namespace} (node: {link.peer}): {_why(error)}{gone}"
        ) from None


def _tolerating(code: int, call: object, *arguments: object, **options: object) -> None:
    try:
        call(*arguments, **options)  # type: ignore[operator]
    except NetlinkError as error:
        if error.code != code:
            raise


def _why(error: Exception) -> str:
    if isinstance(error, NetlinkError):
        return str(error.args[1]) if len(error.args) > 1 and error.args[1] else os.strerror(error.code)
    return str(error)
