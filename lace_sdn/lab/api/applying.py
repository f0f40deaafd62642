"""Bringing an API server to the objects of a lab: what differs is written, what the lab wrote before and does not want any more goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError
from lace_sdn.kube.api.store import key_of
from lace_sdn.kube.schemas import custom_resource_definitions
from lace_sdn.lab import LabError
from lace_sdn.lab.api.objects import DIGEST, LAB_LABEL, WRITTEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.lab.api.objects import Wanted

Key = tuple[str, str, str]

_DEFINITIONS = resources.Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", is_namespaced=False
)
_ESTABLISHED_WITHIN = 30.0
_GONE_WITHIN = 30.0
_INTERVAL = 0.1


def install_definitions(api: Api) -> None:
    """The CRDs as this version has them. Raises LabError if the server does not take them up."""
    for definition in custom_resource_definitions():
        name = definition["metadata"]["name"]
        try:
            api.create(_DEFINITIONS, definition)
        except ApiError as error:
            if not error.is_already_exists:
                raise
            present = api.get(_DEFINITIONS, name)
            body = {**present, "spec": definition["spec"]}
            api.replace(_DEFINITIONS, body)
    deadline = time.monotonic() + _ESTABLISHED_WITHIN
    for definition in custom_resource_definitions():
        name = definition["metadata"]["name"]
        while not _is_established(api.get(_DEFINITIONS, name)):
            if time.monotonic() > deadline:
                raise LabError(f"the API server does not serve {name} within {_ESTABLISHED_WITHIN:.0f} s")
            time.sleep(_INTERVAL)


def apply(api: Api, lab: str, objects: Iterable[Wanted]) -> None:
    """Write what differs, then remove what this lab wrote before and is not among ``objects``.

    A pod whose manifest changed is deleted and created; so is a Network, with its pods, if what changed can never change. Raises LabError
    naming the object that the server refuses.
    """
    objects = tuple(objects)
    there = {key: body for resource in WRITTEN for key, body in _written(api, lab, resource)}
    wanted = {each.key for each in objects}
    remove(api, [(key, there[key]) for key in reversed(there) if key not in wanted])
    for each in objects:
        try:
            _write(api, each, there.get(each.key))
        except ApiError as error:
            if not (error.is_invalid and each.resource is resources.NETWORKS and each.key in there):
                raise LabError(f"{each.resource.kind} {each.namespace}/{each.name}: {error}") from None
            _empty(api, each.name, there)
            remove(api, [(each.key, there.pop(each.key))])
            _write(api, each, None)


def _empty(api: Api, network: str, there: dict[Key, dict[str, Any]]) -> None:
    """Remove the pods of a network, which would hold it."""
    endpoints, _ = api.list(resources.NETWORK_ENDPOINTS, field_selector=f"spec.network={network}")
    keys = ((resources.PODS.kind, *key_of(each)) for each in endpoints)
    remove(api, [(key, there.pop(key)) for key in keys if key in there])


def remove_all(api: Api, lab: str) -> None:
    """Everything that the lab has written, in the opposite order. Raises LabError naming what does not go."""
    there = [found for resource in WRITTEN for found in _written(api, lab, resource)]
    remove(api, list(reversed(there)))


def remove(api: Api, objects: Iterable[tuple[Key, dict[str, Any]]]) -> None:
    """Delete these, and wait until they are gone: finalizers may hold them. Raises LabError naming what does not go."""
    by_kind = {resource.kind: resource for resource in WRITTEN}
    leaving = []
    for (kind, namespace, name), body in objects:
        resource = by_kind[kind]
        try:
            api.delete(resource, name, namespace, uid=body["metadata"]["uid"])
        except ApiError as error:
            if not error.is_not_found:
                raise
        leaving.append((resource, namespace, name, body["metadata"]["uid"]))
    deadline = time.monotonic() + _GONE_WITHIN
    while leaving:
        leaving = [each for each in leaving if _is_there(api, *each)]
        if not leaving:
            return
        if time.monotonic() > deadline:
            resource, namespace, name, _ = leaving[0]
            full = f"{namespace}/{name}" if namespace else name
            raise LabError(
                f"{len(leaving)} objects are still being deleted after {_GONE_WITHIN:.0f} s, the first: {resource.kind} {full}; "
                f"`kubectl get {resource.plural} {name} -o yaml` shows its finalizers"
            )
        time.sleep(_INTERVAL)


def _write(api: Api, wanted: Wanted, present: dict[str, Any] | None) -> None:
    resource = wanted.resource
    if present and _digest(present) == wanted.digest:
        return
    if present and resource is resources.PODS:
        remove(api, [(wanted.key, present)])
        present = None
    _ = _create(api, wanted) if present is None else _replace(api, wanted, present)
    if wanted.status is not None:
        body = {"status": dict(wanted.status)}
        api.patch(resource, wanted.name, wanted.namespace, body, subresource="status")


def _create(api: Api, wanted: Wanted) -> dict[str, Any]:
    try:
        return api.create(wanted.resource, dict(wanted.body))
    except ApiError as error:
        if not error.is_already_exists:
            raise
    # Somebody else's, such as a namespace that was there: it is taken over, and so removed with the lab, only if it is ours to replace.
    present = api.get(wanted.resource, wanted.name, wanted.namespace)
    if wanted.resource is resources.NAMESPACES:
        labels = {"metadata": {"labels": {**wanted.body["metadata"]["labels"], LAB_LABEL: None}}}
        return api.patch(wanted.resource, wanted.name, "", labels)
    raise LabError(
        f"{wanted.resource.kind} {wanted.namespace}/{wanted.name} is in the API server already and is not of this lab "
        f"(label {LAB_LABEL} is {present['metadata'].get('labels', {}).get(LAB_LABEL)!r}); it is left alone"
    )


def _replace(api: Api, wanted: Wanted, present: dict[str, Any]) -> dict[str, Any]:
    metadata = {**present["metadata"], **wanted.body["metadata"]}
    body = {**wanted.body, "metadata": metadata}
    if wanted.resource is resources.SERVICES:
        # Fields that the server has given stay: they are immutable (Service: clusterIP).
        body["spec"] = {**_given(present["spec"]), **body["spec"]}
    return api.replace(wanted.resource, body)


def _given(spec: dict[str, Any]) -> dict[str, Any]:
    names = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    return {name: spec[name] for name in names if name in spec}


def _written(api: Api, lab: str, resource: Resource) -> Iterator[tuple[Key, dict[str, Any]]]:
    found, _ = api.list(resource, label_selector=f"{LAB_LABEL}={lab}")
    for body in found:
        metadata = body["metadata"]
        yield (resource.kind, metadata.get("namespace", ""), metadata["name"]), body


def _digest(body: dict[str, Any]) -> str:
    return str((body["metadata"].get("annotations") or {}).get(DIGEST, ""))


def _is_there(api: Api, resource: Resource, namespace: str, name: str, uid: str) -> bool:
    try:
        return bool(api.get(resource, name, namespace)["metadata"]["uid"] == uid)
    except ApiError as error:
        if error.is_not_found:
            return False
        raise


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
