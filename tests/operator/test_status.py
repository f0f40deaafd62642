"""What objects say of themselves, and that nothing is written when it is said already."""

from __future__ import annotations

from typing import Any

import pytest
from memory_api import MemoryServer
from objects import allocation, binding, endpoint, external, network, node, pod

from lace_sdn.kube.api.events import Events
from lace_sdn.kube.api.resources import (
    ALLOCATIONS,
    BINDING_POLICIES,
    EVENTS,
    NETWORK_ENDPOINTS,
    NETWORK_POLICIES,
    NETWORKS,
    NODE_STATES,
    NODES,
    PODS,
    ROUTING_POLICIES,
    SERVICE_POLICIES,
    SERVICES,
)
from lace_sdn.kube.digests import digest, entry
from lace_sdn.operator.block_plan import Shortage
from lace_sdn.operator.reporter import Reporter
from lace_sdn.operator.stores import Stores
from lace_sdn.operator.worker import Lacks

KINDS = (
    NODES,
    NETWORKS,
    BINDING_POLICIES,
    ROUTING_POLICIES,
    SERVICE_POLICIES,
    ALLOCATIONS,
    PODS,
    NETWORK_ENDPOINTS,
    SERVICES,
    NETWORK_POLICIES,
    NODE_STATES,
)


class Desk:
    """A reporter with its server; stores are filled from it before each round."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.stores = Stores(self.server)  # type: ignore[arg-type]
        self.lacks = Lacks()
        self.reporter = Reporter(
            self.stores,
            self.server,  # type: ignore[arg-type]
            Events(self.server, "lace-cni.io/operator", "test"),  # type: ignore[arg-type]
            lacks=lambda: self.lacks,
            pace=lambda: True,
        )

    def add(self, resource: Any, body: dict[str, Any]) -> dict[str, Any]:
        body = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
        if resource is NODES:
            address = f"192.0.2.{1 + len(self.server.of(NODES))}"
            body["status"] = {"addresses": [{"type": "InternalIP", "address": address}]}
        return self.server.create(resource, body)

    def round(self) -> int:
        for resource in KINDS:
            found, version = self.server.list(resource)
            self.stores.of[resource].replace(found, version)
        return self.reporter.round()

    def status(self, resource: Any, name: str) -> dict[str, Any]:
        return self.server.get(resource, name).get("status") or {}

    def said(self, resource: Any, name: str, kind: str = "Ready") -> tuple[str, str, str]:
        found = [each for each in self.status(resource, name)["conditions"] if each["type"] == kind]
        return tuple(found[0][part] for part in ("status", "reason", "message"))

    def events(self) -> list[tuple[str, str, str]]:
        found = self.server.of(EVENTS).values()
        return sorted(
            (each["regarding"]["kind"], each["regarding"]["name"], each["reason"]) for each in found
        )


@pytest.fixture
def desk() -> Desk:
    its = Desk()
    for name in ("n1", "n2", "n3"):
        its.add(NODES, node(name))
    return its


def keyed(name: str, key: int, prefix: str = "10.0.0.0/22", **more: str) -> dict[str, Any]:
    return {**network(name, prefix, **more), "status": {"networkKey": key}}


def policy(name: str, source: dict[str, Any], destination: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"srcSelector": source, "destSelector": destination}}


def test_a_network_with_a_key_is_ready(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 17))
    desk.round()
    assert desk.said(NETWORKS, "red") == ("True", "Allocated", "has the network key 17")
    assert desk.status(NETWORKS, "red")["observedGeneration"] == 1
    assert desk.said(NETWORKS, "red", "Conflict")[:2] == ("False", "NoOverlap")


def test_nothing_is_said_while_a_key_is_on_the_way(desk: Desk) -> None:
    desk.add(NETWORKS, network("red"))
    assert desk.round() == 0


def test_nothing_is_written_when_it_is_said_already(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 17))
    desk.add(ROUTING_POLICIES, policy("mesh", {"name": "red"}, {"name": "red"}))
    assert desk.round() == 2
    version = desk.server.version
    desk.round()
    again = Desk()
    again.server = again.reporter._api = desk.server  # type: ignore[assignment]
    assert (again.round(), desk.server.version) == (0, version)


def test_a_condition_keeps_its_time_while_its_status_stays(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 17))
    desk.add(ROUTING_POLICIES, policy("p", {"name": "red"}, {"name": "blue"}))
    desk.round()
    before = desk.status(ROUTING_POLICIES, "p")["conditions"][0]
    desk.server.patch(
        ROUTING_POLICIES,
        "p",
        "",
        {"status": {"conditions": [{**before, "lastTransitionTime": "2001-01-01T00:00:00Z"}]}},
        "status",
    )
    desk.add(NETWORKS, keyed("green", 18, "10.9.0.0/22"))
    desk.round()
    after = desk.status(ROUTING_POLICIES, "p")["conditions"][0]
    assert (after["message"] != before["message"], after["lastTransitionTime"]) == (
        True,
        "2001-01-01T00:00:00Z",
    )


def test_what_is_not_supported_says_so(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("flat", 1, kind="l2"))
    desk.round()
    assert desk.said(NETWORKS, "flat")[:2] == ("False", "NotSupported")
    assert desk.events() == [("Network", "flat", "NetworkTypeNotEnforced")]


def test_a_network_without_key_says_why(desk: Desk) -> None:
    desk.add(NETWORKS, network("red"))
    desk.lacks = Lacks(frozenset({"red"}))
    desk.round()
    assert desk.said(NETWORKS, "red")[:2] == ("False", "KeysExhausted")
    assert desk.events() == [("Network", "red", "KeysExhausted")]


def test_nodes_without_a_block_are_named(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 1, "10.0.0.0/24"))
    desk.lacks = Lacks(shortages={"red": Shortage(("n2", "n3"), 1)})
    desk.round()
    status, reason, message = desk.said(NETWORKS, "red", "BlockExhausted")
    assert (status, reason) == ("True", "BlockExhausted")
    assert message.startswith(
        "no block is left of 1 (10.0.0.0/24 cut into /24), 2 nodes with pods of it have none: n2, n3;"
    )


def test_a_network_that_is_being_deleted_names_its_pods(desk: Desk) -> None:
    desk.add(NETWORKS, {**keyed("red", 1), "metadata": {"name": "red", "finalizers": ["lace-cni.io/in-use"]}})
    desk.add(BINDING_POLICIES, binding("red", net="red"))
    desk.add(ALLOCATIONS, allocation("red-0", "red", "n1", "10.0.0.0/24"))
    made = desk.add(PODS, pod("a", "n1", net="red"))
    desk.add(NETWORK_ENDPOINTS, endpoint(made, "red", "10.0.0.2"))
    desk.server.delete(NETWORKS, "red")
    desk.round()
    status, reason, message = desk.said(NETWORKS, "red")
    assert (status, reason) == ("False", "Terminating")
    assert message == "1 pod is in it: shop/a; expected none; the Network is removed when it is gone"
    assert desk.said(BINDING_POLICIES, "to-red")[:2] == ("False", "NetworkTerminating")


def test_a_conflict_is_said_by_the_policy_and_the_network(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("hub", 1, "10.9.0.0/22"))
    desk.add(NETWORKS, keyed("one", 2))
    desk.add(NETWORKS, keyed("two", 3))
    desk.add(ROUTING_POLICIES, policy("a", {"name": "hub"}, {"name": "one"}))
    desk.add(ROUTING_POLICIES, policy("b", {"name": "hub"}, {"name": "two"}))
    desk.round()
    assert desk.said(ROUTING_POLICIES, "b")[:2] == ("False", "OverlappingPrefixes")
    assert desk.said(ROUTING_POLICIES, "a")[0] == "True"
    assert desk.said(NETWORKS, "two", "Conflict") == (
        "True",
        "OverlappingPrefixes",
        "hub -> two: prefix 10.0.0.0/22 overlaps that of one, which NetworkRoutingPolicy a relates to; these pairs are not installed",
    )
    assert ("NetworkRoutingPolicy", "b", "OverlappingPrefixes") in desk.events()


def test_policies_say_how_many_networks_they_select(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 1))
    desk.add(NETWORKS, {**external("out", "192.0.2.0/24"), "status": {"networkKey": 2}})
    desk.add(SERVICE_POLICIES, policy("all", {}, {"name": "red"}))
    desk.add(ROUTING_POLICIES, policy("none", {"matchLabels": {"tier": "web"}}, {}))
    desk.add(ROUTING_POLICIES, policy("outside", {"name": "out"}, {"name": "out"}))
    desk.round()
    status = desk.status(SERVICE_POLICIES, "all")
    assert (status["sourceNetworks"], status["destinationNetworks"]) == (1, 1)
    assert desk.said(ROUTING_POLICIES, "none")[:2] == ("False", "MatchesNothing")
    assert desk.said(ROUTING_POLICIES, "outside")[:2] == ("False", "OnlyExternal")


def state(name: str, milliseconds: int, *policies: dict[str, Any]) -> dict[str, Any]:
    digests = {"NetworkRoutingPolicy": digest(map(entry, policies))}
    return {"metadata": {"name": name}, "status": {"digests": digests, "milliseconds": milliseconds}}


def test_a_policy_says_on_how_many_nodes_it_is_programmed(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 1))
    first = desk.add(ROUTING_POLICIES, policy("a", {}, {}))
    desk.add(NODE_STATES, state("n1", 5, first))
    desk.add(NODE_STATES, state("n2", 5, first))
    desk.round()
    assert desk.said(ROUTING_POLICIES, "a", "Programmed") == (
        "False",
        "Waiting",
        "programmed on 2 of 3 nodes for generation 1; waiting for n3",
    )
    second = desk.add(ROUTING_POLICIES, policy("b", {}, {}))
    desk.round()
    assert desk.status(ROUTING_POLICIES, "b")["nodes"] == {"programmed": 0, "total": 3}
    for name, milliseconds in (("n1", 41), ("n2", 12), ("n3", 7)):
        if ("", name) in desk.server.of(NODE_STATES):
            desk.server.patch(
                NODE_STATES,
                name,
                "",
                {"status": state(name, milliseconds, first, second)["status"]},
                "status",
            )
        else:
            desk.add(NODE_STATES, state(name, milliseconds, first, second))
    desk.round()
    assert desk.said(ROUTING_POLICIES, "b", "Programmed") == (
        "True",
        "Programmed",
        "programmed on 3 of 3 nodes for generation 1, in at most 41 ms",
    )
    assert desk.status(ROUTING_POLICIES, "a")["nodes"] == {"programmed": 3, "total": 3}


def test_what_is_not_enforced_is_counted_and_said(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 1))
    desk.add(BINDING_POLICIES, binding("red"))
    web = pod("web", "n1")
    web["spec"]["containers"] = [{"name": "main", "ports": [{"containerPort": 80, "hostPort": 8080}]}]
    desk.add(PODS, web)
    desk.add(
        NETWORK_POLICIES, {"metadata": {"name": "deny", "namespace": "shop"}, "spec": {"podSelector": {}}}
    )
    desk.add(
        SERVICES,
        {
            "metadata": {"name": "front", "namespace": "shop"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
        },
    )
    desk.round()
    assert desk.reporter.unenforced == {
        ("Pod", "HostPortNotEnforced"): 1,
        ("NetworkPolicy", "NetworkPolicyNotEnforced"): 1,
        ("Service", "LoadBalancerNotEnforced"): 1,
    }
    assert desk.events() == [
        ("NetworkPolicy", "deny", "NetworkPolicyNotEnforced"),
        ("Pod", "web", "HostPortNotEnforced"),
        ("Service", "front", "LoadBalancerNotEnforced"),
    ]


def test_a_pod_of_no_network_gets_an_event_and_one_only(desk: Desk) -> None:
    desk.add(PODS, pod("lost", "n1"))
    desk.round()
    desk.add(NETWORKS, keyed("red", 1))
    desk.round()
    assert desk.events() == [("Pod", "lost", "NoNetwork")]


def test_a_block_that_is_refused_says_so_until_it_is_good(desk: Desk) -> None:
    desk.add(NETWORKS, keyed("red", 1))
    desk.add(ALLOCATIONS, allocation("a", "red", "n1", "10.0.0.0/24"))
    desk.add(ALLOCATIONS, allocation("b", "red", "n2", "10.0.0.0/24"))
    desk.round()
    assert desk.said(ALLOCATIONS, "b")[:2] == ("False", "Refused")
    desk.server.delete(ALLOCATIONS, "a")
    desk.round()
    assert desk.status(ALLOCATIONS, "b")["conditions"] == []
