"""The kinds that manifests may hold, with their schemas: our own from the CRDs (strictly), others from the modules beside.

The CRD files are the one source of truth: what Kubernetes refuses by schema is refused here, unknown fields
too, and its defaults are filled in here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from lace_sdn.kube.cel import violations
from lace_sdn.kube.core_schemas import CORE_KINDS, METADATA, Schema
from lace_sdn.kube.lab_schemas import LAB_KINDS
from lace_sdn.kube.problems import Finding, Path, any_of, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GROUP_VERSION = "lace-cni.io/v1alpha1"
RECORDS = frozenset({"NetworkKey", "NodeState", "ServiceMembership"})
"""Kinds that Lace SDN keeps for itself: nobody writes them, and a folder that has them says nothing by them."""

_TYPE_NAMES = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}
_EXPECTED_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "null": "null",
}


def _pattern(_validator: object, pattern: str, value: object, _schema: object) -> Iterator[ValidationError]:
    """``$`` is the end of the text, as Kubernetes reads it (RE2); for Python alone it would also be before a last line break."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _unique(_validator: object, is_wanted: bool, value: object, _schema: object) -> Iterator[ValidationError]:
    """By look-up: jsonschema compares mappings each with each."""
    if is_wanted and isinstance(value, list):
        texts = {json.dumps(each, sort_keys=True) for each in value}
        if len(texts) < len(value):
            yield ValidationError(f"{value!r} has an item twice")


Validator: type[Draft202012Validator] = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern, "uniqueItems": _unique}
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object; ``schema`` is plain JSON Schema in which unknown fields of our own kinds are errors."""

    api_version: str
    name: str
    is_namespaced: bool
    schema: Schema
    validator: Draft202012Validator
    rules: Schema = field(default_factory=dict)
    """The schema with its CEL rules, of our own kinds."""

    def findings(self, data: Mapping[str, Any]) -> Iterator[Finding]:
        """Everything about ``data`` that the schema does not allow, in the order of fields."""
        errors = self.validator.iter_errors(data)
        for error in sorted(errors, key=lambda found: [str(step) for step in found.absolute_path]):
            yield from _findings(error, self.name)

    def broken_rules(self, data: Mapping[str, Any]) -> Iterator[Finding]:
        """The CEL rules of the CRD that a new object with its defaults breaks."""
        for each in violations(self.rules, data):
            yield Finding(each.path, each.message, f"expected what the CRD demands: {each.rule}")

    def with_defaults(self, data: dict[str, Any]) -> dict[str, Any]:
        """``data`` with the defaults of the schema filled in; ``data`` itself is not changed."""
        filled = _filled(self.schema, data)
        assert isinstance(filled, dict)  # noqa: S101 - the schema of a kind is an object's
        return filled


@cache
def kinds() -> Mapping[tuple[str, str], Kind]:
    """(apiVersion, kind) -> Kind, of everything that a manifest may hold."""
    found = {}
    for (api_version, name), (is_namespaced, schema) in {**CORE_KINDS, **LAB_KINDS}.items():
        found[api_version, name] = Kind(api_version, name, is_namespaced, schema, Validator(schema))
    for definition in custom_resource_definitions():
        kind = _custom_kind(definition["spec"])
        found[kind.api_version, kind.name] = kind
    return found


def custom_resource_definitions() -> Iterator[dict[str, Any]]:
    """The CRDs as Kubernetes gets them."""
    folder = files("lace_sdn.kube") / "crds"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            yield yaml.safe_load(file.read_text(encoding="utf-8"))


def _custom_kind(spec: dict[str, Any]) -> Kind:
    version = spec["versions"][0]
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = METADATA
    schema["required"] = ["metadata", *schema.get("required", ())]
    return Kind(
        f"{spec['group']}/{version['name']}",
        spec["names"]["kind"],
        spec["scope"] == "Namespaced",
        schema,
        Validator(schema),
        version["schema"]["openAPIV3Schema"],
    )


def _strict(schema: Schema) -> Schema:
    """A structural schema as JSON Schema that refuses the fields which Kubernetes would prune."""
    strict = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if "properties" in schema:
        strict["properties"] = {name: _strict(part) for name, part in schema["properties"].items()}
        strict["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        strict["additionalProperties"] = _strict(schema["additionalProperties"])
    if "items" in schema:
        strict["items"] = _strict(schema["items"])
    if schema.get("x-kubernetes-list-type") == "set":
        strict["uniqueItems"] = True
    return strict


def _filled(schema: Schema, value: Any) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        filled = dict(value)
        for name, part in schema["properties"].items():
            if name in filled:
                filled[name] = _filled(part, filled[name])
            elif "default" in part:
                filled[name] = part["default"]
        return filled
    if isinstance(value, list) and "items" in schema:
        return [_filled(schema["items"], item) for item in value]
    return value


def _findings(error: ValidationError, kind: str) -> Iterator[Finding]:
    """One error of jsonschema as what was found and what is expected, in our words."""
    path: Path = tuple(error.absolute_path)
    schema = cast("Schema", error.schema)
    value: Any = error.instance
    match error.validator:
        case "additionalProperties":
            allowed = sorted(schema.get("properties", {}))
            for name in sorted(set(value) - set(allowed)):
                yield _unknown_field((*path, name), allowed, kind)
        case "required":
            # jsonschema reports each missing field by itself, naming it only in its message.
            missing = str(error.message).partition("'")[2].partition("'")[0]
            yield Finding((*path, missing), "is missing", _meaning(schema, missing))
        case "type":
            yield Finding(path, f"{quoted(value)} is {_TYPE_NAMES[type(value)]}", _types(schema["type"]))
        case _:
            yield _limit(error, path, schema)


def _limit(error: ValidationError, path: Path, schema: Schema) -> Finding:
    """A value of the right type that is not allowed."""
    value, wanted = quoted(error.instance), cast("Any", error.validator_value)
    malformed = ("is malformed", schema.get("description", wanted))
    phrases = {
        "enum": ("is unknown", any_of(wanted) if isinstance(wanted, list) else ""),
        "pattern": malformed,
        "minLength": malformed,
        "maxLength": malformed,
        "minimum": ("is too small", f"at least {wanted}"),
        "maximum": ("is too large", f"at most {wanted}"),
        "minItems": ("has too few items", f"at least {wanted}"),
        "maxItems": ("has too many items", f"at most {wanted}"),
        "maxProperties": ("has too many items", f"at most {wanted}"),
        "uniqueItems": ("has an item twice", "each item once"),
    }
    found, expected = phrases.get(str(error.validator), ("is refused", error.message))
    return Finding(path, f"{value} {found}", f"expected {expected}")


def _types(wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    return "expected " + " or ".join(_EXPECTED_TYPES[name] for name in names)


def _unknown_field(path: Path, allowed: list[str], kind: str) -> Finding:
    close = get_close_matches(str(path[-1]), allowed, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return Finding(path, f"is no field of {kind}", f"{hint}expected {any_of(allowed)}")


def _meaning(schema: Schema, name: str) -> str:
    described = schema.get("properties", {}).get(name, {}).get("description", "")
    return f"expected {described or 'a value'}"
