"""The ends of connections by name: pods, Services, hosts outside, nodes; and the addresses of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address

SERVICE_PREFIX: Final = "service "
HOST_PREFIX: Final = "host "
NODE_PREFIX: Final = "node "


def addresses_of(state: ClusterState, name: str) -> tuple[Address, ...]:
    """The addresses of a pod, a Service (its VIPs), a host or a node. Raises KeyError for what is not in ``state``."""
    if name.startswith(SERVICE_PREFIX):
        return state.service_by_id[name.removeprefix(SERVICE_PREFIX)].vips
    if name.startswith(HOST_PREFIX):
        return state.external_host_by_name[name.removeprefix(HOST_PREFIX)].addresses
    if name.startswith(NODE_PREFIX):
        return state.node_by_name[name.removeprefix(NODE_PREFIX)].addresses
    return state.endpoint_by_id[name].addresses
