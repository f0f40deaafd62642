"""The objects of the fake API server: versions, the log that watches read, owners, finalizers, and a file to survive in."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from refusals import conflict, not_found

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kinds import Served

Data = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""
Id = tuple[str, str]
"""Group and plural."""

KEPT_EVENTS = 20_000
"""Of each resource; older versions are compacted."""
_ORPHAN_AGE = 0.2
"""Seconds after which an object whose owner is not there is collected."""


@dataclass
class Event:
    """``old``: what it was before; lines are made once, however many watch."""

    version: int
    kind: str
    body: Data
    old: Data | None
    lines: dict[str, bytes] = field(default_factory=dict)

    def line(self, kind: str) -> bytes:
        """As a watch says it; ``kind`` may be another than ``self.kind`` for one with a selector."""
        if kind not in self.lines:
            # An object that leaves a selector arrives as it was, with the version of the change.
            body = self.body
            if kind == "DELETED" and self.kind != "DELETED" and self.old is not None:
                body = {
                    **self.old,
                    "metadata": {**self.old["metadata"], "resourceVersion": str(self.version)},
                }
            self.lines[kind] = (
                json.dumps({"type": kind, "object": body}, separators=(",", ":")).encode() + b"\n"
            )
        return self.lines[kind]


class Storage:
    """Safe for many threads. Bodies that are stored are never changed."""

    def __init__(self, file: Path | None = None) -> None:
        """``file``: a journal that is read first and written on."""
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.version = 1
        self.compacted: dict[Id, int] = defaultdict(int)
        self.objects: dict[Id, dict[Key, Data]] = defaultdict(dict)
        self.logs: dict[Id, list[Event]] = defaultdict(list)
        self._by_uid: dict[str, tuple[Id, Key]] = {}
        self._dependents: dict[str, set[tuple[Id, Key]]] = defaultdict(set)
        self._garbage: list[tuple[float, Id, Key, str]] = []
        self._ended = False
        self._journal = None
        if file is not None:
            self._replay(file)
            self._journal = file.open("a", buffering=1)
        self._collector = threading.Thread(target=self._collect, daemon=True)
        self._collector.start()

    def close(self) -> None:
        with self.lock:
            self._ended = True
            self.changed.notify_all()
        self._collector.join()
        if self._journal:
            self._journal.close()

    def get(self, served: Served, namespace: str, name: str) -> Data:
        found = self.objects[served.id].get((namespace, name))
        if found is None:
            raise not_found(served.plural, served.group, name)
        return found

    def create(self, served: Served, body: Data) -> Data:
        """The name must be free. Fills in what the server gives."""
        metadata = {
            **body["metadata"],
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
            "generation": 1,
        }
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"):
            metadata.pop(name, None)
        return self._store(served.id, "ADDED", {**body, "metadata": metadata}, None)

    def update(self, served: Served, body: Data) -> Data:
        """The body with its name's present uid; the same as before is no write."""
        old = self.get(served, body["metadata"].get("namespace", ""), body["metadata"]["name"])
        metadata = body["metadata"]
        for name in (
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ):
            if name in old["metadata"]:
                metadata[name] = old["metadata"][name]
            else:
                metadata.pop(name, None)
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        if _spec(body) != _spec(old):
            metadata["generation"] = old["metadata"]["generation"] + 1
        if body == old:
            return old
        if (
            metadata.get("deletionTimestamp")
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
        ):
            return self._end(served.id, body)
        return self._store(served.id, "MODIFIED", body, old)

    def delete(self, served: Served, namespace: str, name: str, options: Data) -> Data:
        """Begin to delete, or do it. Raises Refused 404, and 409 for other preconditions."""
        old = self.get(served, namespace, name)
        wanted = options.get("preconditions") or {}
        for field_name in ("uid", "resourceVersion"):
            if field_name in wanted and wanted[field_name] != old["metadata"][field_name]:
                why = f"Precondition failed: {field_name} in precondition: {wanted[field_name]}, in object meta: {old['metadata'][field_name]}"
                raise conflict(served.plural, served.group, name, why)
        grace = _grace(served, old, options)
        if not old["metadata"].get("finalizers") and not grace:
            return self._end(served.id, old)
        metadata = dict(old["metadata"])
        if metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds", 0) <= grace:
            return old
        metadata.setdefault("deletionTimestamp", now())
        metadata["deletionGracePeriodSeconds"] = grace
        metadata["generation"] = metadata["generation"] + 1
        return self._store(served.id, "MODIFIED", {**old, "metadata": metadata}, old)

    def expire(self) -> None:
        """Forget all versions but the present one: whoever watches must list again."""
        with self.lock:
            self.version += 1
            self.logs.clear()
            # Of resources too that nobody has asked for yet.
            self.compacted = defaultdict(lambda at=self.version: at)
            self.changed.notify_all()

    def _store(self, resource: Id, kind: str, body: Data, old: Data | None) -> Data:
        with self.lock:
            self.version += 1
            body["metadata"]["resourceVersion"] = str(self.version)
            self._index(resource, body, old)
            self._log(resource, Event(self.version, kind, body, old))
            return body

    def _end(self, resource: Id, old: Data) -> Data:
        with self.lock:
            self.version += 1
            body = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
            uid = body["metadata"]["uid"]
            self.objects[resource].pop(_key(body), None)
            self._by_uid.pop(uid, None)
            for owner in _owners(body):
                self._dependents[owner].discard((resource, _key(body)))
            for its, key in self._dependents.pop(uid, ()):
                self._garbage.append((time.monotonic(), its, key, uid))
            self._log(resource, Event(self.version, "DELETED", body, old))
            return body

    def _index(self, resource: Id, body: Data, old: Data | None) -> None:
        key = _key(body)
        self.objects[resource][key] = body
        self._by_uid[body["metadata"]["uid"]] = (resource, key)
        owners = _owners(body)
        for owner in (_owners(old) if old else set()) - owners:
            self._dependents[owner].discard((resource, key))
        for owner in owners:
            self._dependents[owner].add((resource, key))
            if owner not in self._by_uid:
                self._garbage.append((time.monotonic() + _ORPHAN_AGE, resource, key, owner))

    def _log(self, resource: Id, event: Event) -> None:
        log = self.logs[resource]
        log.append(event)
        if len(log) > KEPT_EVENTS:
            self.compacted[resource] = log[KEPT_EVENTS // 2].version
            del log[: KEPT_EVENTS // 2 + 1]
        if self._journal:
            self._journal.write(json.dumps([resource, event.kind, event.body]) + "\n")
        self.changed.notify_all()

    def _collect(self) -> None:
        """Delete what no owner is left of."""
        with self.lock:
            while not self._ended:
                due = [each for each in self._garbage if each[0] <= time.monotonic()]
                self._garbage = [each for each in self._garbage if each not in due]
                for _, resource, key, owner in due:
                    body = self.objects[resource].get(key)
                    if body and owner in _owners(body) and owner not in self._by_uid:
                        self._collected(resource, body)
                self.changed.wait(0.05 if self._garbage else 1.0)

    def _collected(self, resource: Id, body: Data) -> None:
        if any(owner in self._by_uid for owner in _owners(body)):
            return
        if body["metadata"].get("finalizers"):
            metadata = {**body["metadata"], "deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
            self._store(resource, "MODIFIED", {**body, "metadata": metadata}, body)
        else:
            self._end(resource, body)

    def _replay(self, file: Path) -> None:
        if not file.exists():
            return
        for line in file.read_text().splitlines():
            try:
                resource, kind, body = json.loads(line)
            except ValueError:
                continue  # a line that was being written
            self.version = max(self.version, int(body["metadata"]["resourceVersion"]))
            if kind == "DELETED":
                self.objects[tuple(resource)].pop(_key(body), None)
            else:
                self._index(tuple(resource), body, self.objects[tuple(resource)].get(_key(body)))
        self._garbage = [each for each in self._garbage if each[3] not in self._by_uid]
        for resource in self.objects:
            self.compacted[resource] = self.version

    def events_after(self, resource: Id, version: int) -> Iterator[Event]:
        """Of one resource, in order. Called with the lock held."""
        log = self.logs[resource]
        low, high = 0, len(log)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if log[middle].version <= version else (low, middle)
        return iter(log[low:])


def now() -> str:
    """RFC 3339, seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _key(body: Data) -> Key:
    return (body["metadata"].get("namespace", ""), body["metadata"]["name"])


def _owners(body: Data) -> set[str]:
    return {each["uid"] for each in body["metadata"].get("ownerReferences") or ()}


def _spec(body: Data) -> Data:
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}


def _grace(served: Served, old: Data, options: Data) -> int:
    if served.kind != "Pod" or not old["spec"].get("nodeName"):
        return 0
    if (old.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    return int(asked if asked is not None else old["spec"].get("terminationGracePeriodSeconds", 30))
