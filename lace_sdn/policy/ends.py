"""Who may be at an end of a connection, and by which name: pods, Services, hosts outside the cluster, nodes themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address

SERVICE_PREFIX: Final = "service "
"""``service NAMESPACE/NAME``: the VIPs of a Service; only as a destination."""
HOST_PREFIX: Final = "host "
"""``host NAME``: a host outside the cluster."""
NODE_PREFIX: Final = "node "
"""``node NAME``: processes of a Node itself, at its addresses; a NodePort is a port of these."""


def addresses_of(state: ClusterState, name: str) -> tuple[Address, ...]:
    """The addresses of an end. Raises KeyError for one that is not in ``state``."""
    if name.startswith(SERVICE_PREFIX):
        return state.service_by_id[name.removeprefix(SERVICE_PREFIX)].vips
    if name.startswith(HOST_PREFIX):
        return state.external_host_by_name[name.removeprefix(HOST_PREFIX)].addresses
    if name.startswith(NODE_PREFIX):
        return state.node_by_name[name.removeprefix(NODE_PREFIX)].addresses
    return state.endpoint_by_id[name].addresses


def is_outside(name: str) -> bool:
    """Whether it has an address of the underlay: a host or a node."""
    return name.startswith((HOST_PREFIX, NODE_PREFIX))


def entry_node(state: ClusterState, name: str) -> str:
    """The node whose bridge the packets of a pod, a host or a node meet first. Raises KeyError as ``addresses_of``."""
    if name.startswith(NODE_PREFIX):
        return name.removeprefix(NODE_PREFIX)
    if name.startswith(HOST_PREFIX):
        gateway = state.external_host_by_name[name.removeprefix(HOST_PREFIX)].gateway
        return gateway or state.nodes[0].name
    return state.endpoint_by_id[name].node


def underlay_names(state: ClusterState) -> Mapping[Address, str]:
    """The end at each address of the underlay that is somebody's."""
    hosts = {address: HOST_PREFIX + host.name for host in state.external_hosts for address in host.addresses}
    return hosts | {address: NODE_PREFIX + node.name for node in state.nodes for address in node.addresses}


def name_of(address: Address, port: int) -> str:
    """What answers at an address that is no end known here."""
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port}"
