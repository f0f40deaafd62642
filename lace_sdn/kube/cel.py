"""The rules of CRDs (``x-kubernetes-validations``), evaluated as the API server does.

Source: Kubernetes, "Common Expression Language in Kubernetes" (extension libraries IP and CIDR) and "Validation rules" of
CustomResourceDefinitions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

import cel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lace_sdn.kube.problems import Path

Data = dict[str, Any]

_NOTHING = object()
_OLD = re.compile(r"\boldSelf\b")


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold for the value at ``path``; or that could not be evaluated, which ``message`` says."""

    path: Path
    message: str
    rule: str


def violations(schema: Mapping[str, Any], value: Any, old: Any = _NOTHING) -> Iterator[Violation]:
    """All rules of a structural schema that ``value`` breaks, from the outside in; ``old``: what the object was, None or nothing at its creation.

    Rules that name ``oldSelf`` hold between two values of one field; items of lists belong together by the keys of a list of type map.
    """
    yield from _within(schema, value, _NOTHING if old is None else old, ())


def _within(schema: Mapping[str, Any], value: Any, old: Any, path: Path) -> Iterator[Violation]:
    for each in schema.get("x-kubernetes-validations", ()):
        if violation := _judged(each, value, old, path):
            yield violation
    if isinstance(value, dict):
        more = schema.get("additionalProperties")
        for name, part in value.items():
            its = schema.get("properties", {}).get(name, more)
            if isinstance(its, dict):
                before = old.get(name, _NOTHING) if isinstance(old, dict) else _NOTHING
                yield from _within(its, part, before, (*path, name))
    elif isinstance(value, list) and "items" in schema:
        find = _correlated(schema, old)
        for index, item in enumerate(value):
            yield from _within(schema["items"], item, find(item), (*path, index))


def _correlated(schema: Mapping[str, Any], old: Any) -> Callable[[Any], Any]:
    """Item -> what it was before."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") != "map" or not keys or not isinstance(old, list):
        return lambda _item: _NOTHING
    before = {tuple(item.get(key) for key in keys): item for item in old}
    return lambda item: before.get(tuple(item.get(key) for key in keys), _NOTHING)


def _judged(each: Mapping[str, Any], value: Any, old: Any, path: Path) -> Violation | None:
    rule = each["rule"]
    context = cel.Context()
    for name, function in _FUNCTIONS.items():
        context.add_function(name, function)
    context.add_variable("self", value)
    if _OLD.search(rule):
        if old is _NOTHING:
            return None
        context.add_variable("oldSelf", old)
    try:
        holds = _compiled(rule).execute(context)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the rule does not hold
        return Violation(path, f"rule {rule!r} cannot be evaluated: {error}", rule)
    return (
        None if holds is True else Violation(path, str(each.get("message") or f"failed rule: {rule}"), rule)
    )


@cache
def _compiled(rule: str) -> Any:
    return cel.compile(rule)


# Values of the extension types are mappings, which are compared by what they hold.
_CIDR, _IP = "cidr", "ip"


def _is_cidr(text: Any) -> bool:
    """No zone, no IPv4-mapped address, no leading zeros, a length in digits."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9A-Fa-f.:]+/(0|[1-9][0-9]{0,2})", text):
        return False
    try:
        found = ip_interface(text)
    except ValueError:
        return False
    return found.version == 4 or found.ip.ipv4_mapped is None


def _is_ip(text: Any) -> bool:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9A-Fa-f.:]+", text):
        return False
    try:
        found = ip_address(text)
    except ValueError:
        return False
    return found.version == 4 or found.ipv4_mapped is None


def _cidr(text: str) -> Data:
    if not _is_cidr(text):
        raise ValueError(f"{text!r} is no CIDR")
    return {_CIDR: str(ip_interface(text))}


def _ip(of: Any) -> Data:
    """``ip("10.0.0.1")``, and ``cidr("10.0.0.1/8").ip()``."""
    if isinstance(of, dict):
        return {_IP: str(ip_interface(of[_CIDR]).ip)}
    if not _is_ip(of):
        raise ValueError(f"{of!r} is no IP address")
    return {_IP: str(ip_address(of))}


def _family(of: Data) -> int:
    return ip_address(of[_IP]).version


def _masked(of: Data) -> Data:
    return {_CIDR: str(ip_interface(of[_CIDR]).network)}


def _prefix_length(of: Data) -> int:
    return ip_interface(of[_CIDR]).network.prefixlen


def _contains_ip(of: Data, address: Any) -> bool:
    found = _ip(address) if isinstance(address, str) else address
    return ip_address(found[_IP]) in ip_interface(of[_CIDR]).network


def _contains_cidr(of: Data, other: Any) -> bool:
    outer = ip_interface(of[_CIDR]).network
    inner = ip_interface((_cidr(other) if isinstance(other, str) else other)[_CIDR]).network
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "isCIDR": _is_cidr,
    "isIP": _is_ip,
    "cidr": _cidr,
    "ip": _ip,
    "family": _family,
    "masked": _masked,
    "prefixLength": _prefix_length,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
}
