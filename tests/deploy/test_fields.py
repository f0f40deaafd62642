"""Every field of the deployed objects is one that Kubernetes has: by the models of its Python client, for a misspelt field would be left out in silence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from deployment import MANIFESTS, base, documents
from kubernetes.client import models

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = {
    "ClusterRole": "V1ClusterRole",
    "ClusterRoleBinding": "V1ClusterRoleBinding",
    "DaemonSet": "V1DaemonSet",
    "Deployment": "V1Deployment",
    "Namespace": "V1Namespace",
    "Pod": "V1Pod",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "Service": "V1Service",
    "ServiceAccount": "V1ServiceAccount",
}
SIMPLE = {"int": int, "str": str, "bool": bool, "object": object}
EXAMPLES = [
    each for path in sorted((MANIFESTS / "examples/two-teams").glob("*.yaml")) for each in documents(path)
]


def unknown(value: Any, type_name: str, where: str) -> Iterator[str]:
    """Fields that the model of this name does not have, and values of another kind."""
    if listed := re.fullmatch(r"[Ll]ist\[(.*)\]", type_name):
        for number, each in enumerate(value):
            yield from unknown(each, listed[1], f"{where}[{number}]")
    elif mapped := re.fullmatch(r"[Dd]ict[\[(]\w+, (.*)[\])]", type_name):
        for name, each in value.items():
            yield from unknown(each, mapped[1], f"{where}.{name}")
    elif (model := getattr(models, type_name, None)) is not None:
        names = {told: name for name, told in model.attribute_map.items()}
        for told, each in value.items():
            if told not in names:
                yield f"{where}.{told}"
            else:
                yield from unknown(each, model.openapi_types[names[told]], f"{where}.{told}")
    elif not isinstance(value, SIMPLE[type_name]):
        yield f"{where}: {value!r} is no {type_name}"


@pytest.mark.parametrize(
    "body",
    [each for each in (*base(), *EXAMPLES) if each["kind"] in MODELS],
    ids=lambda body: f"{body['kind']}-{body['metadata']['name']}",
)
def test_all_fields_are_known(body: dict[str, Any]) -> None:
    assert list(unknown(body, MODELS[body["kind"]], body["kind"])) == []


def test_every_kind_of_the_base_is_looked_at() -> None:
    assert {each["kind"] for each in base()} <= MODELS.keys()


def test_a_misspelt_field_would_be_found() -> None:
    wrong = {"spec": {"containers": [{"name": "a", "tty": "yes", "imagePulPolicy": "Always"}]}}
    assert list(unknown(wrong, "V1Pod", "Pod")) == [
        "Pod.spec.containers[0].tty: 'yes' is no bool",
        "Pod.spec.containers[0].imagePulPolicy",
    ]
