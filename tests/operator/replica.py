"""An operator in one process with its test: its stores are fed by hand, so that what it has seen may be as old as a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api.resources import (
    ALLOCATIONS,
    BINDING_POLICIES,
    NAMESPACES,
    NETWORK_ENDPOINTS,
    NETWORK_KEYS,
    NETWORKS,
    NODES,
    PODS,
)
from lace_sdn.operator.feed import Feed
from lace_sdn.operator.index import Index
from lace_sdn.operator.worker import Worker
from lace_sdn.operator.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory_api import Data, Key, MemoryServer

    from lace_sdn.kube.api.resources import Resource

WATCHED = (
    NODES,
    NAMESPACES,
    NETWORKS,
    NETWORK_KEYS,
    ALLOCATIONS,
    BINDING_POLICIES,
    NETWORK_ENDPOINTS,
    PODS,
)


class Replica:
    """``api``: what it calls (the server, or something around it). It starts by a list of everything."""

    def __init__(
        self, server: MemoryServer, api: Any, clock: Callable[[], float], *, keys: range, grace: float = 60.0
    ) -> None:
        self.server = server
        self.index = Index(keys)
        self._feed = Feed(self.index)
        self._listeners = {each: self._feed.listener(each) for each in WATCHED}
        self.known: dict[Resource, dict[Key, Data]] = {each: {} for each in WATCHED}
        self._next = dict.fromkeys(WATCHED, len(server.log))
        self._removed: dict[tuple[Resource, Key], int] = {}
        self.writes: list[Any] = []
        for resource in WATCHED:
            for data in server.list(resource)[0]:
                self.put(resource, data)
        self.worker = Worker(
            self.index,
            Writer(api, self),
            settle=self._feed.settle,
            may_write=lambda: True,
            clock=clock,
            jitter=lambda: 0.5,
            wrote=lambda write, done: self.writes.append((write, done)),
            grace=grace,
        )
        self._feed.settle()
        self.worker.start()

    def put(self, resource: Resource, data: Data) -> None:
        """As stores do: what is older than what is known, or than a removal that is known, does not count."""
        meta = data["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        old = self.known[resource].get(key)
        known = int(old["metadata"]["resourceVersion"]) if old else self._removed.get((resource, key), 0)
        if known < int(meta["resourceVersion"]):
            self.known[resource][key] = data
            self._listeners[resource](key, old, data)

    def drop(self, resource: Resource, name: str, namespace: str = "") -> None:
        old = self.known[resource].pop((namespace, name), None)
        if old is not None:
            self._listeners[resource]((namespace, name), old, None)

    def behind(self, resource: Resource) -> int:
        """How many changes of a kind it has not seen."""
        return sum(1 for each in self.server.log[self._next[resource] :] if each[0] == resource)

    def hear(self, resource: Resource, count: int | None = None) -> None:
        """The next changes of a kind, or all."""
        log = self.server.log
        while self._next[resource] < len(log) and count != 0:
            found, key, data = log[self._next[resource]]
            self._next[resource] += 1
            if found != resource:
                continue
            if count is not None:
                count -= 1
            if data is None:
                self._removed[resource, key] = self._next[resource]  # a change is one version
                self.drop(resource, key[1], key[0])
            else:
                self.put(resource, data)

    def hear_all(self) -> None:
        for resource in WATCHED:
            self.hear(resource)
