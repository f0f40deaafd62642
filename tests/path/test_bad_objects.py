"""Bad objects through the API: each is refused with a 422 that names the field, or says in a condition why it has no effect."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from api_process import ApiProcess

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import Api, ApiError
from lace_sdn.lab.api.applying import install_definitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.kube.api.resources import Resource

BAD = Path(__file__).parents[1] / "kube/bad"
OURS = {
    each.kind: each
    for each in (
        resources.NETWORKS,
        resources.BINDING_POLICIES,
        resources.ROUTING_POLICIES,
        resources.SERVICE_POLICIES,
        resources.ALLOCATIONS,
    )
}
BESIDE = {each.kind: each for each in (resources.NODES, resources.NAMESPACES, resources.PODS)}
HEALED = "same-network-key"
"""The operator gives keys: that of the second network is made another one, and the network is as good as any."""
BOUND = 20.0
_LINE = re.compile(r'(?:cluster\.yaml:\d+: )?(?P<kind>\w+) "?(?P<name>[\w.-]+)"?: (?P<said>.*)')
_PATH = re.compile(r"(metadata|spec|status)(\.[\w.\[\]/-]+)?")


@dataclass(frozen=True)
class Fault:
    """What the folder source says of an object of ours. ``field``: "" for a condition."""

    kind: str
    name: str
    field: str
    said: str


def faults(case: str) -> list[Fault]:
    found = []
    for line in (BAD / case / "said.txt").read_text().splitlines():
        match = _LINE.fullmatch(line)
        if match and match["kind"] in OURS:
            path = _PATH.match(match["said"])
            found.append(Fault(match["kind"], match["name"], path[0] if path else "", match["said"]))
    return found


def objects(case: str) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(yaml.YAMLError):
        for each in yaml.safe_load_all((BAD / case / "cluster.yaml").read_text()):
            found += each.get("items", [each]) if isinstance(each, dict) else []
    return [json.loads(json.dumps(each, default=_as_json)) for each in found]


def _as_json(found: Any) -> str:
    """YAML knows times."""
    assert isinstance(found, datetime), found
    return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


CASES = sorted(
    each.name for each in BAD.iterdir() if each.name != HEALED and faults(each.name) and objects(each.name)
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server with an operator."""
    its = ApiProcess(tmp_path_factory.mktemp("api"))
    its.start()
    client = Api.connect(its.kubeconfig, user_agent="tests")
    install_definitions(client)
    for name in ("default", "lace-sdn"):
        with contextlib.suppress(ApiError):  # it makes some itself
            _create(client, resources.NAMESPACES, {"metadata": {"name": name}})
    options = ["--kubeconfig", str(its.kubeconfig), "--telemetry", "127.0.0.1:0", "--lease-seconds", "3"]
    program = [sys.executable, "-c", "from lace_sdn.cli import main; main()", "operator", *options]
    with subprocess.Popen(program) as operator:
        yield client
        operator.terminate()
    its.close()


@pytest.mark.parametrize("case", CASES)
def test_a_bad_object(api: Api, case: str) -> None:
    refused: dict[tuple[str, str], ApiError] = {}
    made: list[tuple[Resource, str, str]] = []
    by_object: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for fault in faults(case):
        by_object[fault.kind, fault.name].append(fault)
    try:
        for body in objects(case):
            _bring(api, body, refused, made)
        for its, said in by_object.items():
            if its in refused:
                _is_good_refusal(refused[its], said)
            else:
                _await_condition(api, its[0], _rivals(case, its[1]), said)
    finally:
        for resource, name, namespace in reversed(made):
            _remove(api, resource, name, namespace)


def _rivals(case: str, name: str) -> tuple[str, ...]:
    """Of two external networks with the same prefix the older keeps it; which is older is for the server to say."""
    return ("a-new", "old") if case == "external-prefix-twice" else (name,)


def _is_good_refusal(error: ApiError, said: list[Fault]) -> None:
    """A field that the folder source names too is named. Servers need not say every fault at once."""
    if error.status == 400 and error.reason == "BadRequest":
        version = "does not match the expected API version"
        assert version in str(error) or any(f'unknown field "{each.field}"' in str(error) for each in said)
    elif error.is_already_exists:
        assert [each.field for each in said] == ["metadata.name"]
    else:
        assert error.status == 422, error
        named = [cause.field for cause in error.causes]
        assert any(_is_about(found, each.field) for found in named for each in said), (error, said)


def _bring(
    api: Api,
    body: dict[str, Any],
    refused: dict[tuple[str, str], ApiError],
    made: list[tuple[Resource, str, str]],
) -> None:
    """Objects of ours, and what they speak of."""
    resource = {**OURS, **BESIDE}.get(str(body.get("kind")))
    metadata = body.get("metadata") or {}
    if resource is None or not isinstance(metadata.get("name"), str):
        return
    its = metadata["name"], metadata.get("namespace", "default") if resource.is_namespaced else ""
    if its[1]:
        with contextlib.suppress(ApiError):
            _create(api, resources.NAMESPACES, {"metadata": {"name": its[1]}})
    if resource is resources.PODS:
        body = {**body, "spec": {**body["spec"], "containers": [{"name": "one", "image": "none"}]}}
    try:
        _create(api, resource, body)
    except ApiError as error:
        if resource.kind in OURS:
            refused[resource.kind, its[0]] = error
        return
    made.append((resource, *its))
    if body.get("status"):
        api.patch(resource, *its, {"status": body["status"]}, subresource="status")


def _create(api: Api, resource: Resource, body: dict[str, Any]) -> None:
    """Strictly, as kubectl does."""
    its = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    api._ask("POST", resource.path(body["metadata"].get("namespace", "")), {"fieldValidation": "Strict"}, its)


def _remove(api: Api, resource: Resource, name: str, namespace: str) -> None:
    with contextlib.suppress(ApiError):
        api.delete(resource, name, namespace, grace_seconds=0)
    deadline = time.monotonic() + BOUND
    with contextlib.suppress(ApiError):
        while api.get(resource, name, namespace):
            assert time.monotonic() < deadline, f"{name} does not go"
            time.sleep(0.05)


def _is_about(found: str, expected: str) -> bool:
    """The same field, or one that has the other inside: rules stand at the object whose fields they compare."""
    return found == expected or found.startswith(expected) or expected.startswith(found)


def _await_condition(api: Api, kind: str, names: tuple[str, ...], said: list[Fault]) -> None:
    deadline = time.monotonic() + BOUND
    while True:
        its = [api.get(OURS[kind], name).get("status") or {} for name in names]
        found = [condition for status in its for condition in status.get("conditions") or ()]
        if any(_is_bad(each) and each["message"] for each in found):
            return
        assert time.monotonic() < deadline, (kind, names, said, found)
        time.sleep(0.05)


def _is_bad(condition: dict[str, Any]) -> bool:
    good = "False" if condition["type"] in ("Conflict", "BlockExhausted") else "True"
    return bool(condition["status"] != good and condition["type"] != "Programmed")
