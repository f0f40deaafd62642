"""An API server in memory: the calls of the client, with the versions, conflicts, finalizers and watch events of a real one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api.client import ApiError

if TYPE_CHECKING:
    from lace_sdn.kube.api.resources import Resource

Data = dict[str, Any]
Key = tuple[str, str]


@dataclass
class MemoryServer:
    """``log``: (resource, key, object or None) of every change, as watches bring them."""

    objects: dict[Resource, dict[Key, Data]] = field(default_factory=dict)
    log: list[tuple[Resource, Key, Data | None]] = field(default_factory=list)
    version: int = 0
    uids: int = 0

    def of(self, resource: Resource) -> dict[Key, Data]:
        return self.objects.setdefault(resource, {})

    def get(self, resource: Resource, name: str, namespace: str = "") -> Data:
        return deepcopy(self._found(resource, name, namespace))

    def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[list[Data], str]:
        assert not label_selector
        found = [deepcopy(each) for key, each in self.of(resource).items() if namespace in ("", key[0])]
        for term in filter(None, field_selector.split(",")):
            path, _, value = term.partition("=")
            found = [each for each in found if _field(each, path) == value]
        return found, str(self.version)

    def create(self, resource: Resource, body: Data) -> Data:
        meta = body["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        if key in self.of(resource):
            raise _error(409, "AlreadyExists", resource, key)
        self.uids += 1
        data = deepcopy(body)
        data["metadata"] |= {"uid": f"u{self.uids}", "generation": 1, "creationTimestamp": self._now()}
        data.setdefault("kind", resource.kind)
        return self._store(resource, key, data)

    def patch(self, resource: Resource, name: str, namespace: str, body: Data, subresource: str = "") -> Data:
        old = self._found(resource, name, namespace)
        asked = body.get("metadata", {}).get("resourceVersion")
        if asked is not None and asked != old["metadata"]["resourceVersion"]:
            raise _error(409, "Conflict", resource, (namespace, name))
        if subresource:
            new = {**deepcopy(old), "status": _merged(old.get("status") or {}, body.get("status", {}))}
        else:
            new = _merged(old, {part: value for part, value in body.items() if part != "status"})
        for fixed in ("uid", "resourceVersion", "creationTimestamp"):
            new["metadata"][fixed] = old["metadata"][fixed]
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] += 1
        if new == old:
            return deepcopy(old)
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            return self._remove(resource, (namespace, name), new)
        return self._store(resource, (namespace, name), new)

    def delete(
        self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        data = self._found(resource, name, namespace)
        meta = data["metadata"]
        if (uid and uid != meta["uid"]) or (resource_version and resource_version != meta["resourceVersion"]):
            raise _error(409, "Conflict", resource, (namespace, name))
        if not meta.get("finalizers"):
            self._remove(resource, (namespace, name), data)
        elif not meta.get("deletionTimestamp"):
            data = deepcopy(data)
            data["metadata"]["deletionTimestamp"] = self._now()
            self._store(resource, (namespace, name), data)

    def _now(self) -> str:
        return f"2026-01-01T00:{self.version // 60 % 60:02}:{self.version % 60:02}Z"

    def _found(self, resource: Resource, name: str, namespace: str) -> Data:
        data = self.of(resource).get((namespace, name))
        if data is None:
            raise _error(404, "NotFound", resource, (namespace, name))
        return data

    def _store(self, resource: Resource, key: Key, data: Data) -> Data:
        self.version += 1
        data["metadata"]["resourceVersion"] = str(self.version)
        self.of(resource)[key] = data
        self.log.append((resource, key, deepcopy(data)))
        return deepcopy(data)

    def _remove(self, resource: Resource, key: Key, data: Data) -> Data:
        self.version += 1
        del self.of(resource)[key]
        self.log.append((resource, key, None))
        return deepcopy(data)


def _field(data: Data, path: str) -> Any:
    for step in path.split("."):
        data = data.get(step, {})
    return data


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = _merged(new.get(name), value)
    return deepcopy(new)


def _error(status: int, reason: str, resource: Resource, key: Key) -> ApiError:
    return ApiError(status, reason, f"{resource.plural} {'/'.join(filter(None, key))}")
