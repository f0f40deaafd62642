"""A small kube-apiserver for tests: real HTTP, the semantics that Lace SDN relies on, and faults on demand.

    with ApiServer() as server:
        api = Api.connect(server.kubeconfig(folder))

``tests/kube/test_api_contract.py`` says what it has in common with a real one.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import admission
import selectors_of_queries as selectors
import yaml
from api_faults import Faults
from http_side import Http
from kinds import CORE, Served, of_definition
from refusals import Refused, already_exists, bad_request, conflict, expired, invalid
from storage import Storage

from lace_sdn.kube.schemas import custom_resource_definitions

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

Data = dict[str, Any]

BOOKMARKS = 60.0
"""Seconds between the bookmarks of a watch."""
_CONTINUE_LIFE = 300.0


class ApiServer:
    """``requests``: how often each (user agent, verb, group, resource/subresource) was asked for."""

    def __init__(
        self,
        address: tuple[str, int] = ("127.0.0.1", 0),
        *,
        file: Path | None = None,
        with_definitions: bool = True,
        bookmarks: float = BOOKMARKS,
    ) -> None:
        self.storage = Storage(file)
        self.faults = Faults()
        self.requests: Counter[tuple[str, str, str, str]] = Counter()
        self.bookmarks = bookmarks
        self._served: dict[tuple[str, str], Served] = {}
        self._snapshots: dict[str, tuple[float, str, list[Data]]] = {}
        for each in CORE:
            self._served[each.id] = each
        for each in self.storage.objects["apiextensions.k8s.io", "customresourcedefinitions"].values():
            self._define(each)
        if with_definitions:
            for definition in custom_resource_definitions():
                if ("", definition["metadata"]["name"]) not in self.storage.objects[
                    "apiextensions.k8s.io", "customresourcedefinitions"
                ]:
                    self._create(
                        self._served["apiextensions.k8s.io", "customresourcedefinitions"],
                        "",
                        copy.deepcopy(definition),
                        {},
                    )
        for name in ("default", "kube-system"):
            if ("", name) not in self.storage.objects["", "namespaces"]:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                self._create(self._served["", "namespaces"], "", body, {})
        self._http = Http(address, self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._http.server_address[:2]
        return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"

    def kubeconfig(self, folder: Path) -> Path:
        """A file that leads here."""
        path = folder / "kubeconfig"
        path.write_text(kubeconfig_of(self.url))
        return path

    def close(self) -> None:
        self._http.shutdown()
        self._http.break_all()
        self._http.server_close()
        self.storage.close()

    def break_connections(self) -> None:
        """Reset all that are open now, watches too."""
        self._http.break_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What is asked.

    def served(self, group: str, version: str, plural: str) -> Served:
        found = self._served.get((group, plural))
        if found is None or found.version != version:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        return found

    def discovery(self, path: str) -> Data:
        """/api, /apis and the lists of resources."""
        if path == "/version":
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups: dict[str, str] = {
                each.group: each.version for each in self._served.values() if each.group
            }
            entries = [
                {"groupVersion": f"{group}/{version}", "version": version}
                for group, version in groups.items()
            ]
            listed = [
                {"name": group, "versions": [entry], "preferredVersion": entry}
                for group, entry in zip(groups, entries, strict=True)
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        parts = path.strip("/").split("/")
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        its = [each for each in self._served.values() if (each.group, each.version) == (group, version)]
        resources = [
            {
                "name": each.plural + suffix,
                "singularName": each.singular,
                "namespaced": each.is_namespaced,
                "kind": each.kind,
                "verbs": ["get", "patch", "update"]
                if suffix
                else ["create", "delete", "get", "list", "patch", "update", "watch"],
                "shortNames": [] if suffix else list(each.short_names),
            }
            for each in its
            for suffix in ("", "/status")[: 1 + each.has_status]
        ]
        name = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}

    def list(self, served: Served, namespace: str, query: dict[str, str]) -> Data:
        """A page."""
        limit = int(query.get("limit") or 0)
        if token := query.get("continue"):
            found = self._snapshots.get(token)
            if found is None or found[0] < time.monotonic():
                raise Refused(410, "Expired", "The provided continue parameter is too old")
            _, version, rest = found
        else:
            with self.storage.lock:
                version = str(self.storage.version)
                chosen = self.chosen(served, namespace, query)
                rest = [body for _, body in sorted(self.storage.objects[served.id].items()) if chosen(body)]
        page, rest = (rest[:limit], rest[limit:]) if limit else (rest, [])
        metadata: Data = {"resourceVersion": version}
        if rest:
            token = f"{version}.{len(rest)}.{time.monotonic_ns()}"
            self._snapshots[token] = (time.monotonic() + _CONTINUE_LIFE, version, rest)
            metadata |= {"continue": token, "remainingItemCount": len(rest)}
        items = [
            {key: value for key, value in body.items() if key not in ("apiVersion", "kind")} for body in page
        ]
        return {
            "kind": f"{served.kind}List",
            "apiVersion": served.api_version,
            "metadata": metadata,
            "items": items,
        }

    def expire_tokens(self) -> None:
        """Continue tokens that were given out are too old now."""
        self._snapshots.clear()

    def chosen(self, served: Served, namespace: str, query: dict[str, str]) -> Any:
        """Whether an object is one of those that a query asks for. Raises Refused 400."""
        by_labels = selectors.labels(query.get("labelSelector", ""))
        by_fields = selectors.fields(query.get("fieldSelector", ""), served.selectable)
        return lambda body: (
            (not namespace or body["metadata"].get("namespace") == namespace)
            and by_labels(body)
            and by_fields(body)
        )

    def write(  # noqa: PLR0913, PLR0917 - the parts of a request
        self,
        served: Served,
        place: tuple[str, str, str],
        method: str,
        body: Any,
        query: dict[str, str],
        content: str,
    ) -> tuple[int, Data]:
        """``place``: namespace, name, subresource. The answer's code and body."""
        namespace, name, subresource = place
        with self.storage.lock:
            if method == "POST":
                return 201, self._create(served, namespace, body, query)
            if method == "DELETE":
                return 200, self.storage.delete(served, namespace, name, body or {})
            old = self.storage.get(served, namespace, name)
            if method == "PATCH":
                if content != "application/merge-patch+json":
                    raise Refused(
                        415,
                        "UnsupportedMediaType",
                        f"the body of the request was in an unknown format: {content}",
                    )
                body = merged(copy.deepcopy(old), body)
            return 200, self._update(served, old, body, subresource, query)

    def _create(self, served: Served, namespace: str, body: Data, query: dict[str, str]) -> Data:
        body = self._decoded(served, namespace, body)
        metadata = body["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{time.monotonic_ns() % 0xFFFFF:05x}"
        if served.is_namespaced:
            admission.check_namespace(self.storage, metadata["namespace"])
        admission.check_metadata(served, body)
        if (metadata.get("namespace", ""), metadata["name"]) in self.storage.objects[served.id]:
            raise already_exists(served.plural, served.group, metadata["name"])
        if served.has_status and served.kind != "Node":
            body.pop("status", None)
        body = self._admitted(served, body, None, query)
        created = self.storage.create(served, body)
        if served.kind == "CustomResourceDefinition":
            self._define(created)
            status = {"conditions": [{"type": "Established", "status": "True"}]}
            created = self.storage.update(served, {**copy.deepcopy(created), "status": status})
        return created

    def _update(self, served: Served, old: Data, body: Data, subresource: str, query: dict[str, str]) -> Data:
        body = self._decoded(served, old["metadata"].get("namespace", ""), body)
        name = old["metadata"]["name"]
        if body["metadata"].get("name") != name:
            raise bad_request("the name of the object does not match the name on the URL")
        given = body["metadata"].get("resourceVersion")
        if not given and served.schema is not None:
            cause = (
                "FieldValueInvalid",
                "Invalid value: 0x0: must be specified for an update",
                "metadata.resourceVersion",
            )
            raise invalid(served.plural, served.group, name, (cause,))
        if given and given != old["metadata"]["resourceVersion"]:
            raise conflict(served.plural, served.group, name)
        if (uid := body["metadata"].get("uid")) and uid != old["metadata"]["uid"]:
            raise conflict(
                served.plural,
                served.group,
                name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}",
            )
        if subresource == "status":
            status = body.get("status")
            body = copy.deepcopy(old)
            body.pop("status", None)
            if status is not None:
                body["status"] = status
        elif served.has_status:
            body.pop("status", None)
            if "status" in old:
                body["status"] = old["status"]
        admission.check_metadata(served, body)
        body = self._admitted(served, body, old, query)
        updated = self.storage.update(served, copy.deepcopy(body))
        if served.kind == "CustomResourceDefinition":
            self._define(updated)
        return updated

    def _admitted(self, served: Served, body: Data, old: Data | None, query: dict[str, str]) -> Data:
        if served.schema is None:
            return admission.core(served, body, old, self.storage)
        body = admission.custom(served, body, strict=query.get("fieldValidation") == "Strict")
        admission.check_custom(served, body, old)
        return body

    @staticmethod
    def _decoded(served: Served, namespace: str, body: Any) -> Data:
        if not isinstance(body, dict):
            raise bad_request("the body of the request is no object")
        if (body.get("apiVersion"), body.get("kind")) != (served.api_version, served.kind):
            raise bad_request(
                f"the API version in the data ({body.get('apiVersion')}) does not match the expected API version ({served.api_version})"
            )
        metadata = dict(body.get("metadata") or {})
        if served.is_namespaced:
            metadata.setdefault("namespace", namespace or "default")
            if namespace and metadata["namespace"] != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
        else:
            metadata.pop("namespace", None)
        metadata.pop("managedFields", None)
        return {**body, "metadata": metadata}

    def _define(self, definition: Data) -> None:
        served = of_definition(definition)
        self._served[served.id] = served

    def checked_version(self, served: Served, text: str) -> int:
        """Raises Refused 410 for a version that is compacted."""
        version = int(text)
        if version < self.storage.compacted[served.id]:
            raise expired(version, self.storage.compacted[served.id])
        return version

    def name_of(self, served: Served, namespace: str, name: str) -> Data:
        return self.storage.get(served, namespace, name)


def merged(base: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    found = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def kubeconfig_of(url: str) -> str:
    """A kubeconfig for a server at ``url``."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "nobody", "user": {"token": "none"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "nobody"}}],
            "current-context": "fake",
        }
    )


__all__ = ["ApiServer", "kubeconfig_of", "merged"]
