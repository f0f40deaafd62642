"""Objects that an API server has and that cannot be read here: they are not taken for absent."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from lace_sdn.controller.api_world import ApiWorld
from lace_sdn.kube.api import resources

IN_CORP = ip_address("10.1.2.3")


def network(name: str, key: int, spec: dict[str, Any], version: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "lace-cni.io/v1alpha1",
        "kind": "Network",
        "metadata": {"name": name, "uid": name, "generation": version, "resourceVersion": str(version)},
        "spec": spec,
        "status": {"networkKey": key},
    }


def external(*prefixes: str) -> dict[str, Any]:
    return {"type": "external", "externalPrefixes": list(prefixes)}


def synced(corp: dict[str, Any]) -> ApiWorld:
    """A node's view: the pods of shop may call the internet, and not the company inside it."""
    world = ApiWorld(None, "n1")  # type: ignore[arg-type]
    shop = {"type": "l3", "ipv4Subnet": {"prefix": "10.7.0.0/16", "hostLocalPrefixLength": 24}}
    policy = {
        "apiVersion": "lace-cni.io/v1alpha1",
        "kind": "NetworkRoutingPolicy",
        "metadata": {"name": "out", "uid": "out", "generation": 1, "resourceVersion": "1"},
        "spec": {"srcSelector": {"name": "shop"}, "destSelector": {"name": "internet"}},
    }
    given: dict[Any, list[dict[str, Any]]] = {
        resources.NETWORKS: [
            network("internet", 1, external("0.0.0.0/0")),
            network("corp", 2, corp),
            network("shop", 3, shop),
        ],
        resources.ROUTING_POLICIES: [policy],
    }
    for resource, store in world.stores.items():
        store.replace(given.get(resource, []), "1")
    return world


def test_a_network_that_became_unreadable_stays_as_it_was() -> None:
    world = synced(external("10.0.0.0/8"))
    before = world.read()
    world.stores[resources.NETWORKS].put(network("corp", 2, external("10.0.0.0/88"), version=2))
    now = world.read()
    assert now.built.state == before.built.state
    assert now.cluster.outside.network_of(IN_CORP) == "corp"


def test_a_network_that_could_never_be_read_may_be_any() -> None:
    """Access to the world outside stays shut until it can be read, or is gone."""
    world = synced(external("10.0.0.0/88"))
    found = world.read()
    assert not found.cluster.relations.is_related("shop", "internet")
    assert "external Networks" in found.built.held
    world.stores[resources.NETWORKS].put(network("corp", 2, external("10.0.0.0/8"), version=2))
    assert world.read().cluster.relations.is_related("shop", "internet")
