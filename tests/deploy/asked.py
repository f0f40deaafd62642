"""What the operator and a node's controller ask the API server, read from their source: every call of the client, by verb and resource."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, NamedTuple

from deployment import ROOT

from lace_sdn.controller import api_world
from lace_sdn.kube.api import resources
from lace_sdn.operator import reporter, stores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.kube.api.resources import Resource

VERBS: Final = {name: name for name in ("get", "list", "create", "patch", "delete")} | {"replace": "update"}
_SUBRESOURCE: Final = 4
"""The place of this argument of ``Api.patch``."""


class Call(NamedTuple):
    """``resource``: a constant of ``resources``, or a variable's name in small letters; ``subresource``: "" for none."""

    verb: str
    resource: str
    subresource: str


def calls(files: Iterable[str]) -> set[Call]:
    """Of ``api.VERB(RESOURCE, ...)``, however the client is held; and of ``_read(RESOURCE, ...)``, which gets one object."""
    found = set()
    for name in files:
        for path in sorted((ROOT / "lace_sdn").glob(name)):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    found |= set(_call(node, node.func))
    return found


def _call(node: ast.Call, called: ast.Attribute) -> Iterator[Call]:
    holder = ast.unparse(called.value).rpartition(".")[2]
    verb = VERBS.get(called.attr) if holder in ("api", "_api") else None
    if called.attr == "_read" and holder == "self" and len(node.args) > 1:
        verb = "get"
    if verb is None:
        return
    words = [ast.unparse(each) for each in node.args]
    named = {each.arg: ast.unparse(each.value) for each in node.keywords}
    place = words[_SUBRESOURCE] if verb == "patch" and len(words) > _SUBRESOURCE else "''"
    subresource = named.get("subresource", place).strip("'")
    yield Call(verb, words[0].rpartition(".")[2], subresource)


def _asked(found: Iterable[Call], variables: dict[Call, Iterable[Resource]]) -> set[tuple[str, str, str]]:
    """``variables``: which resources a call with a variable is about. A call that is not explained is an error."""
    asked = set()
    for call in found:
        if call.resource.isupper():
            its: Iterable[Resource] = [getattr(resources, call.resource)]
        else:
            its = variables[call]
        suffix = f"/{call.subresource}" if call.subresource else ""
        asked |= {(call.verb, each.group, each.plural + suffix) for each in its}
    return asked


def _watched(its: Iterable[Resource]) -> set[tuple[str, str, str]]:
    return {(verb, each.group, each.plural) for verb in ("list", "watch") for each in its}


def by_operator() -> set[tuple[str, str, str]]:
    """Verb, group, resource/subresource."""
    found = calls(["operator/*.py", "kube/api/elector.py", "kube/api/events.py"])
    variables: dict[Call, Iterable[Resource]] = {
        Call("get", "resource", ""): (),  # Writer._read: its callers are found
        Call("list", "resource", ""): (
            resources.ALLOCATIONS,
            resources.NETWORK_ENDPOINTS,
        ),  # Writer._is_carried
        Call("patch", "resource", "status"): reporter.REPORTED.values(),
    }
    return _asked(found, variables) | _watched(stores.WATCHED)


def by_controller() -> set[tuple[str, str, str]]:
    """Verb, group, resource/subresource."""
    found = calls(["controller/*.py", "kube/claims.py"])
    return _asked(found, {}) | _watched((*api_world.WHOLE, *api_world.OWN))
