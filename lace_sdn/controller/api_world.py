"""The desired world of one node as the API server says it: what the node needs is watched, and built anew when that changes."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.controller.world import Reporter, World
from lace_sdn.kube import decode
from lace_sdn.kube.api import resources
from lace_sdn.kube.api.store import Store
from lace_sdn.kube.api.watches import Watches
from lace_sdn.kube.between import namespaces_of, unfit
from lace_sdn.kube.digests import DIGESTED, digest, entry
from lace_sdn.kube.manifests import Identity, Manifest, Manifests
from lace_sdn.kube.observed import manifest_of, observe, owner_uid
from lace_sdn.kube.packed import Packed, packed
from lace_sdn.kube.relevance import needed
from lace_sdn.kube.services import unsupported_protocols
from lace_sdn.kube.trim import trimmed
from lace_sdn.model.labels import labels
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.policy.binding import Binder
from lace_sdn.policy.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.kube.build import Built
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.labels import Labels
    from lace_sdn.model.objects import Address, Network, Prefix

log = logging.getLogger(__name__)

Key = tuple[str, str]

WHOLE: Final = (
    resources.NODES,
    resources.NAMESPACES,
    resources.NETWORKS,
    resources.BINDING_POLICIES,
    resources.ROUTING_POLICIES,
    resources.SERVICE_POLICIES,
    resources.SERVICES,
    resources.ENDPOINT_SLICES,
    resources.ALLOCATIONS,
    resources.SERVICE_MEMBERSHIPS,
)
"""Watched as a whole."""
OWN: Final[Mapping[Resource, str]] = {
    resources.PODS: "spec.nodeName",
    resources.NETWORK_ENDPOINTS: "spec.node",
}
"""Watched as far as they are of the node, by which field."""
_PACKED: Final = (resources.ENDPOINT_SLICES, resources.ALLOCATIONS)
"""Of these a cluster has most, and a node needs few."""


class ApiWorld(Watches):
    """The stores of one node, and the World that follows from them.

    Nothing is said before every kind was listed. ``changed`` is set when there is something new to read.
    """

    def __init__(
        self,
        api: Api,
        node: str,
        *,
        is_userspace: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``is_userspace``: the node's datapath, which then cannot serve all protocols."""
        self.api = api
        self.node = node
        self.changed = threading.Event()
        self._is_userspace = is_userspace
        self._clock = clock
        self._since = 0.0
        self._generation = 0
        self._reporter = Reporter()
        self._needed: frozenset[str] | None = None
        self._services: frozenset[Key] = frozenset()
        self._blocks: dict[str, dict[str, tuple[Prefix, ...]]] = defaultdict(dict)
        self._known: Cluster | None = None
        self._former: ClusterState | None = None
        """When everything could be read last."""
        self._opened: dict[Packed, Manifest] = {}
        self.stores: dict[Resource, Store[Any]] = {}
        for resource in (*WHOLE, *OWN):
            store = self.stores[resource] = Store(packed if resource in _PACKED else _small)
            store.on_change = self._listener(resource)
        super().__init__(api, self.stores, {resource: f"{field}={node}" for resource, field in OWN.items()})

    def has_news(self) -> bool:
        """Whether there is something to read that the node needs."""
        if self._generation == 0:
            return self.is_synced
        return self.changed.is_set() and self.is_synced

    def read(self) -> World:
        """The world now. Whoever calls it calls again after any exception: what changed is no news then."""
        self.changed.clear()
        since, self._since = self._since or self._clock(), 0.0
        try:
            return self._read(since)
        except BaseException:
            # Nothing is old before it is in force.
            self._since = since
            raise

    def _read(self, since: float) -> World:
        digests = self.digests()
        built = observe(self._manifests(), self._former)
        if not built.held:
            self._former = built.state
        if self._is_userspace:
            built = _with(built, unsupported_protocols(built.state))
        self._reporter.report(built.problems, (), built.held)
        known = Cluster.of(built.state, self._known)
        self._generation += 1
        self._known = known
        return World(str(self._generation), built, known, digests, since, self._uids())

    def digests(self) -> dict[str, str]:
        """Of the kinds whose programming is reported."""
        found = {}
        for resource, store in self.stores.items():
            if resource.kind in DIGESTED:
                found[resource.kind] = digest(entry(manifest.data) for manifest in store.values())
        return found

    # What the node needs.

    def _manifests(self) -> Manifests:
        """The objects that the node needs: of Services all, for their numbers are the cluster's; their endpoints where they may be used."""
        basic = [
            manifest
            for resource in (*WHOLE, *OWN)
            if resource not in (*_PACKED, resources.SERVICE_MEMBERSHIPS)
            for manifest in self.stores[resource].values()
        ]
        networks = self._networks()
        hosted = {
            str(each.data["spec"]["network"]) for each in self.stores[resources.NETWORK_ENDPOINTS].values()
        }
        policies = [
            *self._decoded(resources.ROUTING_POLICIES, decode.routing_policy),
            *self._decoded(resources.SERVICE_POLICIES, decode.service_policy),
        ]
        its = self._needed = needed(hosted, networks, policies)
        binder = self._binder(networks)
        self._services = frozenset(
            manifest.identity.order
            for manifest in self.stores[resources.SERVICES].values()
            if _has_node_ports(manifest) or binder.network_of(*_bound_by(manifest)) in its
        )
        basic += [
            each
            for each in self.stores[resources.SERVICE_MEMBERSHIPS].values()
            if each.identity.order in self._services
        ]
        closed = [
            *(each for each in self.stores[resources.ALLOCATIONS].values() if each.of[1] in its),
            *(each for each in self.stores[resources.ENDPOINT_SLICES].values() if each.of in self._services),
        ]
        before = self._opened
        self._opened = {each: before.get(each) or each.opened() for each in closed}
        return Manifests(objects=(*basic, *self._opened.values()), refused=self._unread())

    def _unread(self) -> frozenset[Identity]:
        """Objects that the server has and nobody here could ever read."""
        return frozenset(
            Identity(resource.kind, *key) for resource, store in self.stores.items() for key in store.unread
        )

    def _listener(self, resource: Resource) -> Callable[[Key, Any, Any], None]:
        def changed(key: Key, old: Any, new: Any) -> None:
            if self._is_needed(resource, old, new):
                self._since = self._since or self._clock()
                self.changed.set()
            if resource is resources.ALLOCATIONS:
                self._note_block(key[1], old, new)

        return changed

    def _is_needed(self, resource: Resource, old: Any, new: Any) -> bool:
        """Whether a change may be one of the node's switch."""
        if self._needed is None:
            return True
        both = [each for each in (old, new) if each is not None]
        if resource is resources.ALLOCATIONS:
            return any(each.of[1] in self._needed for each in both)
        if resource is resources.ENDPOINT_SLICES:
            return any(each.of in self._services for each in both)
        if resource is resources.SERVICE_MEMBERSHIPS:
            return any(each.identity.order in self._services for each in both)
        return True

    def _note_block(self, name: str, old: Packed | None, new: Packed | None) -> None:
        if old is not None:
            self._blocks[old.of[1]].pop(name, None)
        if new is not None and new.node == self.node:
            self._blocks[new.of[1]][name] = tuple(each.block for each in decode.allocations(new.opened()))

    def _decoded(self, resource: Resource, decoder: Callable[[Manifest], Any]) -> list[Any]:
        return [manifest.decoded(decoder) for manifest in self.stores[resource].values()]

    def _networks(self) -> tuple[Network, ...]:
        found = self._decoded(resources.NETWORKS, decode.network)
        return tuple(sorted((each for each in found if each.key), key=lambda each: each.name))

    def _binder(self, _networks: Iterable[Network]) -> Binder:
        """Kept while what it is made of stays the same."""
        versions = tuple(
            self.stores[each].version
            for each in (resources.BINDING_POLICIES, resources.NAMESPACES, resources.NETWORKS)
        )
        if self._bound is None or self._bound[0] != versions:
            spaces = Manifests(objects=tuple(self.stores[resources.NAMESPACES].values()))
            names = [manifest.identity.name for manifest in self.stores[resources.NETWORKS].values()]
            bindings = self._decoded(resources.BINDING_POLICIES, decode.binding_policy)
            around = {each.name: each.labels for each in namespaces_of(spaces, ())}
            self._bound = (versions, Binder(bindings, around, names))
        return self._bound[1]

    _bound: tuple[tuple[int, ...], Binder] | None = None

    def _uids(self) -> dict[str, str]:
        return {
            each.identity.full_name: owner_uid(each.data)
            for each in self.stores[resources.NETWORK_ENDPOINTS].values()
        }

    # For pods that are being attached.

    def pod(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A pod of this node; None if it is not known."""
        manifest = self.stores[resources.PODS].get(namespace, name)
        return manifest.data if manifest else None

    def pods(self) -> list[Mapping[str, Any]]:
        """All pods of this node."""
        return [manifest.data for manifest in self.stores[resources.PODS].values()]

    def put_pod(self, body: dict[str, Any]) -> None:
        """A pod that was asked for by itself, since it was not known yet."""
        self.stores[resources.PODS].put(body)

    def network_of(self, namespace: str, its: Mapping[str, str]) -> Network | Refusal:
        """The Network that bindings name now for a pod with these labels; or why it can be in none."""
        networks = self._networks()
        by_name = {network.name: network for network in networks}
        found: Labels = labels(its)
        name = self._binder(networks).network_of(namespace, found)
        refusal = self._not_now(namespace, name) or unfit("Pod", namespace, name, by_name)
        if refusal is not None:
            return refusal
        return by_name[str(name)]

    def _not_now(self, namespace: str, name: str | None) -> Refusal | None:
        """Why a Network that there is takes no pods yet, or no more."""
        manifest = self.stores[resources.NETWORKS].get("", str(name))
        if manifest is None:
            return None
        if manifest.data["metadata"].get("deletionTimestamp"):
            leaving = f'is bound to Network "{name}", which is being deleted'
            return Refusal("Pod", namespace, Reason.NETWORK_TERMINATING, leaving, "expected one that stays")
        if not manifest.decoded(decode.network).key:
            found = f'is bound to Network "{name}", which has no key yet (status.networkKey)'
            expected = (
                f"expected one of the operator; `kubectl describe network {name}` says why there is none"
            )
            return Refusal("Pod", namespace, Reason.NETWORK_MISSING, found, expected)
        return None

    def blocks(self, network: str) -> tuple[Prefix, ...]:
        """The node's own blocks of a Network."""
        return tuple(block for blocks in self._blocks[network].values() for block in blocks)

    def endpoints(self) -> list[Mapping[str, Any]]:
        """The NetworkEndpoints of this node."""
        return [manifest.data for manifest in self.stores[resources.NETWORK_ENDPOINTS].values()]

    def taken(self) -> list[tuple[str, tuple[Address, ...]]]:
        """Network and addresses of each of them."""
        return [manifest.decoded(_taken) for manifest in self.stores[resources.NETWORK_ENDPOINTS].values()]

    def endpoint(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """One of them."""
        manifest = self.stores[resources.NETWORK_ENDPOINTS].get(namespace, name)
        return manifest.data if manifest else None

    def put_endpoint(self, body: dict[str, Any]) -> None:
        """What was just written, before the watch says it."""
        self.stores[resources.NETWORK_ENDPOINTS].put(body)

    def drop_endpoint(self, body: Mapping[str, Any]) -> None:
        """What was just deleted, before the watch says it; not another one that has its name now."""
        present = self.endpoint(body["metadata"].get("namespace", ""), body["metadata"]["name"])
        if present is not None and present["metadata"]["uid"] == body["metadata"]["uid"]:
            self.stores[resources.NETWORK_ENDPOINTS].remove(dict(body))

    @cached_property
    def node_body(self) -> Mapping[str, Any]:
        """The Node itself. Raises ApiError or ApiUnreachable."""
        return self.api.get(resources.NODES, self.node)


def _small(body: dict[str, Any]) -> Manifest | None:
    """Raises what its decoder raises: better now, for one object, than when all are read."""
    found = manifest_of(trimmed(body))
    decoder = _DECODERS.get(body["kind"])
    if found is not None and decoder is not None:
        found.decoded(decoder)
    return found


_DECODERS: Final[Mapping[str, Callable[[Manifest], Any]]] = {
    "Network": decode.network,
    "NetworkBindingPolicy": decode.binding_policy,
    "NetworkRoutingPolicy": decode.routing_policy,
    "ServiceRoutingPolicy": decode.service_policy,
    "NetworkEndpoint": decode.lease,
    "Namespace": decode.namespace,
    "Node": decode.node,
}
"""What a world is made of in any case."""


def _taken(endpoint: Manifest) -> tuple[str, tuple[Address, ...]]:
    spec = endpoint.data["spec"]
    return str(spec["network"]), tuple(map(ip_address, spec["addresses"]))


def _has_node_ports(service: Manifest) -> bool:
    return any(port.get("nodePort") for port in service.data["spec"].get("ports") or ())


def _bound_by(service: Manifest) -> tuple[str, Labels]:
    return service.identity.namespace, service.decoded(_labels)


def _labels(manifest: Manifest) -> Labels:
    return labels(manifest.data["metadata"].get("labels"))


def _with(built: Built, more: tuple[Any, ...]) -> Built:
    return type(built)(built.state, built.ledger, built.problems, built.conditions + more)
