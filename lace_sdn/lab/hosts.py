"""Hosts outside the cluster: a namespace each on the underlay, completed from whatever is there, so that no record is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.lab import datapath, links, netns, processes
from lace_sdn.lab.concern import concerning
from lace_sdn.lab.names import host_interface

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.underlay import Wire


def ensure(lab: Lab, wire: Wire) -> None:
    """Bring every host up, or complete it; the underlay must be there. Raises LabError naming the host."""
    macs, is_userspace = wire.macs, datapath.of(lab).is_userspace
    for host, post in wire.hosts.items():
        namespace = lab.host_namespace(host)
        with concerning(f'host "{host}"'):
            netns.ensure(namespace)
            links.prepare_pod(namespace, post.addresses)
            links.ensure_uplink(
                namespace, lab.underlay_namespace, host_interface(host), links.HOST_DEVICE, post.mac
            )
            links.configure_host(namespace, post, macs, is_userspace=is_userspace)


def leaving(lab: Lab, staying: Iterable[str]) -> list[str]:
    """The namespaces of hosts that are none of ``staying``, also of half-made ones."""
    wanted = set(map(lab.host_namespace, staying))
    return [name for name in netns.names(lab.host_namespace_prefix) if name not in wanted]


def remove(lab: Lab, namespaces: Iterable[str]) -> None:
    """End hosts with what runs inside them, as if they were switched off."""
    for namespace in namespaces:
        with concerning(f'host namespace "{namespace}"'):
            if netns.exists(namespace):
                processes.stop(lab.host_mark(namespace), grace=1.0)
            links.unplug(namespace, links.HOST_DEVICE)
            netns.remove(namespace)


def is_whole(lab: Lab, host: str) -> bool:
    """Whether its namespace and its cable, with both ends, are there."""
    return links.HOST_DEVICE in links.devices(lab.host_namespace(host)) and host_interface(
        host
    ) in links.devices(lab.underlay_namespace)
