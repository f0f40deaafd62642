"""Schemas of the core kinds: only what is read here; Kubernetes has validated the rest, so other fields are fine."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer", "minimum": 0}
_NAME: Schema = {
    "description": 'a DNS name such as "web-0" (lower case letters, digits, "-" and ".")',
    "type": "string",
    "minLength": 1,
    "maxLength": 253,
    "pattern": SUBDOMAIN,
}
_TIME: Schema = {
    "description": 'a time in UTC such as "2026-01-31T12:00:00Z"',
    "type": ["string", "null"],
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
}
_LABELS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": {
        "description": 'a label value, at most 63 letters, digits, "-", "_" or "."',
        "type": "string",
        "maxLength": 63,
        "pattern": LABEL_VALUE,
    },
}
METADATA: Schema = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _NAME,
        "generateName": _TEXT,
        "namespace": _NAME,
        "labels": _LABELS,
        "annotations": {"type": ["object", "null"], "additionalProperties": _TEXT},
        "creationTimestamp": _TIME,
        "deletionTimestamp": _TIME,
        "deletionGracePeriodSeconds": _NUMBER,
        "uid": _TEXT,
        "generation": _NUMBER,
        "resourceVersion": _TEXT,
        "selfLink": _TEXT,
        "finalizers": {"type": "array", "items": _TEXT},
        "ownerReferences": {"type": "array", "items": {"type": "object"}},
        "managedFields": {"type": "array"},
    },
    "additionalProperties": False,
}

_IP: Schema = {
    "description": 'an IP address such as "10.0.0.2" or "fd00:10::2"',
    "type": "string",
    "pattern": r"^[0-9A-Fa-f:.]+$",
}
PORT_NUMBER: Schema = {
    "description": "a port from 1 to 65535",
    "type": "integer",
    "minimum": 1,
    "maximum": 65535,
}
_PROTOCOL: Schema = {"type": "string", "enum": ["TCP", "UDP", "SCTP"]}
_PORT_OR_NAME: Schema = {"type": ["integer", "string", "null"]}


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _optional(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {**_object(properties, required), "type": ["object", "null"]}


def _array(items: Schema) -> Schema:
    return {"type": ["array", "null"], "items": items}


def _kind(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    """A whole object; ``apiVersion`` and ``kind`` have been read before."""
    return _object({"metadata": METADATA, **properties}, ("metadata", *required))


_NODE = _kind(
    {
        "status": _object(
            {
                "addresses": {
                    **_array(_object({"type": _TEXT, "address": _TEXT}, ("type", "address"))),
                    "description": "the node's underlay address, of type InternalIP",
                }
            },
            ("addresses",),
        )
        | {"description": "status.addresses with the node's InternalIP"},
    },
    ("status",),
)

_CONTAINER_PORT = _object(
    {"containerPort": PORT_NUMBER, "protocol": _PROTOCOL, "name": _TEXT}, ("containerPort",)
)
_CALLED_PORT: Schema = {
    "description": "a port from 1 to 65535, or a name",
    "type": ["integer", "string"],
    "minimum": 1,
    "maximum": 65535,
}
_CALL = _optional({"port": _CALLED_PORT, "host": {"type": ["string", "null"]}}, ("port",))
_HANDLER = _optional(
    {"httpGet": _CALL, "tcpSocket": _CALL, "grpc": _optional({"port": PORT_NUMBER}, ("port",))}
)
_CONTAINER: Schema = {
    "ports": _array(_CONTAINER_PORT),
    "livenessProbe": _HANDLER,
    "readinessProbe": _HANDLER,
    "startupProbe": _HANDLER,
    "lifecycle": _optional({"postStart": _HANDLER, "preStop": _HANDLER}),
}
_POD = _kind(
    {
        "spec": _object(
            {
                "nodeName": {"type": ["string", "null"]},
                "hostNetwork": {"type": ["boolean", "null"]},
                "containers": _array(_object(_CONTAINER)),
                "initContainers": _array(
                    _object({**_CONTAINER, "restartPolicy": {"type": ["string", "null"]}})
                ),
            }
        ),
        "status": _object(
            {
                "conditions": _array(_object({"type": _TEXT, "status": _TEXT}, ("type", "status"))),
                "phase": _TEXT,
                "podIP": _IP,
                "podIPs": {**_array(_object({"ip": _IP}, ("ip",))), "maxItems": 2},
            }
        ),
    },
    ("spec",),
)

_NODE_PORT: Schema = {"type": ["integer", "null"], "minimum": 0, "maximum": 65535}
_SERVICE_PORT = _object(
    {
        "name": _TEXT,
        "port": PORT_NUMBER,
        "protocol": _PROTOCOL,
        "targetPort": _PORT_OR_NAME,
        "nodePort": _NODE_PORT,
    },
    ("port",),
)
_SERVICE = _kind(
    {
        "spec": _object(
            {
                "type": {"type": "string", "enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]},
                "selector": _LABELS,
                "clusterIP": _TEXT,
                "clusterIPs": _array(_TEXT),
                "externalIPs": _array(_TEXT),
                "ports": _array(_SERVICE_PORT),
                "sessionAffinityConfig": {
                    "type": ["object", "null"],
                    "properties": {
                        "clientIP": {
                            "type": ["object", "null"],
                            "properties": {"timeoutSeconds": {"type": ["integer", "null"]}},
                        }
                    },
                },
                "trafficDistribution": {"type": ["string", "null"]},
                "publishNotReadyAddresses": {"type": ["boolean", "null"]},
                "sessionAffinity": {"type": "string", "enum": ["None", "ClientIP"]},
                "internalTrafficPolicy": {"type": "string", "enum": ["Cluster", "Local"]},
                "externalTrafficPolicy": {"type": "string", "enum": ["Cluster", "Local", ""]},
                "healthCheckNodePort": _NODE_PORT,
            }
        ),
    },
    ("spec",),
)

_YES_NO: Schema = {"type": ["boolean", "null"]}
_NAMED = _object({"name": _TEXT}, ("name",))
_SLICE_ENDPOINT = _object(
    {
        "addresses": {"type": "array", "items": _TEXT, "minItems": 1},
        "nodeName": {"type": ["string", "null"]},
        "conditions": _object({"ready": _YES_NO, "serving": _YES_NO, "terminating": _YES_NO}),
        "targetRef": {
            "type": ["object", "null"],
            "properties": {"kind": _TEXT, "name": _TEXT, "namespace": _TEXT},
        },
        "zone": {"type": ["string", "null"]},
        "hints": {
            "type": ["object", "null"],
            "properties": {"forZones": _array(_NAMED), "forNodes": _array(_NAMED)},
        },
    },
    ("addresses",),
)
_ENDPOINT_SLICE = _kind(
    {
        "addressType": {"type": "string", "enum": ["IPv4", "IPv6", "FQDN"]},
        "endpoints": _array(_SLICE_ENDPOINT),
        "ports": _array(
            _object(
                {
                    "name": {"type": ["string", "null"]},
                    "port": {**PORT_NUMBER, "type": ["integer", "null"]},
                    "protocol": _PROTOCOL,
                }
            )
        ),
    },
    ("addressType",),
)

CORE_KINDS: dict[tuple[str, str], tuple[bool, Schema]] = {
    ("v1", "Node"): (False, _NODE),
    ("v1", "Namespace"): (False, _kind({})),
    ("v1", "Pod"): (True, _POD),
    ("v1", "Service"): (True, _SERVICE),
    ("discovery.k8s.io/v1", "EndpointSlice"): (True, _ENDPOINT_SLICE),
}
"""(apiVersion, kind) -> whether it lives in a namespace, and its schema."""
