"""Does what was planned, by requests to the API server. Whatever takes something away asks first how things are now.

Each request stands for itself: after any of them the process may end, and the next one goes on from what the API server holds.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from lace_sdn.kube.api.client import ApiError
from lace_sdn.kube.api.resources import ALLOCATIONS, NETWORK_ENDPOINTS, NETWORK_KEYS, NETWORKS, NODES
from lace_sdn.kube.claims import FREEING
from lace_sdn.operator.facts import FINALIZER, MANAGED_BY, claim, network_fact
from lace_sdn.operator.writes import (
    AddFinalizer,
    ClaimKey,
    CreateBlock,
    FreeBlock,
    Gone,
    KeepBlock,
    ReleaseKey,
    RemoveFinalizer,
    RenewClaim,
    SetKey,
)

if TYPE_CHECKING:
    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.operator.facts import Block, Claim, NetworkFact
    from lace_sdn.operator.writes import Write

Data = dict[str, Any]


class Seen(Protocol):
    """Is told what the API server answers, before the watch brings it."""

    def put(self, resource: Resource, data: Data) -> None: ...

    def drop(self, resource: Resource, name: str, namespace: str = "") -> None: ...


class Writer:
    def __init__(self, api: Api, seen: Seen) -> None:
        self._api = api
        self._seen = seen

    def do(self, write: Write) -> bool:
        """False if it no longer applies: what was found instead has been told to ``seen``.

        Raises:
            ApiError: the server refuses it for another reason than that things have changed.
            ApiUnreachable: there was no answer; it may have taken effect.
        """
        try:
            return self._do(write)
        except ApiError as error:
            if not (error.is_conflict or error.is_already_exists or error.is_not_found):
                raise
            self._look_again(write)
            return False

    def _do(self, write: Write) -> bool:  # noqa: C901, PLR0911 - one case a kind of write
        match write:
            case AddFinalizer(network):
                return self._set_finalizers(network, (*network.finalizers, FINALIZER))
            case RemoveFinalizer(network):
                if self._is_carried(network.name):
                    return False
                kept = tuple(each for each in network.finalizers if each != FINALIZER)
                return self._set_finalizers(network, kept)
            case ClaimKey(network, number, former):
                return self._claim_key(network, number, former)
            case RenewClaim(network, claimed):
                return self._renew_claim(network, claimed)
            case SetKey(network, number, former):
                return self._set_key(network, number, former)
            case ReleaseKey(claimed):
                return self._release_key(claimed)
            case CreateBlock():
                return self._create_block(write)
            case KeepBlock(block):
                self._mark(block, is_freeing=False)
                return True
            case FreeBlock(block, why):
                return self._free_block(block, why)

    def _look_again(self, write: Write) -> None:
        """Read what the write was about."""
        match write:
            case AddFinalizer(network) | RemoveFinalizer(network):
                self._read(NETWORKS, network.name)
            case SetKey(network, number):
                self._read(NETWORKS, network.name)
                self._read(NETWORK_KEYS, str(number))
            case ClaimKey(network, number):
                self._read(NETWORK_KEYS, str(number))
            case RenewClaim(_, claimed) | ReleaseKey(claimed):
                self._read(NETWORK_KEYS, str(claimed.number))
            case CreateBlock():
                self._read(ALLOCATIONS, write.name)
            case KeepBlock(block) | FreeBlock(block):
                self._read(ALLOCATIONS, block.name)

    def _read(self, resource: Resource, name: str) -> Data | None:
        """The object as it is now; None if there is none."""
        try:
            data = self._api.get(resource, name)
        except ApiError as error:
            if not error.is_not_found:
                raise
            self._seen.drop(resource, name)
            return None
        self._seen.put(resource, data)
        return data

    def _set_finalizers(self, network: NetworkFact, finalizers: tuple[str, ...]) -> bool:
        meta = {"resourceVersion": network.version, "finalizers": list(finalizers)}
        data = self._api.patch(NETWORKS, network.name, "", {"metadata": meta})
        if network.is_deleted and not finalizers:
            self._seen.drop(NETWORKS, network.name)
        else:
            self._seen.put(NETWORKS, data)
        return True

    def _is_carried(self, network: str) -> bool:
        """Whether anything is of the network, by what the server holds; nodes give no address in one that is being deleted."""
        carriers = [
            (resource, data)
            for resource in (ALLOCATIONS, NETWORK_ENDPOINTS)
            for data in self._api.list(resource, field_selector=f"spec.network={network}")[0]
        ]
        for resource, data in carriers:
            self._seen.put(resource, data)
        return bool(carriers)

    def _is_still_taken(self, network: NetworkFact, number: int) -> bool:
        """Whether a key that the status says is not this network's: never renumbered because of what was only not seen yet."""
        data = self._read(NETWORK_KEYS, str(number)) if number else None
        found = claim(data) if data else None
        return found is None or found.network != network.name

    def _claim_key(self, network: NetworkFact, number: int, former: int) -> bool:
        if not self._is_still_taken(network, former):
            return False
        body = _body(NETWORK_KEYS, {"name": str(number)}, {"network": network.name, "uid": network.uid})
        self._seen.put(NETWORK_KEYS, self._api.create(NETWORK_KEYS, body))
        return True

    def _renew_claim(self, network: NetworkFact, claimed: Claim) -> bool:
        """The claim changes by that: whoever thought that it could be released finds another version."""
        body = {"metadata": {"resourceVersion": claimed.version}, "spec": {"uid": network.uid}}
        data = self._api.patch(NETWORK_KEYS, str(claimed.number), "", body)
        self._seen.put(NETWORK_KEYS, data)
        return True

    def _set_key(self, network: NetworkFact, number: int, former: int) -> bool:
        if not self._is_still_taken(network, former):
            return False
        body = {"metadata": {"resourceVersion": network.version}, "status": {"networkKey": number}}
        self._seen.put(NETWORKS, self._api.patch(NETWORKS, network.name, "", body, "status"))
        return True

    def _release_key(self, claimed: Claim) -> bool:
        """Only if the network that it was claimed for has another key, or is gone with all that carried it."""
        data = self._read(NETWORKS, claimed.network)
        if data:
            network = network_fact(data)
            if network.key == claimed.number or (not network.key and network.uid == claimed.network_uid):
                return False
        elif self._is_carried(claimed.network):
            return False
        name = str(claimed.number)
        self._api.delete(NETWORK_KEYS, name, uid=claimed.uid, resource_version=claimed.version)
        self._seen.drop(NETWORK_KEYS, name)
        return True

    def _create_block(self, write: CreateBlock) -> bool:
        key, value = MANAGED_BY
        spec = {"network": write.network.name, "node": write.node}
        spec |= {f"ipv{prefix.version}Block": str(prefix) for prefix in write.prefixes}
        body = _body(ALLOCATIONS, {"name": write.name, "labels": {key: value}}, spec)
        self._seen.put(ALLOCATIONS, self._api.create(ALLOCATIONS, body))
        return True

    def _mark(self, block: Block, *, is_freeing: bool) -> str:
        """The answer is the new version."""
        meta = {
            "resourceVersion": block.version,
            "annotations": {FREEING: "true" if is_freeing else None},
        }
        data = self._api.patch(ALLOCATIONS, block.name, "", {"metadata": meta})
        self._seen.put(ALLOCATIONS, data)
        return str(data["metadata"]["resourceVersion"])

    def _free_block(self, block: Block, why: Gone) -> bool:
        """Mark it, so that no more addresses are given; look for addresses given; only then remove it.

        A node's controller looks for the mark after it has written an endpoint. So at least one of the two sees the other.
        """
        if not self._is_still_gone(block, why):
            return False
        version = block.version if block.is_freeing else self._mark(block, is_freeing=True)
        found, _ = self._api.list(NETWORK_ENDPOINTS, field_selector=f"spec.node={block.node}")
        inside = [each for each in found if _is_inside(each, block)]
        if inside:
            for each in inside:
                self._seen.put(NETWORK_ENDPOINTS, each)
            return False
        self._api.delete(ALLOCATIONS, block.name, uid=block.uid, resource_version=version)
        self._seen.drop(ALLOCATIONS, block.name)
        return True

    def _is_still_gone(self, block: Block, why: Gone) -> bool:
        match why:
            case Gone.NETWORK:
                data = self._read(NETWORKS, block.network)
                return data is None or network_fact(data).is_deleted
            case Gone.NODE:
                return self._read(NODES, block.node) is None
            case Gone.USE:
                return True


def _is_inside(endpoint: Data, block: Block) -> bool:
    """Whether an endpoint of the block's network and node may have its address from it."""
    spec = endpoint["spec"]
    if (spec["network"], spec["node"]) != (block.network, block.node):
        return False
    return any(ip_address(text) in prefix for text in spec["addresses"] for prefix in block.prefixes)


def _body(resource: Resource, metadata: Data, spec: Data) -> Data:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
