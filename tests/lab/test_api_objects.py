"""What a lab writes to an API server for manifests."""

from __future__ import annotations

from pathlib import Path

from lace_sdn.kube.manifests import parse, read
from lace_sdn.lab.api.objects import DIGEST, LAB_LABEL, READY, WRITTEN, left_out, wanted

_EXAMPLES = Path(__file__).parents[2] / "manifests/examples"


def test_namespaces_come_before_what_is_in_them_and_pods_last() -> None:
    found = wanted(read(_EXAMPLES / "quickstart.yaml"), "lab")
    order = {resource: place for place, resource in enumerate(WRITTEN)}
    assert [order[each.resource] for each in found] == sorted(order[each.resource] for each in found)
    namespaces = {each.name for each in found if each.resource.kind == "Namespace"}
    assert {each.namespace for each in found if each.namespace} <= namespaces | {"default"}


def test_everything_is_marked_with_the_lab_and_with_what_it_is() -> None:
    for each in wanted(read(_EXAMPLES / "quickstart.yaml"), "mine"):
        assert each.body["metadata"]["labels"][LAB_LABEL] == "mine"
        assert each.body["metadata"]["annotations"][DIGEST] == each.digest
    first, second = (wanted(_network(prefix), "lab")[0].digest for prefix in ("10.0.0.0/16", "10.1.0.0/16"))
    assert first != second


def _network(prefix: str) -> object:
    text = (
        "apiVersion: lace-cni.io/v1alpha1\nkind: Network\nmetadata: {name: a}\n"
        f"spec: {{type: l3, ipv4Subnet: {{prefix: {prefix}}}}}\nstatus: {{networkKey: 7}}\n"
    )
    return parse(text, "a.yaml")


def test_what_the_cluster_says_is_not_written() -> None:
    (network,) = wanted(_network("10.0.0.0/16"), "lab")  # type: ignore[arg-type]
    assert "status" not in network.body
    assert network.status is None


def test_a_node_has_its_addresses_in_its_status() -> None:
    node = next(
        each for each in wanted(read(_EXAMPLES / "quickstart.yaml"), "lab") if each.resource.kind == "Node"
    )
    assert node.status is not None
    assert node.status["addresses"][0]["type"] == "InternalIP"


def test_pods_are_as_a_real_server_demands_and_end_at_once() -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\n"
        "spec: {nodeName: node1, containers: [{name: main}]}\n"
        "status: {conditions: [{type: Ready, status: 'False'}], podIPs: [{ip: 10.0.0.9}]}\n"
    )
    namespace, pod = wanted(parse(text, "a.yaml"), "lab")
    assert namespace.name == "shop"
    assert pod.body["spec"]["containers"][0]["image"]
    assert pod.body["spec"]["terminationGracePeriodSeconds"] == 0
    assert pod.body["metadata"]["annotations"][READY] == "false"
    assert "status" not in pod.body


def test_what_is_left_to_the_cluster_is_said() -> None:
    text = (
        "apiVersion: lace-cni.io/v1alpha1\nkind: Allocation\nmetadata: {name: a-0}\n"
        "spec: {network: a, node: node1, ipv4Block: 10.0.0.0/24}\n"
    )
    manifests = parse(text, "a.yaml")
    assert wanted(manifests, "lab") == ()
    assert [said.partition(" ")[0] for said in left_out(manifests)] == ["Allocation"]
