"""What a node's controller makes of its watches: the tables of somebody who sees everything, and no work for what the node does not need."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_objects import api_objects, seen

from lace_sdn.controller.api_world import OWN, ApiWorld
from lace_sdn.kube.api import resources
from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import Manifests, read
from lace_sdn.kube.observed import manifest_of, observe
from lace_sdn.kube.packed import packed
from lace_sdn.kube.trim import trimmed
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, offline_ports
from lace_sdn.pipeline.host import host_program
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.refusal import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

Data = dict[str, Any]

BOOK = Path(__file__).parents[2] / "flows"
SCENARIOS = sorted(path.parent for path in BOOK.rglob("cluster.yaml"))


def bodies_of(folder: Path) -> list[Data]:
    """As an API server has them: numbered."""
    manifests = read(folder / "cluster.yaml")
    found = api_objects(manifests, build(manifests, Ledger()))
    for number, body in enumerate(found, start=1):
        body["metadata"]["resourceVersion"] = str(number)
    return found


def world_of(bodies: Iterable[Data], node: str) -> ApiWorld:
    """After its first lists."""
    world = ApiWorld(None, node)  # type: ignore[arg-type]
    for resource, store in world.stores.items():
        field = OWN.get(resource, "").rpartition(".")[2]
        its = [
            copy.deepcopy(body)
            for body in bodies
            if body["kind"] == resource.kind and (not field or body["spec"].get(field) == node)
        ]
        store.replace(its, "100000")
    return world


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda path: path.relative_to(BOOK).as_posix())
def test_its_tables_are_those_of_somebody_who_sees_everything(folder: Path) -> None:
    bodies = [body for body in bodies_of(folder) if body["kind"] != "ExternalHost"]
    whole = Cluster.of(observe(Manifests(objects=tuple(seen(bodies)))).state)
    for node in whole.state.node_by_name:
        ports = offline_ports(whole.state, node)
        its = world_of(bodies, node).read().cluster
        assert NodeCompiler(node).compile(its, ports) == NodeCompiler(node).compile(whole, ports)
        assert host_program(its, node) == host_program(whole, node)


def test_an_object_comes_out_as_it_went_in() -> None:
    kinds = set()
    for folder in SCENARIOS:
        for body in bodies_of(folder):
            if body["kind"] in ("Allocation", "EndpointSlice"):
                assert packed(body).opened() == manifest_of(trimmed(body))
                assert packed(body) == packed(copy.deepcopy(body))
                kinds.add(body["kind"])
    assert kinds == {"Allocation", "EndpointSlice"}


@pytest.fixture
def quiet() -> ApiWorld:
    """Of a node with the pods of one network, that calls nobody; another node has another network, with a Service."""
    world = world_of(list(_two_islands()), "node-1")
    world.read()
    assert not world.has_news()
    return world


def _two_islands() -> Iterable[Data]:
    for number, name in ((1, "blue"), (2, "red")):
        node, block = f"node-{number}", f"10.{number}.0.0/24"
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": f"u-{name}"}
        address = f"10.{number}.0.2"
        its = {
            "Namespace": {"metadata": {"name": name}},
            "Node": {
                "metadata": {"name": node},
                "status": {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{number}"}]},
            },
            "Network": {
                "metadata": {"name": name},
                "spec": {
                    "type": "l3",
                    "ipv4Subnet": {"prefix": f"10.{number}.0.0/16", "hostLocalPrefixLength": 24},
                },
                "status": {"networkKey": number},
            },
            "NetworkBindingPolicy": {
                "metadata": {"name": name},
                "spec": {"network": name, "priority": 0, "selector": {"matchLabels": {"net": name}}},
            },
            "Allocation": {
                "metadata": {"name": f"{name}-0"},
                "spec": {"network": name, "node": node, "ipv4Block": block},
            },
            "Pod": {
                "metadata": {"name": "pod", "namespace": name, "uid": f"u-{name}", "labels": {"net": name}},
                "spec": {"nodeName": node, "containers": []},
            },
            "NetworkEndpoint": {
                "metadata": {"name": "pod", "namespace": name, "ownerReferences": [owner]},
                "spec": {"network": name, "node": node, "addresses": [address]},
            },
            "Service": {
                "metadata": {"name": "web", "namespace": name, "labels": {"net": name}},
                "spec": {"clusterIP": f"172.16.0.{number}", "ports": [{"port": 80}]},
            },
            "EndpointSlice": {
                "metadata": {
                    "name": "web-1",
                    "namespace": name,
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [address], "targetRef": {**owner, "namespace": name}}],
                "ports": [{"port": 8080, "protocol": "TCP", "name": ""}],
            },
        }
        for kind, body in its.items():
            metadata = {"uid": f"{kind}-{name}", "resourceVersion": "1", **body["metadata"]}
            yield {"apiVersion": "v1", "kind": kind, **body, "metadata": metadata}


def _changed(world: ApiWorld, kind: str, namespace: str, **fields: Any) -> bool:
    """Whether a change of the object is news."""
    resource = next(each for each in world.stores if each.kind == kind)
    (body,) = [
        each
        for each in _two_islands()
        if each["kind"] == kind
        and namespace in (each["metadata"].get("namespace"), each["metadata"]["name"].partition("-")[0])
    ]
    body["metadata"]["resourceVersion"] = "200000"
    world.stores[resource].put({**body, **fields})
    return world.has_news()


def test_endpoints_of_a_service_that_nobody_here_may_use_are_no_news(quiet: ApiWorld) -> None:
    assert not _changed(quiet, "EndpointSlice", "red", endpoints=[])
    assert _changed(quiet, "EndpointSlice", "blue", endpoints=[])


def test_blocks_of_a_network_that_is_not_needed_are_no_news(quiet: ApiWorld) -> None:
    spec = {"node": "node-1", "ipv4Block": "10.2.7.0/24"}
    assert not _changed(quiet, "Allocation", "red", spec={"network": "red", **spec})
    assert [str(each) for each in quiet.blocks("red")] == ["10.2.7.0/24"], (
        "known all the same, for pods that may come"
    )
    assert _changed(quiet, "Allocation", "blue", spec={"network": "blue", **spec})


def test_a_heartbeat_is_no_news(quiet: ApiWorld) -> None:
    status = {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
    }
    (body,) = [
        each for each in _two_islands() if each["kind"] == "Node" and each["metadata"]["name"] == "node-1"
    ]
    body["metadata"]["resourceVersion"] = "200001"
    quiet.stores[resources.NODES].put({**body, "status": status})
    assert not quiet.has_news()


def test_a_policy_that_needs_more_of_the_cluster_gets_it(quiet: ApiWorld) -> None:
    policy = {
        "apiVersion": "lace-cni.io/v1alpha1",
        "kind": "NetworkRoutingPolicy",
        "metadata": {"name": "both", "uid": "p", "resourceVersion": "200000"},
        "spec": {"srcSelector": {"name": "blue"}, "destSelector": {"name": "red"}},
    }
    quiet.stores[resources.ROUTING_POLICIES].put(policy)
    assert quiet.has_news()
    state = quiet.read().cluster.state
    assert {each.network for each in state.allocations} == {"blue", "red"}
    assert _changed(quiet, "EndpointSlice", "red", endpoints=[])


def test_a_pod_is_put_into_no_network_that_is_being_deleted(quiet: ApiWorld) -> None:
    assert quiet.network_of("blue", {"net": "blue"}).name == "blue"
    (body,) = [
        each for each in _two_islands() if each["kind"] == "Network" and each["metadata"]["name"] == "blue"
    ]
    body["metadata"] |= {"resourceVersion": "200000", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    quiet.stores[resources.NETWORKS].put(body)
    found = quiet.network_of("blue", {"net": "blue"})
    assert getattr(found, "reason", None) is Reason.NETWORK_TERMINATING
    assert {each.network for each in quiet.read().cluster.state.endpoints} == {"blue"}, "its pods stay"


def test_a_read_that_failed_has_taken_nothing_off_the_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since when there is something new is still known to who reads again."""
    world = world_of(bodies_of(BOOK / "one-way-peering"), "node-1")
    first = world.read()
    world.stores[resources.ROUTING_POLICIES].replace([], "200000")
    right = ApiWorld._manifests
    monkeypatch.setattr(ApiWorld, "_manifests", lambda _self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.read()
    since = world._since
    monkeypatch.setattr(ApiWorld, "_manifests", right)
    second = world.read()
    assert first.built.state.routing_policies
    assert not second.built.state.routing_policies
    assert second.since == since > 0
    assert int(second.generation) == int(first.generation) + 1
