"""Writes what objects say of themselves, when that has changed: all of it together, some time after a change, never more than a share of the time."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.digests import entry
from lace_sdn.kube.manifests import Manifest, Manifests
from lace_sdn.kube.observed import manifest_of, observe
from lace_sdn.operator import facts
from lace_sdn.operator.conditions import Said, Wanted, change
from lace_sdn.operator.programmed import Programmed
from lace_sdn.operator.reports import READY, Against, Leaving, Seen, reports
from lace_sdn.operator.stores import WATCHED
from lace_sdn.operator.unenforced import JUDGED, UnenforcedObjects, counted, regarding
from lace_sdn.policy.relations import resolve

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.events import Events
    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.kube.build import Built
    from lace_sdn.model.cluster import Condition
    from lace_sdn.operator.facts import NetworkFact
    from lace_sdn.operator.stores import Stores
    from lace_sdn.operator.unenforced import Unenforced
    from lace_sdn.operator.worker import Lacks
    from lace_sdn.policy.relations import Relations

log = logging.getLogger(__name__)

Data = dict[str, Any]
Key = tuple[str, str]

_UNOBSERVED: Final = {resources.NETWORK_KEYS, resources.NODE_STATES, resources.NETWORK_POLICIES}
OBSERVED: Final = tuple(each for each in WATCHED if each not in _UNOBSERVED)
"""What the state of the cluster follows from."""
FOLLOWED: Final = (resources.ROUTING_POLICIES, resources.SERVICE_POLICIES)
"""Of which it is said on how many nodes they are programmed."""
REPORTED: Final[Mapping[str, Resource]] = {
    each.kind: each
    for each in (
        resources.NETWORKS,
        resources.ROUTING_POLICIES,
        resources.SERVICE_POLICIES,
        resources.BINDING_POLICIES,
        resources.ALLOCATIONS,
    )
}
"""Those with a status that is written here."""
_BY_KIND: Final[Mapping[str, Resource]] = {each.kind: each for each in OBSERVED}


class Reporter:
    """``lacks``: what allocation cannot give now. ``pace``: waits before each write; False ends the round."""

    def __init__(
        self,
        stores: Stores,
        api: Api,
        events: Events,
        *,
        lacks: Callable[[], Lacks],
        pace: Callable[[], bool],
    ) -> None:
        self.unenforced: Counter[tuple[str, str]] = counted([])
        self._stores = stores
        self._api = api
        self._events = events
        self._lacks = lacks
        self._pace = pace
        self._manifests: dict[tuple[str, Key], tuple[Data, Manifest | None]] = {}
        self._objects = UnenforcedObjects()
        self._changes: deque[tuple[Resource, Key, Data | None]] = deque()
        self._failed: dict[tuple[Resource, Key], tuple[Resource, Key, Data | None]] = {}
        self._programmed: dict[str, Programmed] | None = None
        self._nodes: set[str] = set()
        self._reported: tuple[Any, ...] = ()
        self._is_complete = False
        self._judgement: tuple[int, Built, Relations] | None = None
        for resource in {*JUDGED, *FOLLOWED, resources.NODES, resources.NODE_STATES}:
            stores.listen(resource, self._listener(resource))

    def _listener(self, resource: Resource) -> Callable[[Key, Data | None, Data | None], None]:
        return lambda key, _old, new: self._changes.append((resource, key, new))

    def settle(self) -> None:
        """Take over what was noted; cheap, so that who does not lead knows it too."""
        again, self._failed = self._failed, {}
        while self._changes:
            change = self._changes.popleft()
            again.pop(change[:2], None)
            self._failed.pop(change[:2], None)
            self._take(change, is_news=True)
        for change in again.values():
            self._take(change, is_news=False)

    def _take(self, change: tuple[Resource, Key, Data | None], *, is_news: bool) -> None:
        resource, key, data = change
        try:
            if resource in JUDGED:
                self._objects.changed(resource, key, data)
            elif self._programmed is not None:
                self._follow(self._programmed, resource, key, data)
        except Exception:
            # A fault of ours with one object must neither lose it nor end the rest.
            self._failed[resource, key] = change
            if is_news:
                log.exception("%s %s cannot be judged; trying again", resource.kind, "/".join(key))

    def _follow(
        self, programmed: dict[str, Programmed], resource: Resource, key: Key, data: Data | None
    ) -> None:
        if resource in FOLLOWED:
            version = entry(data)[1:] if data else None
            programmed[resource.kind].changed(key[1], version)
        elif resource == resources.NODES:
            (self._nodes.add if data else self._nodes.discard)(key[1])
            if data is None:
                for each in programmed.values():
                    each.forget(key[1])
        elif data is not None:
            self._hear(programmed, key[1], data.get("status") or {})

    def _hear(self, programmed: dict[str, Programmed], node: str, status: Data) -> None:
        if node in self._nodes:
            for kind, each in programmed.items():
                text = (status.get("digests") or {}).get(kind)
                if text:
                    each.reported(node, text, int(status.get("milliseconds") or 0))

    def _begin(self) -> dict[str, Programmed]:
        """Follow the policies from here on. To be called when all stores are synced."""
        self.settle()
        found = {
            resource.kind: Programmed(map(entry, self._stores.of[resource].values())) for resource in FOLLOWED
        }
        self._nodes = {key[1] for key, _ in self._stores.of[resources.NODES].items()}
        for key, data in self._stores.of[resources.NODE_STATES].items():
            self._hear(found, key[1], data.get("status") or {})
        return found

    def round(self) -> int:
        """Look at everything, if anything has changed, and write what is to be said. The answer: how many writes."""
        if self._programmed is None:
            self._programmed = self._begin()
        self.settle()
        now = (self._stores.version, self._lacks(), tuple(self._failed))
        if now == self._reported:
            return 0
        built, relations = self._judged()
        conditions = (*built.conditions, *relations.conditions)
        self.settle()
        wanted = reports(
            built.state, relations, Against(conditions, built.problems), self._seen(self._programmed)
        )
        self._is_complete = True
        owed = self._events.owed
        writes = self._write_all(wanted)
        writes += self._tell(conditions)
        self._is_complete &= self._events.owed == owed
        # One's own writes change the stores: the next round finds that nothing is left to say.
        self._reported = now if self._is_complete else ()
        return writes

    def _judged(self) -> tuple[Built, Relations]:
        """Not worked out again when only nodes have reported."""
        version = sum(self._stores.of[each].version for each in OBSERVED)
        if self._judgement is None or self._judgement[0] != version:
            built = observe(Manifests(objects=tuple(self._objects_now())))
            self._judgement = (version, built, resolve(built.state))
        return self._judgement[1:]

    def _objects_now(self) -> Iterator[Manifest]:
        before, self._manifests = self._manifests, {}
        for resource in OBSERVED:
            for key, data in self._stores.of[resource].items():
                held = before.get((resource.kind, key))
                if held is None or held[0] is not data:
                    held = (data, manifest_of(data))
                self._manifests[resource.kind, key] = held
                if held[1] is not None:
                    yield held[1]

    def _seen(self, programmed: dict[str, Programmed]) -> Seen:
        lacks = self._lacks()
        networks = {
            key[1]: facts.network_fact(data) for key, data in self._stores.of[resources.NETWORKS].items()
        }
        nodes = frozenset(self._nodes)
        progress, generations = {}, {}
        for resource in FOLLOWED:
            for key, data in self._stores.of[resource].items():
                its = (resource.kind, key[1])
                if key[1] in programmed[resource.kind]:
                    progress[its] = programmed[resource.kind].progress(key[1], nodes)
                    generations[its] = int(data["metadata"].get("generation") or 0)
        return Seen(networks, lacks.keyless, lacks.shortages, self._leaving(networks), progress, generations)

    def _leaving(self, networks: Mapping[str, NetworkFact]) -> dict[str, Leaving]:
        leaving = {name for name, network in networks.items() if network.is_deleted}
        if not leaving:
            return {}
        pods, blocks = defaultdict(list), defaultdict(list)
        for key, data in self._stores.of[resources.NETWORK_ENDPOINTS].items():
            pods[data["spec"]["network"]].append("/".join(key))
        for key, data in self._stores.of[resources.ALLOCATIONS].items():
            blocks[data["spec"]["network"]].append(key[1])
        return {name: Leaving(tuple(sorted(pods[name])), tuple(sorted(blocks[name]))) for name in leaving}

    def _write_all(self, wanted: Mapping[tuple[str, str], Wanted]) -> int:
        """Every status that does not say it yet."""
        writes = 0
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for kind, resource in REPORTED.items():
            for key, data in self._stores.of[resource].items():
                its = wanted.get((kind, key[1])) or _nothing(resource, data)
                patch = change(data, _kept(its, data), now) if its else None
                if patch is None:
                    continue
                if not self._pace():
                    self._is_complete = False
                    return writes
                writes += self._write(resource, key, data, patch)
                self._tell_trouble(data, patch)
        return writes

    def _write(self, resource: Resource, key: Key, data: Data, patch: Data) -> int:
        version = data["metadata"].get("resourceVersion", "")
        body = {"metadata": {"resourceVersion": version}, "status": patch}
        try:
            self._stores.put(resource, self._api.patch(resource, key[1], key[0], body, "status"))
        except ApiError as error:
            if not (error.is_conflict or error.is_not_found):
                log.warning("the status of %s %s is not written: %s", resource.kind, key[1], error)
            self._is_complete = False
            return 0
        except ApiUnreachable as error:
            log.warning("the status of %s %s is not written: %s", resource.kind, key[1], error)
            self._is_complete = False
            return 0
        return 1

    def _tell_trouble(self, data: Data, patch: Data) -> None:
        """An Event for what is wrong with an object and was not before."""
        before = {each["type"]: each for each in (data.get("status") or {}).get("conditions") or ()}
        for each in patch.get("conditions", ()):
            is_bad = each["status"] == ("False" if each["type"] == READY else "True")
            old = before.get(each["type"], {})
            is_known = (old.get("status"), old.get("reason")) == (each["status"], each["reason"])
            if (
                is_bad
                and not is_known
                and each["reason"] != "NotSupported"
                and each["type"] in (READY, "Conflict", "BlockExhausted")
            ):
                self._record(data, each["reason"], each["message"])

    def _tell(self, conditions: tuple[Condition, ...]) -> int:
        """Objects of Kubernetes have no status of ours: they get Events."""
        found = [(each, body) for each in conditions if (body := self._body_of(each))]
        unenforced = self._objects.all(iter(found))
        self.unenforced = counted(unenforced)
        said = 0
        for one in unenforced:
            said += self._record_as(one)
        for each, body in found:
            if each.reason != "NotScheduled" and each.type != "Enforced":
                said += self._record(body, each.reason, each.message)
        return said

    def _body_of(self, condition: Condition) -> Data | None:
        """The object, if it is one of Kubernetes."""
        if condition.kind not in ("Pod", "Service", "EndpointSlice", "Node"):
            return None
        namespace, _, name = condition.name.rpartition("/")
        return self._stores.of[_BY_KIND[condition.kind]].get(namespace, name)

    def _record(self, body: Data, reason: str, message: str) -> bool:
        return self._events.record(
            regarding(body), type="Warning", reason=reason, action="Reconcile", note=message
        )

    def _record_as(self, found: Unenforced) -> bool:
        return self._events.record(
            found.regarding, type="Warning", reason=found.reason, action="Reconcile", note=found.note
        )


def _nothing(resource: Resource, data: Data) -> Wanted | None:
    """An Allocation says something only while something is wrong with it."""
    if resource != resources.ALLOCATIONS or not (data.get("status") or {}).get("conditions"):
        return None
    return Wanted((), dropped=frozenset({READY}))


def _kept(wanted: Wanted, data: Data) -> Wanted:
    """A condition Programmed that says how long it took keeps saying so, when that was before this process."""
    before = {each["type"]: each for each in (data.get("status") or {}).get("conditions") or ()}
    old = before.get("Programmed", {}).get("message", "")
    said = tuple(
        Said(each.type, each.status, each.reason, old)
        if each.type == "Programmed" and each.status and old.startswith(f"{each.message}, in at most")
        else each
        for each in wanted.conditions
    )
    return Wanted(said, wanted.fields, wanted.dropped)
