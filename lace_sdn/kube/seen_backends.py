"""The endpoints of Services as EndpointSlices and the operator say them, wherever one looks from.

A node knows its own pods. Of any other pod it knows the address that a slice says, the prefixes of all Networks, and what the operator
has published where these do not tell its Network (ServiceMembership).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.backends import BackendFinder, Found, Wanted, in_other_network, written
from lace_sdn.kube.lookup import PrefixTable

if TYPE_CHECKING:
    from lace_sdn.kube.manifests import Manifests
    from lace_sdn.kube.problems import Place
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Backend, Endpoint, Network

Data = Mapping[str, Any]
Entry = tuple[str, str]
"""Address (text, canonical) and pod uid of an endpoint."""


@dataclass(frozen=True)
class Membership:
    """What the operator says of one Service: ``foreign`` in words."""

    members: frozenset[Entry] = frozenset()
    foreign: Mapping[Entry, str] = field(default_factory=dict)


Memberships = dict[tuple[str, str], Membership]
"""By namespace and name of the Service."""
_NONE = Membership()


def memberships_of(manifests: Manifests) -> Memberships:
    """All that the operator has published."""
    found = {}
    for manifest in manifests.of_kind("ServiceMembership"):
        spec = manifest.data["spec"]
        found[manifest.identity.namespace, manifest.identity.name] = Membership(
            frozenset((_canonical(each["address"]), each["podUID"]) for each in spec.get("members") or ()),
            {
                (
                    _canonical(each["address"]),
                    each["podUID"],
                ): f'Pod "{each["pod"]}" in Network "{each["network"]}"'
                for each in spec.get("foreign") or ()
            },
        )
    return found


class SeenBackends(BackendFinder):
    """Never by selector: a cluster has EndpointSlices for every Service that has one."""

    def __init__(
        self,
        manifests: Manifests,
        state: ClusterState,
        uids: Mapping[str, str],
        memberships: Memberships,
    ) -> None:
        """``uids``: of the pods that are known, by ``namespace/name``."""
        super().__init__(manifests, (), state)
        self._uids = uids
        self._memberships = memberships
        self._homes = _homes(state)
        self._claimants = _claimants(state)

    def find(self, wanted: Wanted) -> Found:
        """By its slices; none without."""
        if (wanted.namespace, wanted.name) in self._slices:
            return super().find(wanted)
        return Found([{} for _ in wanted.ports])

    def _of_entry(self, wanted: Wanted, entry: Data, found: Found, place: Place) -> Backend | None:
        address = ip_address(entry["addresses"][0])
        backend = written(entry, address)
        reference = _reference(entry, wanted.namespace)
        local = self._local(reference)
        if self._is_left_out(wanted, reference, address, found):
            return None
        if local is not None:
            return replace(backend, node=local.node, pod=local.id)
        if wanted.network.is_external:
            return replace(backend, node=self._underlay.node_of(address))
        return self._at_home(wanted.network, backend, reference, found, place)

    def _is_left_out(
        self, wanted: Wanted, reference: Reference | None, address: Address, found: Found
    ) -> bool:
        """Whether an endpoint is in another Network, or may be; which is noted."""
        network = wanted.network
        said = self._memberships.get((wanted.namespace, wanted.name), _NONE)
        local = self._local(reference)
        its = (str(address), reference.uid if reference else "")
        if reference and its in said.foreign:
            foreign = said.foreign[its]
        elif local is None:
            foreign = self._elsewhere(network, None, address)
        elif local.network != network.name:
            foreign = in_other_network(local)
        else:
            foreign = "" if address in local.addresses else f'{address} that Pod "{local.id}" does not have'
        if foreign:
            found.foreign.append(foreign)
            return True
        is_known = reference is None or local is not None or network.is_external or its in said.members
        if not is_known and reference and self._is_shared(network, address):
            found.unknown.append(f'{address} of Pod "{reference.pod}"')
            return True
        return False

    def _at_home(
        self, network: Network, backend: Backend, reference: Reference | None, found: Found, place: Place
    ) -> Backend | None:
        """An endpoint is on the node whose block its address lies in."""
        home = self._homes[network.name].find(backend.address)
        if home is None:
            if backend.ready or backend.serving:
                found.vacant.append(f"{backend.address} ({place})" if str(place) else str(backend.address))
            return None
        known = self._by_address.get((network.name, backend.address))
        if reference is None and known is not None:
            return replace(backend, node=known.node, pod=known.id)
        return replace(backend, node=home, pod=reference.pod if reference else "")

    def _local(self, reference: Reference | None) -> Endpoint | None:
        """The very pod that a slice speaks of, if it is known here."""
        if reference is None or self._uids.get(reference.pod) != reference.uid:
            return None
        return self._endpoints.get(reference.pod)

    def _is_shared(self, network: Network, address: Address) -> bool:
        """Whether a pod of another Network may have the address as well."""
        return any(names != {network.name} for names in self._claimants.find_all(address))


@dataclass(frozen=True, slots=True)
class Reference:
    """The pod that a slice's entry names."""

    pod: str
    uid: str


def _reference(entry: Data, namespace: str) -> Reference | None:
    its = entry.get("targetRef") or {}
    if its.get("kind") != "Pod":
        return None
    return Reference(f"{its.get('namespace') or namespace}/{its.get('name')}", str(its.get("uid", "")))


def _homes(state: ClusterState) -> Mapping[str, PrefixTable[str]]:
    """By network: whose block an address lies in."""
    blocks: dict[str, list[Any]] = defaultdict(list)
    for each in state.allocations:
        blocks[each.network].append((each.block, each.node))
    found: dict[str, PrefixTable[str]] = defaultdict(lambda: PrefixTable(()))
    return found | {network: PrefixTable(its) for network, its in blocks.items()}


def _claimants(state: ClusterState) -> PrefixTable[frozenset[str]]:
    by_prefix: dict[Any, set[str]] = defaultdict(set)
    for network in state.networks:
        if not network.is_external:
            for prefix in network.prefixes:
                by_prefix[prefix].add(network.name)
    return PrefixTable((prefix, frozenset(names)) for prefix, names in by_prefix.items())


def _canonical(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text
