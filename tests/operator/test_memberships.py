"""Which Services need a ServiceMembership, and what it says."""

from __future__ import annotations

from typing import Any

from memory_api import MemoryServer
from objects import binding, endpoint, network, pod

from lace_sdn.kube.api.resources import (
    BINDING_POLICIES,
    ENDPOINT_SLICES,
    NETWORK_ENDPOINTS,
    NETWORKS,
    PODS,
    SERVICE_MEMBERSHIPS,
    SERVICES,
)
from lace_sdn.operator.feed import Feed
from lace_sdn.operator.index import Index
from lace_sdn.operator.memberships import Memberships


class Office:
    def __init__(self) -> None:
        self.server = MemoryServer()
        self.index = Index(range(1, 10))
        self.feed = Feed(self.index)
        self.memberships = Memberships(self.index, self.server, self, clock=lambda: 0.0, jitter=lambda: 0.0)  # type: ignore[arg-type]
        self.feed.also(self.memberships.changed)
        self._read = 0
        for name, prefix in (("red", "10.0.0.0/16"), ("blue", "10.0.0.0/24"), ("green", "10.9.0.0/16")):
            self.server.create(NETWORKS, network(name, prefix))
            self.server.create(BINDING_POLICIES, binding(name, net=name))

    def put(self, resource: Any, data: dict[str, Any]) -> None:
        """Also what is written here comes by the log."""

    def drop(self, resource: Any, name: str, namespace: str = "") -> None:
        """As ``put``."""

    def add(self, name: str, network_name: str, address: str) -> dict[str, Any]:
        made = self.server.create(PODS, pod(name, "n1", net=network_name))
        self.server.create(NETWORK_ENDPOINTS, endpoint(made, network_name, address))
        return {
            "addresses": [address],
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": name, "uid": made["metadata"]["uid"]},
        }

    def service(self, *entries: dict[str, Any]) -> None:
        meta = {"name": "web", "namespace": "shop", "labels": {"net": "red"}}
        self.server.create(SERVICES, {"metadata": meta, "spec": {"clusterIP": "10.96.0.1"}})
        meta = {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
        self.server.create(
            ENDPOINT_SLICES, {"metadata": meta, "addressType": "IPv4", "endpoints": list(entries)}
        )

    def settle(self) -> dict[str, Any] | None:
        """The ``spec`` in the end."""
        while self._read < len(self.server.log):
            for resource, key, data in self.server.log[self._read :]:
                self._read += 1
                self.feed.listener(resource)(key, None, data)
            self.feed.settle()
            self.index.refresh()
            while self.memberships.serve():
                pass
        found = self.server.of(SERVICE_MEMBERSHIPS).get(("shop", "web"))
        return found["spec"] if found else None


def test_a_service_whose_endpoints_addresses_say_it_all_needs_none() -> None:
    office = Office()
    office.service(office.add("a", "red", "10.0.7.2"))
    assert office.settle() is None


def test_addresses_that_another_network_has_too_are_told_with_their_pods() -> None:
    office = Office()
    one = office.add("a", "red", "10.0.0.2")
    other = office.add("b", "blue", "10.0.0.2")
    office.service(one, other)
    uid, foreign = one["targetRef"]["uid"], other["targetRef"]["uid"]
    assert office.settle() == {
        "members": [{"address": "10.0.0.2", "podUID": uid}],
        "foreign": [{"address": "10.0.0.2", "pod": "shop/b", "podUID": foreign, "network": "blue"}],
    }


def test_a_pod_of_another_uid_is_not_that_endpoint() -> None:
    office = Office()
    entry = office.add("a", "red", "10.0.0.2")
    entry["targetRef"]["uid"] = "another"
    office.service(entry)
    assert office.settle() is None


def test_an_address_that_the_pod_does_not_have_is_no_member() -> None:
    office = Office()
    office.service({**office.add("a", "red", "10.0.0.2"), "addresses": ["10.0.0.3"]})
    assert office.settle() is None


def test_it_is_owned_by_its_service_and_goes_when_it_is_not_needed() -> None:
    office = Office()
    office.service(office.add("a", "red", "10.0.0.2"))
    assert office.settle()
    made = office.server.get(SERVICE_MEMBERSHIPS, "web", "shop")
    service = office.server.get(SERVICES, "web", "shop")
    assert made["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"]
    office.server.delete(NETWORKS, "blue")
    assert office.settle() is None


def test_an_endpoint_that_gets_its_network_later_is_told_then() -> None:
    office = Office()
    entry = office.add("a", "green", "10.9.0.2")
    taken = office.server.get(NETWORK_ENDPOINTS, "a", "shop")
    office.server.delete(NETWORK_ENDPOINTS, "a", "shop")
    office.service(entry)
    assert office.settle() is None
    office.server.create(NETWORK_ENDPOINTS, taken)
    found = office.settle()
    assert [each["network"] for each in (found or {})["foreign"]] == ["green"]


def test_a_service_that_moves_is_looked_at_again() -> None:
    office = Office()
    office.service(office.add("a", "blue", "10.0.0.2"))
    assert office.settle()
    office.server.patch(SERVICES, "web", "shop", {"metadata": {"labels": {"net": "green"}}})
    found = office.settle()
    assert "foreign" in (found or {})
    office.server.delete(SERVICES, "web", "shop")
    assert office.settle() is None
