"""What happens to an object on its way into the fake API server: pruning, defaults, schemas and CEL rules, cluster IPs, NodePorts."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address, ip_network
from itertools import count
from typing import TYPE_CHECKING, Any

from refusals import Refused, bad_request, invalid, not_found

from lace_sdn.kube.cel import violations
from lace_sdn.kube.schemas import Validator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kinds import Served
    from storage import Storage

Data = dict[str, Any]
Cause = tuple[str, str, str]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_REASONS = {
    "required": "FieldValueRequired",
    "enum": "FieldValueNotSupported",
    "type": "FieldValueTypeInvalid",
}
_SERVICE_RANGES = {4: ip_network("10.96.0.0/12"), 6: ip_network("fd00:10:96::/112")}
_NODE_PORTS = range(30_000, 32_768)


def prune(schema: Data, value: Any, path: str, unknown: list[str]) -> Any:
    """Without the fields that the schema does not know, whose paths are collected, and those that are null and must not be."""
    if isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties")
        kept = {}
        for name, part in value.items():
            where = f"{path}.{name}" if path else name
            if name in properties:
                if part is not None or properties[name].get("nullable"):
                    kept[name] = prune(properties[name], part, where, unknown)
            elif isinstance(more, dict):
                kept[name] = prune(more, part, where, unknown)
            else:
                unknown.append(where)
        return kept
    if isinstance(value, list) and "items" in schema:
        return [prune(schema["items"], item, f"{path}[{at}]", unknown) for at, item in enumerate(value)]
    return value


def filled(schema: Data, value: Any) -> Any:
    """With the schema's defaults."""
    if isinstance(value, dict):
        found = dict(value)
        for name, part in schema.get("properties", {}).items():
            if name in found:
                found[name] = filled(part, found[name])
            elif "default" in part:
                found[name] = filled(part, part["default"])
        return found
    if isinstance(value, list) and "items" in schema:
        return [filled(schema["items"], item) for item in value]
    return value


def custom(served: Served, body: Data, *, strict: bool) -> Data:
    """A custom resource pruned and with its defaults. Raises Refused 400 for unknown fields if ``strict``."""
    assert served.schema is not None
    unknown: list[str] = []
    around = {key: body[key] for key in ("apiVersion", "kind", "metadata") if key in body}
    rest = {key: value for key, value in body.items() if key not in around}
    pruned = prune(served.schema, rest, "", unknown)
    if unknown and strict:
        said = ", ".join(f'unknown field "{name}"' for name in unknown)
        raise bad_request(f"strict decoding error: {said}")
    return filled(served.schema, pruned) | around


def check_custom(served: Served, body: Data, old: Data | None) -> None:
    """Raises Refused 422 with all causes."""
    assert served.schema is not None
    causes = [*_schema_causes(served.schema, body), *_twice(served.schema, body)]
    if not causes:
        causes += [
            ("FieldValueInvalid", f"Invalid value: {each.message}", _path(each.path))
            for each in violations(served.schema, body, old)
        ]
    if causes:
        raise invalid(served.kind, served.group, body["metadata"]["name"], tuple(causes))


def _schema_causes(schema: Data, body: Data) -> Iterator[Cause]:
    for error in sorted(
        Validator(schema).iter_errors(body), key=lambda each: list(map(str, each.absolute_path))
    ):
        path = list(error.absolute_path)
        if error.validator == "required":
            missing = str(error.message).partition("'")[2].partition("'")[0]
            yield ("FieldValueRequired", "Required value", _path((*path, missing)))
        else:
            reason = _REASONS.get(str(error.validator), "FieldValueInvalid")
            yield (reason, f"Invalid value: {error.message}", _path(tuple(path)))


def _twice(schema: Data, value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Cause]:
    """Items of lists of type set or map that are there before."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _twice(schema.get("properties", {}).get(name, {}), part, (*path, name))
    if not isinstance(value, list):
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen = []
    for at, item in enumerate(value):
        yield from _twice(schema.get("items", {}), item, (*path, at))
        if schema.get("x-kubernetes-list-type") in ("set", "map"):
            its = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
            if its in seen:
                yield ("FieldValueDuplicate", f"Duplicate value: {json.dumps(its)}", _path((*path, at)))
            seen.append(its)


def _path(steps: Any) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def check_metadata(served: Served, body: Data) -> None:
    """Names and labels. Raises Refused 422."""
    metadata = body["metadata"]
    causes: list[Cause] = []
    name = metadata.get("name", "")
    if not _NAME.fullmatch(name) or len(name) > 253:
        causes.append(
            (
                "FieldValueInvalid",
                f'Invalid value: "{name}": must be a lowercase RFC 1123 subdomain',
                "metadata.name",
            )
        )
    for key, value in (metadata.get("labels") or {}).items():
        if not _LABEL_VALUE.fullmatch(str(value)) or len(str(value)) > 63:
            causes.append(
                (
                    "FieldValueInvalid",
                    f'Invalid value: "{value}": must be a valid label value ({key})',
                    "metadata.labels",
                )
            )
    if causes:
        raise invalid(served.kind, served.group, name, tuple(causes))


def core(served: Served, body: Data, old: Data | None, storage: Storage) -> Data:
    """What Kubernetes itself fills in or refuses for its own kinds, as far as it matters here."""
    if served.kind == "Namespace":
        labels = {
            **(body["metadata"].get("labels") or {}),
            "kubernetes.io/metadata.name": body["metadata"]["name"],
        }
        return {
            **body,
            "metadata": {**body["metadata"], "labels": labels},
            "spec": {"finalizers": ["kubernetes"]},
        }
    if served.kind == "Service":
        return _service(served, body, old, storage)
    if served.kind == "Pod":
        return _pod(served, body, old)
    if served.kind == "EndpointSlice" and old and old["addressType"] != body.get("addressType"):
        raise invalid(
            served.kind,
            served.group,
            body["metadata"]["name"],
            (("FieldValueInvalid", "Invalid value: field is immutable", "addressType"),),
        )
    return body


def _pod(served: Served, body: Data, old: Data | None) -> Data:
    name = body["metadata"]["name"]
    spec = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        **body.get("spec", {}),
    }
    containers = spec.get("containers") or []
    causes: list[Cause] = [] if containers else [("FieldValueRequired", "Required value", "spec.containers")]
    causes += [
        ("FieldValueRequired", "Required value", f"spec.containers[{at}].image")
        for at, container in enumerate(containers)
        if not container.get("image")
    ]
    if old and old["spec"].get("nodeName") and spec.get("nodeName") != old["spec"]["nodeName"]:
        causes.append(
            ("FieldValueForbidden", "Forbidden: pod updates may not change fields other than ...", "spec")
        )
    if causes:
        raise invalid(served.kind, served.group, name, tuple(causes))
    found = {**body, "spec": spec}
    return found if old else {**found, "status": {"phase": "Pending"}}


def _service(served: Served, body: Data, old: Data | None, storage: Storage) -> Data:
    spec = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        **body.get("spec", {}),
    }
    if spec["type"] == "ExternalName":
        return {**body, "spec": spec}
    others = [
        each
        for each in storage.objects[served.id].values()
        if (each["metadata"]["namespace"], each["metadata"]["name"])
        != (body["metadata"]["namespace"], body["metadata"]["name"])
    ]
    ips = _cluster_ips(served, body, spec, old, others)
    spec |= {"clusterIP": ips[0], "clusterIPs": ips}
    if ips != ["None"]:
        spec["ipFamilies"] = [f"IPv{ip_address(ip).version}" for ip in ips]
        spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or (
            "RequireDualStack" if len(ips) == 2 else "SingleStack"
        )
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
        spec["ports"] = _node_ports(served, body, spec, others)
    return {**body, "spec": spec}


def _cluster_ips(served: Served, body: Data, spec: Data, old: Data | None, others: list[Data]) -> list[str]:
    taken = {ip for each in others for ip in each["spec"].get("clusterIPs") or () if ip != "None"}
    asked = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    if old and old["spec"].get("clusterIPs"):
        if asked and asked[0] != old["spec"]["clusterIPs"][0]:
            raise invalid(
                served.kind,
                "",
                body["metadata"]["name"],
                (("FieldValueInvalid", "Invalid value: may not change once set", "spec.clusterIPs[0]"),),
            )
        asked = asked if len(asked) > len(old["spec"]["clusterIPs"]) else old["spec"]["clusterIPs"]
    if asked == ["None"]:
        return asked
    for at, ip in enumerate(asked):
        if ip in taken:
            raise invalid(
                served.kind, "", body["metadata"]["name"],
                (("FieldValueInvalid", f"Invalid value: {ip}: failed to allocate IP {ip}: provided IP is already allocated", f"spec.clusterIPs[{at}]"),),
            )  # fmt: skip
    if asked:
        return list(asked)
    families = [6 if name == "IPv6" else 4 for name in spec.get("ipFamilies") or ["IPv4"]]
    if spec.get("ipFamilyPolicy") in ("PreferDualStack", "RequireDualStack") and len(families) == 1:
        families.append(10 - families[0])
    return [
        next(
            str(_SERVICE_RANGES[family][at])
            for at in count(10)
            if str(_SERVICE_RANGES[family][at]) not in taken
        )
        for family in families
    ]


def _node_ports(served: Served, body: Data, spec: Data, others: list[Data]) -> list[Data]:
    taken = {
        (port.get("protocol", "TCP"), port["nodePort"])
        for each in others
        for port in each["spec"].get("ports") or ()
        if port.get("nodePort")
    }
    found = []
    for at, port in enumerate(spec.get("ports") or ()):
        protocol = port.get("protocol", "TCP")
        number = port.get("nodePort") or next(each for each in _NODE_PORTS if (protocol, each) not in taken)
        if (protocol, number) in taken:
            raise invalid(
                served.kind, "", body["metadata"]["name"],
                (("FieldValueInvalid", f"Invalid value: {number}: provided port is already allocated", f"spec.ports[{at}].nodePort"),),
            )  # fmt: skip
        taken.add((protocol, number))
        found.append({**port, "nodePort": number})
    return found


def check_namespace(storage: Storage, namespace: str) -> None:
    """Raises Refused 404 if there is no such namespace, 403 if it is ending."""
    found = storage.objects["", "namespaces"].get(("", namespace))
    if found is None:
        raise not_found("namespaces", "", namespace)
    if found["metadata"].get("deletionTimestamp"):
        raise Refused(
            403,
            "Forbidden",
            f"unable to create new content in namespace {namespace} because it is being terminated",
        )
