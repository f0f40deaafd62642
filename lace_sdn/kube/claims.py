"""Whether an address that a node has just claimed may be used: asked of the API server after the NetworkEndpoint is written.

What a node has seen may be old: the operator may just have taken the block back, or let the Network go. The operator says so first (it marks the Allocation;
a Network has its time of deletion) and then looks for endpoints; a node writes its endpoint first and then looks here. So at least one of the two sees the other.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.client import ApiError
from lace_sdn.kube.api.resources import ALLOCATIONS, GROUP, NETWORKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.kube.api.client import Api

FREEING: Final = f"{GROUP}/freeing"
"""Annotation of an Allocation that is about to be removed: no address of it may be given any more."""


def why_not(api: Api, endpoint: Mapping[str, Any], *, is_new: bool) -> str:
    """Why the addresses of a NetworkEndpoint may not be used, in words; "" if they may.

    ``is_new``: it was just written, for a pod that is to be attached. Raises ApiError and ApiUnreachable.
    """
    spec = endpoint["spec"]
    network, node = spec["network"], spec["node"]
    try:
        is_deleted = bool(api.get(NETWORKS, network)["metadata"].get("deletionTimestamp"))
    except ApiError as error:
        if not error.is_not_found:
            raise
        return f'Network "{network}" is gone'
    if is_new and is_deleted:
        return f'Network "{network}" is being deleted'
    found, _ = api.list(ALLOCATIONS, field_selector=f"spec.network={network},spec.node={node}")
    blocks = [
        ip_network(each["spec"][name])
        for each in found
        for name in ("ipv4Block", "ipv6Block")
        if name in each["spec"] and not _is_leaving(each)
    ]
    for text in spec["addresses"]:
        address = ip_address(text)
        if not any(address in block for block in blocks):
            return f'the block of {address} in Network "{network}" is taken back from Node "{node}"'
    return ""


def _is_leaving(allocation: Mapping[str, Any]) -> bool:
    meta = allocation["metadata"]
    return bool(meta.get("deletionTimestamp")) or FREEING in (meta.get("annotations") or {})
