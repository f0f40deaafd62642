"""Bad objects through the API: each is refused with a 422 that names the field, or says in a condition why it has no effect."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass
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
KINDS = {
    each.kind: each
    for each in (
        resources.NETWORKS,
        resources.BINDING_POLICIES,
        resources.ROUTING_POLICIES,
        resources.SERVICE_POLICIES,
        resources.ALLOCATIONS,
    )
}
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
        if match and match["kind"] in KINDS:
            path = _PATH.match(match["said"])
            found.append(Fault(match["kind"], match["name"], path[0] if path else "", match["said"]))
    return found


def objects(case: str) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(yaml.YAMLError):
        for each in yaml.safe_load_all((BAD / case / "cluster.yaml").read_text()):
            found += each.get("items", [each]) if isinstance(each, dict) else []
    return found


CASES = sorted(each.name for each in BAD.iterdir() if faults(each.name) and objects(each.name))


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
    made: list[tuple[Resource, str]] = []
    try:
        for body in objects(case):
            _bring(api, body, refused, made)
        for fault in faults(case):
            error = refused.get((fault.kind, fault.name))
            if error is None:
                _await_condition(api, fault)
            else:
                assert error.status in (400, 422), error
                assert any(_is_about(cause.field, fault.field) for cause in error.causes), (fault, error)
    finally:
        for resource, name in reversed(made):
            _remove(api, resource, name)


def _bring(
    api: Api,
    body: dict[str, Any],
    refused: dict[tuple[str, str], ApiError],
    made: list[tuple[Resource, str]],
) -> None:
    """Objects of ours, and the nodes that they speak of."""
    resource = {**KINDS, "Node": resources.NODES}.get(str(body.get("kind")))
    if resource is None or not isinstance((body.get("metadata") or {}).get("name"), str):
        return
    try:
        _create(api, resource, body)
    except ApiError as error:
        if not error.is_already_exists:
            refused[resource.kind, body["metadata"]["name"]] = error
        return
    made.append((resource, body["metadata"]["name"]))
    if resource is resources.NETWORKS and body.get("status"):
        api.patch(resource, body["metadata"]["name"], "", {"status": body["status"]}, subresource="status")


def _create(api: Api, resource: Resource, body: dict[str, Any]) -> None:
    api.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **body})


def _remove(api: Api, resource: Resource, name: str) -> None:
    with contextlib.suppress(ApiError):
        api.delete(resource, name)
    deadline = time.monotonic() + BOUND
    with contextlib.suppress(ApiError):
        while api.get(resource, name):
            assert time.monotonic() < deadline, f"{name} does not go"
            time.sleep(0.05)


def _is_about(found: str, expected: str) -> bool:
    """The same field, or one that has the other inside: rules stand at the object whose fields they compare."""
    return found == expected or found.startswith(expected) or expected.startswith(found)


def _await_condition(api: Api, fault: Fault) -> None:
    deadline = time.monotonic() + BOUND
    while True:
        try:
            status = api.get(KINDS[fault.kind], fault.name).get("status") or {}
        except ApiError:
            pytest.fail(f"{fault} is not there, and was not refused")
        found = status.get("conditions") or ()
        if any(_is_bad(each) and each["message"] for each in found):
            return
        assert time.monotonic() < deadline, (fault, found)
        time.sleep(0.05)


def _is_bad(condition: dict[str, Any]) -> bool:
    good = "False" if condition["type"] in ("Conflict", "BlockExhausted") else "True"
    return bool(condition["status"] != good and condition["type"] != "Programmed")
