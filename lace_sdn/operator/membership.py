"""Which endpoints of a Service are in its network where their addresses do not say it: nodes know only their own pods.

Pure. What is said of an address and a pod's uid never changes, so an old list is safe, and a missing entry leaves the endpoint out.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lace_sdn.model.objects import Address
    from lace_sdn.operator.facts import EndpointFact, NetworkFact

Data = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """An endpoint of an EndpointSlice that is a pod's (namespace/name)."""

    address: str
    pod: str
    uid: str


def entries(data: Mapping[str, Any]) -> frozenset[Entry]:
    """Those of a slice that name their pod; only the first address of an endpoint counts (EndpointSlice v1)."""
    namespace = data["metadata"].get("namespace", "")
    found = set()
    for each in data.get("endpoints") or ():
        reference = each.get("targetRef") or {}
        if reference.get("kind") == "Pod" and reference.get("uid") and each.get("addresses"):
            try:
                address = str(ip_address(each["addresses"][0]))
            except ValueError:
                continue  # of type FQDN
            pod = f"{reference.get('namespace') or namespace}/{reference.get('name', '')}"
            found.add(Entry(address, pod, reference["uid"]))
    return frozenset(found)


def membership(
    network: NetworkFact,
    found: Iterable[Entry],
    endpoint_of: Callable[[str], EndpointFact | None],
    is_shared: Callable[[NetworkFact, Address], bool],
) -> Data | None:
    """The ``spec`` of the Service's ServiceMembership; None if it needs none.

    ``endpoint_of``: the endpoint of a pod; ``is_shared``: whether another pod network may have the address too.
    """
    members, foreign = [], []
    for entry in sorted(found):
        its = endpoint_of(entry.pod)
        if its is None or its.pod_uid != entry.uid:
            continue
        address = ip_address(entry.address)
        if its.network != network.name:
            foreign.append(
                {"address": entry.address, "pod": entry.pod, "podUID": entry.uid, "network": its.network}
            )
        elif address in its.addresses and is_shared(network, address):
            members.append({"address": entry.address, "podUID": entry.uid})
    spec: Data = {}
    if members:
        spec["members"] = members
    if foreign:
        spec["foreign"] = foreign
    return spec or None
