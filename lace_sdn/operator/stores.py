"""The stores of an operator: everything that it reads, kept small, and fed by reflectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.store import Store
from lace_sdn.kube.api.watches import Watches
from lace_sdn.kube.claims import FREEING
from lace_sdn.kube.trim import trimmed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource

Data = dict[str, Any]
Key = tuple[str, str]

WATCHED: Final = (
    resources.NODES,
    resources.NAMESPACES,
    resources.NETWORKS,
    resources.NETWORK_KEYS,
    resources.ALLOCATIONS,
    resources.BINDING_POLICIES,
    resources.ROUTING_POLICIES,
    resources.SERVICE_POLICIES,
    resources.NETWORK_ENDPOINTS,
    resources.PODS,
    resources.SERVICES,
    resources.ENDPOINT_SLICES,
    resources.SERVICE_MEMBERSHIPS,
    resources.NODE_STATES,
    resources.NETWORK_POLICIES,
)
WRITTEN: Final = frozenset(
    {
        resources.NETWORKS,
        resources.NETWORK_KEYS,
        resources.ALLOCATIONS,
        resources.BINDING_POLICIES,
        resources.ROUTING_POLICIES,
        resources.SERVICE_POLICIES,
        resources.SERVICE_MEMBERSHIPS,
    }
)
"""Their versions and conditions are needed to write them."""


def _small(body: Data) -> Data:
    return trimmed(body)


def _written(body: Data) -> Data:
    kept = trimmed(body, with_version=True)
    if FREEING in (body["metadata"].get("annotations") or {}):
        kept["metadata"]["annotations"] = {FREEING: "true"}
    if body.get("status"):
        kept["status"] = body["status"]
    return kept


def _named(body: Data) -> Data:
    """Only that it is there."""
    kept = trimmed(body)
    return {name: kept[name] for name in ("apiVersion", "kind", "metadata")}


class Stores(Watches):
    """``listen`` before ``start``: each listener is told of every change, by the thread that brings it."""

    def __init__(self, api: Api) -> None:
        self._listeners: dict[Resource, list[Callable[[Key, Data | None, Data | None], None]]] = {}
        self.of: Mapping[Resource, Store[Data]] = {each: self._store(each) for each in WATCHED}
        super().__init__(api, self.of)

    def _store(self, resource: Resource) -> Store[Data]:
        if resource in WRITTEN:
            store = Store(_written)
        elif resource == resources.NETWORK_POLICIES:
            store = Store(_named)
        else:
            store = Store(_small)
        listeners = self._listeners[resource] = []

        def tell(key: Key, old: Data | None, new: Data | None) -> None:
            for each in listeners:
                each(key, old, new)

        store.on_change = tell
        return store

    def listen(self, resource: Resource, listener: Callable[[Key, Data | None, Data | None], None]) -> None:
        self._listeners[resource].append(listener)

    @property
    def version(self) -> int:
        """Counts all changes."""
        return sum(store.version for store in self.of.values())

    # What the server has just answered, before the watch brings it.

    def put(self, resource: Resource, data: Data) -> None:
        store = self.of.get(resource)
        if store is not None:
            data.setdefault("kind", resource.kind)
            data.setdefault("apiVersion", resource.api_version)
            store.put(data)

    def drop(self, resource: Resource, name: str, namespace: str = "") -> None:
        store = self.of.get(resource)
        known = store.get(namespace, name) if store is not None else None
        if store is not None and known is not None:
            store.remove(known)
