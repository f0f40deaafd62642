"""YAML as Kubernetes reads it: the types of JSON, each key once, and no more than the file holds."""

from __future__ import annotations

from typing import Any

import pytest

from lace_sdn.kube.documents import NotYamlError, documents


def values(text: str) -> list[Any]:
    return [document.data for document in documents(text)]


def fault(text: str) -> str:
    with pytest.raises(NotYamlError) as caught:
        values(text)
    return f"{caught.value.line}: {caught.value}"


def test_scalars_have_the_types_of_json() -> None:
    (found,) = values("[1, 0x10, 1.5, yes, ~, text, '1', 2026-01-01, 2026-01-01T00:00:00Z, =]")
    assert found == [1, 16, 1.5, True, None, "text", "1", "2026-01-01", "2026-01-01T00:00:00Z", "="]


def test_json_is_yaml() -> None:
    assert values('{"a": [1, true, null], "b": {}}') == [{"a": [1, True, None], "b": {}}]


def test_empty_documents_are_passed_over() -> None:
    assert values("---\n---\na: 1\n---\n# nothing\n") == [{"a": 1}]


def test_aliases_stand_for_what_they_name() -> None:
    (found,) = values("a: &x {b: 1}\nc: *x\n")
    assert found == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "2: is not YAML: did not find expected node content"),
        ("a: 1\nb: *none\n", "2: is not YAML: found undefined alias"),
        ("a: 1\nb: 1\na: 2\n", '3: has the key "a" twice in one mapping (first in line 1)'),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "2: has a key that is no text"),
        ("[1]: 2\n", "1: has a key that is no text"),
        (
            "a: !!binary aGk=\n",
            "1: has a value of the type tag:yaml.org,2002:binary, which JSON does not know",
        ),
        ("a: !thing {}\n", "1: has a value of the type !thing, which JSON does not know"),
        ("a: &x [*x]\n", "1: is nested more than 100 deep"),
        ("a: \x00\n", "1: is not YAML: "),
        ("[" * 101 + "]" * 101, "1: is nested more than 100 deep"),
        ("[" * 60000 + "]" * 60000, "1: is nested more than 100 deep"),
        ('{"a":' * 60000 + "1" + "}" * 60000, "1: is nested more than 100 deep"),
        ("- " * 60000, "1: is nested more than 100 deep"),
        ("a: 1\n---\n" + "[" * 60000, "3: is nested more than 100 deep"),
    ],
)
def test_what_kubernetes_would_not_take_is_refused_with_its_line(text: str, said: str) -> None:
    assert fault(text).startswith(said)


def test_a_hundred_levels_are_taken() -> None:
    (found,) = values("[" * 100 + "]" * 100)
    for _ in range(99):
        (found,) = found
    assert found == []


def test_documents_before_one_that_is_too_deep_are_read() -> None:
    found = documents("a: 1\n---\n" + "[" * 60000)
    assert next(found).data == {"a": 1}
    with pytest.raises(NotYamlError, match="more than 100 deep"):
        next(found)
