"""The CRDs are what Kubernetes accepts, and say the same as the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lace_sdn.kube.outside_rules import METADATA_SERVICES
from lace_sdn.kube.schemas import GROUP_VERSION, custom_resource_definitions, kinds
from lace_sdn.policy.external import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterator

CRDS = {crd["spec"]["names"]["kind"]: crd for crd in custom_resource_definitions()}
KINDS = sorted(CRDS)


def schema_of(kind: str) -> dict[str, Any]:
    version = CRDS[kind]["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and every schema in it."""
    yield schema
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for part in inner:
        if isinstance(part, dict):
            yield from parts(part)


def rules(kind: str) -> list[dict[str, str]]:
    return [rule for part in parts(schema_of(kind)) for rule in part.get("x-kubernetes-validations", ())]


def test_there_is_one_for_each_kind_of_the_design() -> None:
    assert KINDS == [
        "Allocation",
        "Network",
        "NetworkBindingPolicy",
        "NetworkEndpoint",
        "NetworkKey",
        "NetworkRoutingPolicy",
        "NodeState",
        "ServiceMembership",
        "ServiceRoutingPolicy",
    ]


def test_the_package_reads_the_files_that_kubernetes_gets() -> None:
    """One source of truth: the package's folder is the folder of manifests."""
    root = Path(__file__).parents[2]
    assert (root / "lace_sdn/kube/crds").resolve() == root / "manifests/crds"


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_status_are_in_order(kind: str) -> None:
    spec = CRDS[kind]["spec"]
    (version,) = spec["versions"]
    assert CRDS[kind]["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
    assert f"{spec['group']}/{version['name']}" == GROUP_VERSION
    assert spec["scope"] == ("Namespaced" if kind in ("NetworkEndpoint", "ServiceMembership") else "Cluster")
    # Records of the operator have nothing that somebody else would say about them.
    if kind not in ("NetworkKey", "ServiceMembership"):
        assert version["subresources"] == {"status": {}}
    if kind not in ("NetworkKey", "ServiceMembership", "NodeState"):
        assert "conditions" in schema_of(kind)["properties"]["status"]["properties"]
    assert {"Age"} <= {column["name"] for column in version["additionalPrinterColumns"]}


def test_short_names_are_unique() -> None:
    short = [name for crd in CRDS.values() for name in crd["spec"]["names"]["shortNames"]]
    assert len(short) == len(set(short)) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_structural(kind: str) -> None:
    """Kubernetes refuses others: each part has a type, and properties exclude additionalProperties."""
    for part in parts(schema_of(kind)):
        assert isinstance(part.get("type"), str), part
        assert not ("properties" in part and "additionalProperties" in part)
        assert not {"$ref", "definitions", "oneOf", "uniqueItems"} & part.keys()
        assert set(part.get("required", ())) <= part.get("properties", {}).keys()
        assert "items" in part or part["type"] != "array"


@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_texts_are_bounded(kind: str) -> None:
    """Unbounded ones make the rules too expensive for Kubernetes (the estimated cost of CEL)."""
    spec = schema_of(kind)["properties"].get("spec", {"type": "object"})
    for part in parts(spec):
        assert part["type"] != "array" or "maxItems" in part, part
        assert part["type"] != "string" or {"maxLength", "enum"} & part.keys(), part


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_says_what_is_wrong(kind: str) -> None:
    assert all(set(rule) == {"rule", "message"} and rule["message"] for rule in rules(kind))
    assert all(rule["rule"].count("(") == rule["rule"].count(")") for rule in rules(kind))


@pytest.mark.parametrize("kind", ["Network", "NetworkEndpoint", "Allocation"])
def test_what_must_not_change_has_a_rule(kind: str) -> None:
    assert any("oldSelf" in rule["rule"] for rule in rules(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_our_kinds_refuse_unknown_fields_everywhere(kind: str) -> None:
    schema = kinds()[GROUP_VERSION, kind].schema
    assert all(part["additionalProperties"] is False for part in parts(schema) if "properties" in part)


def test_external_prefixes_are_refused_where_no_host_can_be() -> None:
    """The rule lists what the code does, but for IPv4-mapped prefixes, which CEL takes for no CIDR."""
    prefixes = schema_of("Network")["properties"]["spec"]["properties"]["externalPrefixes"]
    (rule,) = (
        each["rule"] for each in prefixes["items"]["x-kubernetes-validations"] if "taken" in each["rule"]
    )
    allowed, *reserved = re.findall(r"'([0-9a-f.:]+/[0-9]+)'", rule)
    assert allowed == str(METADATA_SERVICES)
    assert reserved == [str(each) for each in NOBODY if str(each) != "::ffff:0:0/96"]
