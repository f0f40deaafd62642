"""Keeps the ServiceMembership of every Service that needs one, and no other; only what a change may concern is looked at again."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.api.resources import (
    BINDING_POLICIES,
    ENDPOINT_SLICES,
    NAMESPACES,
    NETWORK_ENDPOINTS,
    NETWORKS,
    SERVICE_MEMBERSHIPS,
    SERVICES,
)
from lace_sdn.kube.backends import SERVICE_NAME_LABEL
from lace_sdn.kube.lookup import PrefixTable
from lace_sdn.kube.service_rules import has_no_vip
from lace_sdn.kube.services import PROXY_NAME_LABEL
from lace_sdn.model.labels import labels
from lace_sdn.model.objects import NetworkType
from lace_sdn.operator.membership import entries, membership
from lace_sdn.operator.worker import Retries

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.model.labels import Labels
    from lace_sdn.model.objects import Address, Prefix
    from lace_sdn.operator.facts import NetworkFact
    from lace_sdn.operator.feed import Key
    from lace_sdn.operator.index import Index
    from lace_sdn.operator.membership import Entry
    from lace_sdn.operator.writer import Seen

log = logging.getLogger(__name__)

Data = dict[str, Any]

_EVERY: Final = {NETWORKS, NAMESPACES, BINDING_POLICIES}
"""A change of these may concern every Service."""


@dataclass(frozen=True, slots=True)
class _Service:
    uid: str
    labels: Labels


class Memberships:
    """``serve`` writes for one Service; ``index`` knows networks, bindings and endpoints, and is settled before."""

    def __init__(
        self, index: Index, api: Api, seen: Seen, *, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._index = index
        self._api = api
        self._seen = seen
        self._clock = clock
        self._services: dict[Key, _Service] = {}
        self._slices: dict[Key, tuple[Key, frozenset[Entry]]] = {}
        self._slices_of: dict[Key, set[Key]] = defaultdict(set)
        self._services_of: dict[str, set[Key]] = defaultdict(set)
        self._published: dict[Key, Data] = {}
        self._dirty: set[Key] = set()
        self._retries = Retries(jitter)
        self._waiting: dict[Key, float] = {}
        self._claimants: PrefixTable[frozenset[str]] | None = None
        self._shapes: dict[tuple[Resource, Key], Any] = {}

    def changed(self, resource: Resource, key: Key, data: Data | None) -> None:
        """One object is so now; None: it is gone."""
        if resource == SERVICES:
            self._service(key, data)
        elif resource == ENDPOINT_SLICES:
            self._slice(key, data)
        elif resource == SERVICE_MEMBERSHIPS:
            if data is None:
                self._published.pop(key, None)
            else:
                self._published[key] = data
            self._dirty.add(key)
        elif resource == NETWORK_ENDPOINTS:
            self._dirty.update(self._services_of.get("/".join(key), ()))
        elif resource in _EVERY:
            shape = _shape(data)
            if self._shapes.get((resource, key)) != shape:
                self._shapes[resource, key] = shape
                self._claimants = None
                self._dirty.update(self._services)

    def start(self) -> None:
        """Look at every Service."""
        self._waiting.clear()
        self._dirty.update(self._services, self._published)

    def serve(self) -> bool:
        """Look at one Service that something may have changed for. False if there is none to look at now."""
        for key in self._dirty:
            if self._waiting.get(key, 0.0) <= self._clock():
                self._dirty.discard(key)
                self._waiting.pop(key, None)
                self._serve(key)
                return True
        return False

    @property
    def due(self) -> float | None:
        """When the next one is tried again."""
        return min(self._waiting.values(), default=None)

    def _service(self, key: Key, data: Data | None) -> None:
        meta = data["metadata"] if data else {}
        is_left = PROXY_NAME_LABEL in (meta.get("labels") or {})
        if data is None or is_left or has_no_vip(data["spec"]):
            self._services.pop(key, None)
        else:
            self._services[key] = _Service(meta.get("uid", ""), labels(meta.get("labels")))
        self._dirty.add(key)

    def _slice(self, key: Key, data: Data | None) -> None:
        old = self._slices.pop(key, None)
        if old:
            owner, its = old
            self._slices_of[owner].discard(key)
            self._dirty.add(owner)
            others = {each.pod for other in self._slices_of[owner] for each in self._slices[other][1]}
            for pod in {each.pod for each in its} - others:
                self._services_of[pod].discard(owner)
        name = (data["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL) if data else None
        if data is None or not name:
            return
        owner = (key[0], name)
        found = entries(data)
        self._slices[key] = (owner, found)
        self._slices_of[owner].add(key)
        for each in found:
            self._services_of[each.pod].add(owner)
        self._dirty.add(owner)

    def wanted(self, key: Key) -> Data | None:
        """The ``spec`` that the Service of this name needs; None for none."""
        service = self._services.get(key)
        network = self._network(key, service) if service else None
        if network is None:
            return None
        found = {each for its in self._slices_of.get(key, ()) for each in self._slices[its][1]}
        return membership(network, found, self._index.endpoints.get, self._is_shared)

    def _network(self, key: Key, service: _Service) -> NetworkFact | None:
        name = self._index.network_of(key[0], service.labels)
        return self._index.networks.get(name) if name else None

    def _is_shared(self, network: NetworkFact, address: Address) -> bool:
        if self._claimants is None:
            self._claimants = self._table()
        return any(names != {network.name} for names in self._claimants.find_all(address))

    def _table(self) -> PrefixTable[frozenset[str]]:
        by_prefix: dict[Prefix, set[str]] = defaultdict(set)
        for each in self._index.networks.values():
            if each.type is not NetworkType.EXTERNAL:
                for subnet in each.cut.subnets:
                    by_prefix[subnet.prefix].add(each.name)
        return PrefixTable((prefix, frozenset(names)) for prefix, names in by_prefix.items())

    def _serve(self, key: Key) -> None:
        try:
            self._write(key, self.wanted(key), self._published.get(key))
        except (ApiError, ApiUnreachable) as error:
            if isinstance(error, ApiError) and (
                error.is_conflict or error.is_already_exists or error.is_not_found
            ):
                self._look_again(key)
            else:
                log.warning("ServiceMembership %s: %s; trying again", "/".join(key), error)
            self._again(key)
        except Exception:
            # A fault of ours with one Service must neither lose it nor end the others'.
            log.exception("ServiceMembership %s cannot be worked out; trying again", "/".join(key))
            self._again(key)
        else:
            self._retries.succeeded("/".join(key))

    def _again(self, key: Key) -> None:
        self._waiting[key] = self._retries.failed("/".join(key), self._clock())
        self._dirty.add(key)

    def _write(self, key: Key, spec: Data | None, there: Data | None) -> None:
        if spec is None:
            if there is not None and _is_ours(there):
                meta = there["metadata"]
                self._api.delete(
                    SERVICE_MEMBERSHIPS,
                    key[1],
                    key[0],
                    uid=meta["uid"],
                    resource_version=meta["resourceVersion"],
                )
                self._seen.drop(SERVICE_MEMBERSHIPS, key[1], key[0])
            return
        owner = {
            "apiVersion": "v1",
            "kind": "Service",
            "name": key[1],
            "uid": self._services[key].uid,
        }
        if there is None:
            body = {
                "apiVersion": SERVICE_MEMBERSHIPS.api_version,
                "kind": SERVICE_MEMBERSHIPS.kind,
                "metadata": {"namespace": key[0], "name": key[1], "ownerReferences": [owner]},
                "spec": spec,
            }
            self._seen.put(SERVICE_MEMBERSHIPS, self._api.create(SERVICE_MEMBERSHIPS, body))
        elif there.get("spec") != spec or not _is_owned(there, owner):
            # The lists are replaced whole; what is not wanted is named, so that it goes.
            patch = {
                "metadata": {
                    "resourceVersion": there["metadata"]["resourceVersion"],
                    "ownerReferences": [owner],
                },
                "spec": {"members": spec.get("members"), "foreign": spec.get("foreign")},
            }
            self._seen.put(SERVICE_MEMBERSHIPS, self._api.patch(SERVICE_MEMBERSHIPS, key[1], key[0], patch))

    def _look_again(self, key: Key) -> None:
        try:
            self._seen.put(SERVICE_MEMBERSHIPS, self._api.get(SERVICE_MEMBERSHIPS, key[1], key[0]))
        except ApiError as error:
            if not error.is_not_found:
                log.warning("ServiceMembership %s: %s", "/".join(key), error)
            self._seen.drop(SERVICE_MEMBERSHIPS, key[1], key[0])
        except ApiUnreachable as error:
            log.warning("ServiceMembership %s: %s", "/".join(key), error)


def _shape(data: Data | None) -> Any:
    """What of a Network, Namespace or binding may concern a Service."""
    return None if data is None else (data.get("spec"), data["metadata"].get("labels"))


def _is_owned(there: Data, owner: Data) -> bool:
    owners = there["metadata"].get("ownerReferences") or ()
    return [each.get("uid") for each in owners] == [owner["uid"]]


def _is_ours(there: Data) -> bool:
    """One that a Service owns; a user's own is left to its owner."""
    owners = there["metadata"].get("ownerReferences") or ()
    return any(each.get("kind") == "Service" for each in owners)
