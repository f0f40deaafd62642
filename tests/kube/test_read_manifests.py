"""What is read from files and folders, and what is kept of it when something becomes bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lace_sdn.kube.manifests import Manifests, keep_last_good, parse, read

if TYPE_CHECKING:
    from pathlib import Path


def namespace(name: str, team: str = "a") -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{team: {team}}}}}\n---\n"


def names(manifests: Manifests) -> list[str]:
    return [manifest.identity.full_name for manifest in manifests.objects]


def teams(manifests: Manifests) -> dict[str, str]:
    return {each.identity.name: each.data["metadata"]["labels"]["team"] for each in manifests.objects}


def test_a_folder_is_read_with_the_folders_in_it(tmp_path: Path) -> None:
    """All .yaml, .yml and .json files in order of name; hidden ones and others are none of ours."""
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub" / "b.yml").write_text(namespace("b"))
    (tmp_path / "a.yaml").write_text(namespace("a"))
    (tmp_path / "z.json").write_text(
        '{\n\t"apiVersion": "v1", "kind": "Namespace",\n\t"metadata": {"name": "z"}}'
    )
    (tmp_path / ".git" / "c.yaml").write_text(namespace("c"))
    (tmp_path / ".hidden.yaml").write_text(namespace("d"))
    (tmp_path / "notes.txt").write_text("not: [ours")
    found = read(tmp_path)
    assert (names(found), found.problems) == (["a", "b", "z"], ())


def test_one_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "cluster").write_text(namespace("a"))
    assert names(read(tmp_path / "cluster")) == ["a"]


def test_every_field_knows_its_line() -> None:
    """Lines count from 1 in the file, through all documents; a field that is not written has its parent's."""
    (_, second) = parse(namespace("a") + namespace("b"), "x.yaml").objects
    assert str(second.place()) == "x.yaml:5"
    assert str(second.place(("metadata", "labels", "team"))) == "x.yaml:7"
    assert str(second.place(("metadata", "annotations", "none"))) == "x.yaml:7"


def test_a_list_of_objects_is_its_objects() -> None:
    """``kubectl get -o yaml`` prints a List; lines are those of the items."""
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: a}\n- kind: X\n"
    found = parse(text, "x.yaml")
    assert (names(found), str(found.objects[0].place(("metadata",)))) == (["a"], "x.yaml:6")
    assert str(found.problems[0]).startswith('x.yaml:7: kind "X" is unknown')


def test_a_list_in_a_list_is_its_objects_too() -> None:
    text = "kind: List\nitems:\n- kind: List\n  items:\n  - apiVersion: v1\n    kind: Namespace\n    metadata: {name: a}\n"
    (found,) = parse(text, "x.yaml").objects
    assert (found.identity.name, str(found.place(("kind",)))) == ("a", "x.yaml:6")


def test_a_list_without_objects_is_named() -> None:
    (problem,) = parse("apiVersion: v1\nkind: List\nitems:\n", "x.yaml").problems
    assert str(problem).startswith("x.yaml:3: items is missing or no list; expected the objects of the List")


def test_a_time_stays_text() -> None:
    """Kubernetes knows the types of JSON only."""
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, creationTimestamp: 2026-01-01T00:00:00Z}\n"
    (found,) = parse(text, "x.yaml").objects
    assert found.data["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"


def test_defaults_of_the_schema_are_filled_in() -> None:
    text = (
        "apiVersion: lace-cni.io/v1alpha1\nkind: Network\nmetadata: {name: a}\n"
        "spec: {type: l3, ipv4Subnet: {prefix: 10.0.0.0/16}, ipv6Subnet: {prefix: 'fd00::/48'}}\n"
    )
    (found,) = parse(text, "x.yaml").objects
    lengths = [found.data["spec"][name]["hostLocalPrefixLength"] for name in ("ipv4Subnet", "ipv6Subnet")]
    assert lengths == [24, 64]


def test_a_name_does_not_end_with_a_line_break() -> None:
    """Kubernetes reads the pattern of a name as one of the whole text."""
    (problem,) = parse('apiVersion: v1\nkind: Namespace\nmetadata: {name: "shop\\n"}\n', "a.yaml").problems
    assert (problem.field, problem.found) == ("metadata.name", '"shop\n" is malformed')


def test_unknown_fields_of_core_kinds_are_fine() -> None:
    """They are Kubernetes' own, and checked there."""
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {nodeName: n, dnsPolicy: Default, volumes: []}\n"
    assert parse(text, "x.yaml").problems == ()


def test_services_and_slices_are_validated() -> None:
    text = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 70000}]}\n---\n"
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv9\n"
    )
    assert [str(problem).partition(";")[0] for problem in parse(text, "x.yaml").problems] == [
        'x.yaml:4: Service "default/a": spec.ports[0].port 70000 is too large',
        'x.yaml:9: EndpointSlice "default/a": addressType "IPv9" is unknown',
    ]


def test_an_object_that_became_bad_keeps_its_last_good_state(tmp_path: Path) -> None:
    """So does every object of a file that is no YAML any more, or whose end is not."""
    (tmp_path / "a.yaml").write_text(namespace("one") + namespace("two"))
    (tmp_path / "b.yaml").write_text(namespace("three") + namespace("four"))
    before = read(tmp_path)
    (tmp_path / "a.yaml").write_text(namespace("one", "b") + "}")
    (tmp_path / "b.yaml").write_text(namespace("three", "[x]") + namespace("four", "b"))
    after = keep_last_good(before, read(tmp_path))
    assert teams(after) == {"one": "b", "two": "a", "three": "a", "four": "b"}
    assert [problem.consequence for problem in after.problems] == [
        "the last good state of its objects stays in force",
        "its last good state stays in force",
    ]


def test_an_object_that_was_removed_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(namespace("one") + namespace("two"))
    (tmp_path / "b.yaml").write_text(namespace("three"))
    before = read(tmp_path)
    (tmp_path / "a.yaml").write_text(namespace("one") + "kind: Nonsense\n")
    (tmp_path / "b.yaml").unlink()
    assert names(keep_last_good(before, read(tmp_path))) == ["one"]


def test_a_folder_that_vanished_removes_nothing(tmp_path: Path) -> None:
    """A path that is not there says nothing about the objects."""
    (tmp_path / "a.yaml").write_text(namespace("one"))
    before = read(tmp_path)
    after = keep_last_good(before, read(tmp_path / "gone"))
    assert names(after) == ["one"]
    assert [each.consequence for each in after.problems] == [
        "the last good state of its objects stays in force"
    ]


def test_a_mended_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(namespace("one"))
    first = read(tmp_path)
    (tmp_path / "a.yaml").write_text("}")
    second = keep_last_good(first, read(tmp_path))
    (tmp_path / "a.yaml").write_text(namespace("two"))
    assert names(keep_last_good(second, read(tmp_path))) == ["two"]


def a_network(spec: str) -> Manifests:
    return parse(
        f"apiVersion: lace-cni.io/v1alpha1\nkind: Network\nmetadata: {{name: a}}\nspec: {{{spec}}}\n",
        "x.yaml",
    )


@pytest.mark.parametrize("kind", ["l3", "l2"])
@pytest.mark.parametrize(
    ("prefix", "taken"),
    [
        ("127.1.0.0/16", "127.0.0.0/8 (loopback)"),
        ("224.0.0.0/8", "224.0.0.0/4 (multicast)"),
        ("240.0.0.0/8", "240.0.0.0/4 (reserved, with broadcast)"),
        ("0.0.0.0/16", "0.0.0.0/8 (this host)"),
        ("169.254.0.0/24", "169.254.0.0/16 (link-local, with the pods' gateway 169.254.127.1)"),
        ("126.0.0.0/7", "127.0.0.0/8 (loopback)"),
        ("::/64", "::/128 (no address), ::1/128 (loopback), ::ffff:0:0/96 (IPv4-mapped)"),
        ("fe80::/64", "fe80::/10 (link-local, with the pods' gateway fe80::1)"),
        ("ff02::/64", "ff00::/8 (multicast)"),
        (
            "64:ff9b:1:2::/64",
            "64:ff9b:1::/48 (local translation, with the addresses of pods that call themselves through a VIP)",
        ),
        ("::ffff:0:0/96", "::ffff:0:0/96 (IPv4-mapped)"),
    ],
)
def test_a_pod_network_lies_where_pods_can_have_addresses(kind: str, prefix: str, taken: str) -> None:
    family = 6 if ":" in prefix else 4
    length = 120 if family == 6 else 24
    subnet = f"ipv{family}Subnet: {{prefix: '{prefix}', hostLocalPrefixLength: {length}}}"
    (problem,) = a_network(f"type: {kind}, {subnet}").problems
    assert (problem.field, problem.found) == (
        f"spec.ipv{family}Subnet.prefix",
        f'"{prefix}" overlaps {taken}',
    )


@pytest.mark.parametrize(
    ("field", "prefix", "taken"), [("ipv4Subnet", "0.0.0.0/0", 5), ("ipv6Subnet", "::/0", 6)]
)
def test_a_pod_network_is_not_everything(field: str, prefix: str, taken: int) -> None:
    (problem,) = a_network(f"type: l3, {field}: {{prefix: '{prefix}'}}").problems
    assert problem.found.count("(") == taken


def test_an_external_network_may_be_everything() -> None:
    assert a_network("type: external, externalPrefixes: [0.0.0.0/0, '::/0']").problems == ()
