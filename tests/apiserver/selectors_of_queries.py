"""Label and field selectors as queries write them (Kubernetes: "Labels and Selectors", "Field Selectors")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from refusals import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Data = dict[str, Any]
_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s,()]*)$")
_EXISTS = re.compile(r"^(?P<not>!?)\s*(?P<key>[^\s!=,()]+)$")


def labels(text: str) -> Callable[[Data], bool]:
    """Whether an object's labels match. Raises Refused 400."""
    terms = [_term(part.strip()) for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    return lambda body: all(term(body["metadata"].get("labels") or {}) for term in terms)


def _term(text: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(text):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["operator"] == "in":
            return lambda its: its.get(key) in values
        return lambda its: its.get(key) not in values
    if found := _EQUAL.match(text):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda its: its.get(key) != value
        return lambda its: its.get(key) == value
    if found := _EXISTS.match(text):
        key = found["key"]
        if found["not"]:
            return lambda its: key not in its
        return lambda its: key in its
    raise bad_request(f"unable to parse requirement: {text!r}")


def fields(text: str, selectable: Sequence[str]) -> Callable[[Data], bool]:
    """Whether an object's fields match; only some can be asked for. Raises Refused 400."""
    terms = []
    for part in filter(None, text.split(",")):
        key, operator, value = re.split(r"(==|!=|=)", part, maxsplit=1)
        if key not in ("metadata.name", "metadata.namespace", *selectable):
            raise bad_request(f'field label not supported: "{key}"')
        terms.append((key.split("."), operator != "!=", value))
    return lambda body: all((_at(body, path) == value) is wanted for path, wanted, value in terms)


def _at(body: Any, path: Sequence[str]) -> str:
    for step in path:
        body = (body or {}).get(step)
    return "" if body is None else str(body)
