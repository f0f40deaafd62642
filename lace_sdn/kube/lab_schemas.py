"""The schema of ``ExternalHost``, which only the lab has: no API server knows the kind, so every field of it is said here."""

from __future__ import annotations

from lace_sdn.kube.core_schemas import METADATA, PORT_NUMBER, SUBDOMAIN, Schema

_ADDRESSES: Schema = {
    "description": "its addresses on the underlay",
    "type": "array",
    "minItems": 1,
    "maxItems": 16,
    "items": {"type": "string"},
}
_LISTENER: Schema = {
    "type": "object",
    "required": ["port"],
    "properties": {
        "protocol": {"type": "string", "enum": ["TCP", "UDP"], "default": "TCP"},
        "port": PORT_NUMBER,
    },
    "additionalProperties": False,
}
_GATEWAY: Schema = {
    "description": 'the name of a Node such as "node-1"',
    "type": "string",
    "maxLength": 253,
    "pattern": SUBDOMAIN,
}
_EXTERNAL_HOST: Schema = {
    "type": "object",
    "required": ["metadata", "spec"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": METADATA,
        "spec": {
            "description": "spec.addresses with its addresses on the underlay",
            "type": "object",
            "required": ["addresses"],
            "properties": {
                "addresses": _ADDRESSES,
                "ports": {"type": "array", "maxItems": 64, "items": _LISTENER, "default": []},
                "gateway": _GATEWAY,
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}

LAB_KINDS: dict[tuple[str, str], tuple[bool, Schema]] = {
    ("lab.lace-cni.io/v1alpha1", "ExternalHost"): (False, _EXTERNAL_HOST),
}
"""(apiVersion, kind) -> whether it lives in a namespace, and its schema."""
