"""Objects of the API server without what nobody reads: tens of thousands are held at once. Pure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.probes import containers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Data = dict[str, Any]

_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)
_WRITER_METADATA: Final = ("resourceVersion", "finalizers")
_CONTAINER: Final = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "restartPolicy")


def trimmed(body: Data, *, with_version: bool = False) -> Data:
    """The same object, smaller. Kinds that are not known here lose only what the server writes for others.

    Without its version, an object that changed only in what nobody reads is equal to what it was.
    """
    trim = _BY_KIND.get(body.get("kind", ""), _rest)
    return {
        "apiVersion": sys.intern(body["apiVersion"]),
        "kind": sys.intern(body["kind"]),
        "metadata": _metadata(body, with_version=with_version),
        **trim(body),
    }


def _metadata(body: Data, *, with_version: bool) -> Data:
    metadata = body["metadata"]
    found = {name: metadata[name] for name in _METADATA if metadata.get(name)}
    if with_version:
        found |= {name: metadata[name] for name in _WRITER_METADATA if metadata.get(name)}
    if "namespace" in found:
        found["namespace"] = sys.intern(found["namespace"])
    if "labels" in found:
        found["labels"] = {sys.intern(key): sys.intern(value) for key, value in found["labels"].items()}
    return found


def _rest(body: Data) -> Data:
    return {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata")}


def _node(body: Data) -> Data:
    return {"status": {"addresses": (body.get("status") or {}).get("addresses") or []}}


def _namespace(_body: Data) -> Data:
    return {}


def _pod(body: Data) -> Data:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    kept = {name: spec[name] for name in ("nodeName", "hostNetwork") if spec.get(name)}
    parts: dict[str, list[Data]] = {}
    for section, container in containers(spec):
        parts.setdefault(str(section[1]), []).append(
            {name: container[name] for name in ("name", *_CONTAINER) if container.get(name)}
        )
    conditions = [
        {"type": each["type"], "status": each["status"]}
        for each in status.get("conditions") or ()
        if each["type"] == "Ready"
    ]
    said = {"phase": status.get("phase", ""), "podIPs": status.get("podIPs") or [], "conditions": conditions}
    return {"spec": kept | parts, "status": {name: value for name, value in said.items() if value}}


def _endpoint_slice(body: Data) -> Data:
    return {
        "addressType": sys.intern(body["addressType"]),
        "endpoints": [_endpoint(each) for each in body.get("endpoints") or ()],
        "ports": [
            {name: port[name] for name in ("name", "protocol", "port") if port.get(name) is not None}
            for port in body.get("ports") or ()
        ],
    }


def _endpoint(entry: Data) -> Data:
    found: Data = {"addresses": entry["addresses"][:1]}
    conditions = {key: value for key, value in (entry.get("conditions") or {}).items() if value is not None}
    # What a slice does not say counts as ready: the most frequent case costs nothing.
    if conditions != {"ready": True, "serving": True, "terminating": False} and conditions:
        found["conditions"] = conditions
    if entry.get("zone"):
        found["zone"] = sys.intern(entry["zone"])
    if entry.get("hints"):
        found["hints"] = entry["hints"]
    reference = entry.get("targetRef") or {}
    if reference.get("kind") == "Pod":
        found["targetRef"] = {
            "kind": "Pod",
            "namespace": sys.intern(reference.get("namespace") or ""),
            "name": reference.get("name", ""),
            "uid": reference.get("uid", ""),
        }
    return found


def _service(body: Data) -> Data:
    spec = {key: value for key, value in body["spec"].items() if value not in (None, "", [], {})}
    return {"spec": spec}


def _own(body: Data) -> Data:
    """Conditions are for those who read them; nobody here does."""
    status = {key: value for key, value in (body.get("status") or {}).items() if key != "conditions"}
    spec = {"spec": body["spec"]} if "spec" in body else {}
    return spec | ({"status": status} if status else {})


def _spec(body: Data) -> Data:
    """What its own controller says of it is for others."""
    return {"spec": body["spec"]}


_BY_KIND: Mapping[str, Callable[[Data], Data]] = {
    "Node": _node,
    "Namespace": _namespace,
    "Pod": _pod,
    "EndpointSlice": _endpoint_slice,
    "Service": _service,
    "Network": _own,
    "NetworkBindingPolicy": _own,
    "NetworkRoutingPolicy": _own,
    "ServiceRoutingPolicy": _own,
    "NetworkEndpoint": _spec,
}
