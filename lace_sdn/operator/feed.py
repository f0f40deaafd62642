"""What stores note, taken over into the index in the order in which it came, by the thread that plans."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube import decode
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
from lace_sdn.operator import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.operator.index import Index

log = logging.getLogger(__name__)

Data = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""
_Change = tuple["Resource", Key, "Data | None"]


class Feed:
    """Listeners may be called by any thread, ``settle`` by one. What cannot be taken over is taken over later, the rest at once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._others: list[Callable[[Resource, Key, Data | None], None]] = []
        self._changes: deque[_Change] = deque()
        self._failed: dict[tuple[Resource, Key], _Change] = {}

    def listener(self, resource: Resource) -> Callable[[Key, Data | None, Data | None], None]:
        """To be told of every change of a store."""

        def note(key: Key, _old: Data | None, new: Data | None) -> None:
            self._changes.append((resource, key, new))

        return note

    def also(self, changed: Callable[[Resource, Key, Data | None], None]) -> None:
        """Told of every change as well, after the index."""
        self._others.append(changed)

    def settle(self) -> None:
        """Take over all that was noted until now, and what could not be taken over before, unless it is older."""
        again, self._failed = self._failed, {}
        while self._changes:
            change = self._changes.popleft()
            again.pop(change[:2], None)
            self._failed.pop(change[:2], None)
            self._take(change, is_news=True)
        for change in again.values():
            self._take(change, is_news=False)

    def _take(self, change: _Change, *, is_news: bool) -> None:
        resource, key, data = change
        try:
            apply = _APPLIED.get(resource)
            if apply is not None:
                apply(self._index, key, data)
            for each in self._others:
                each(resource, key, data)
        except Exception:
            # A fault of ours with one object must neither lose it nor end the rest.
            self._failed[resource, key] = change
            if is_news:
                log.exception("%s %s cannot be taken over; trying again", resource.kind, "/".join(key))


def _parsed(parse: Callable[[Data], Any], key: Key, data: Data | None) -> Any:
    """None for what is gone, or cannot be understood, which the API server should have refused."""
    if data is None:
        return None
    try:
        return parse(data)
    except (KeyError, TypeError, ValueError) as error:
        log.error("%s %s cannot be understood and is left out: %r", data.get("kind"), "/".join(key), error)  # noqa: TRY400
        return None


def _network(index: Index, key: Key, data: Data | None) -> None:
    index.network(key[1], _parsed(facts.network_fact, key, data))


def _claim(index: Index, key: Key, data: Data | None) -> None:
    if key[1].isdecimal():
        index.claim(int(key[1]), _parsed(facts.claim, key, data))


def _block(index: Index, key: Key, data: Data | None) -> None:
    index.block(key[1], _parsed(facts.block, key, data))


def _endpoint(index: Index, key: Key, data: Data | None) -> None:
    index.endpoint("/".join(key), _parsed(facts.endpoint, key, data))


def _pod(index: Index, key: Key, data: Data | None) -> None:
    index.pod("/".join(key), _parsed(facts.pod, key, data))


def _node(index: Index, key: Key, data: Data | None) -> None:
    index.node(key[1], is_there=data is not None)


def _namespace(index: Index, key: Key, data: Data | None) -> None:
    labels = decode.namespace_of(key[1], data["metadata"].get("labels") or {}).labels if data else None
    index.namespace(key[1], labels)


def _binding(index: Index, key: Key, data: Data | None) -> None:
    index.binding(key[1], _parsed(facts.binding, key, data))


_APPLIED: Final[Mapping[Resource, Callable[[Index, Key, Data | None], None]]] = {
    NETWORKS: _network,
    NETWORK_KEYS: _claim,
    ALLOCATIONS: _block,
    NETWORK_ENDPOINTS: _endpoint,
    PODS: _pod,
    NODES: _node,
    NAMESPACES: _namespace,
    BINDING_POLICIES: _binding,
}
