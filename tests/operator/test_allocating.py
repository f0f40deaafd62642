"""What an operator that sees everything makes of a cluster: keys, blocks, finalizers."""

from __future__ import annotations

from memory_api import MemoryServer
from objects import allocation, binding, endpoint, network, node, pod
from replica import Replica

from lace_sdn.kube.api.resources import (
    ALLOCATIONS,
    BINDING_POLICIES,
    NETWORK_ENDPOINTS,
    NETWORK_KEYS,
    NETWORKS,
    NODES,
    PODS,
)


class Site:
    """A server with one operator; time stands still until it is moved."""

    def __init__(self, keys: range = range(1, 100)) -> None:
        self.server = MemoryServer()
        self.now = 1000.0
        self.keys = keys
        self.replica = self.fresh()

    def fresh(self) -> Replica:
        return Replica(self.server, self.server, lambda: self.now, keys=self.keys)

    def run(self, seconds: float = 0) -> None:
        self.now += seconds
        self.replica.hear_all()
        due = self.replica.worker.work()
        while due is not None and due <= self.now + 1:
            self.now = due
            due = self.replica.worker.work()

    def add(self, resource: object, *objects: dict) -> list[dict]:
        return [self.server.create(resource, each) for each in objects]

    def keys_of(self) -> dict[str, int]:
        found = self.server.of(NETWORKS).values()
        return {each["metadata"]["name"]: (each.get("status") or {}).get("networkKey") for each in found}

    def claims(self) -> dict[str, str]:
        return {key[1]: each["spec"]["network"] for key, each in self.server.of(NETWORK_KEYS).items()}

    def blocks(self) -> dict[str, tuple[str, ...]]:
        return {
            key[1]: (each["spec"]["node"], each["spec"].get("ipv4Block", ""))
            for key, each in self.server.of(ALLOCATIONS).items()
        }


def site_with(*networks: dict, nodes: int = 3, keys: range = range(1, 100)) -> Site:
    site = Site(keys)
    site.add(NODES, *(node(f"n{number}") for number in range(nodes)))
    site.add(NETWORKS, *networks)
    site.add(
        BINDING_POLICIES,
        *(binding(each["metadata"]["name"], net=each["metadata"]["name"]) for each in networks),
    )
    site.run()
    return site


def test_networks_get_the_smallest_keys_claimed_by_name() -> None:
    site = site_with(network("red"), network("blue"))
    assert sorted(site.keys_of().values()) == [1, 2]
    assert {name: number for number, name in site.claims().items()} == {
        name: str(key) for name, key in site.keys_of().items()
    }


def test_a_finalizer_is_there_before_the_key() -> None:
    site = site_with(network("red"))
    kinds = [type(write).__name__ for write, _ in site.replica.writes]
    assert kinds == ["AddFinalizer", "ClaimKey", "SetKey"]


def test_nothing_is_written_when_nothing_changed() -> None:
    site = site_with(network("red"))
    before = site.server.version
    site.replica = site.fresh()
    site.run()
    assert (site.server.version, site.replica.writes) == (before, [])


def test_a_scheduled_pod_brings_a_block_for_its_node() -> None:
    site = site_with(network("red"))
    site.add(PODS, pod("a", "n1", net="red"), pod("b", "n1", net="red"), pod("c", net="red"))
    site.run()
    assert site.blocks() == {"red-0": ("n1", "10.0.0.0/24")}


def test_one_number_stands_for_the_blocks_of_both_families() -> None:
    site = site_with(network("red", "10.0.0.0/22", "fd00::/48"))
    site.add(PODS, pod("a", "n1", net="red"), pod("b", "n2", net="red"))
    site.run()
    spec = site.server.get(ALLOCATIONS, "red-1")["spec"]
    assert spec == {
        "network": "red",
        "node": "n2",
        "ipv4Block": "10.0.1.0/24",
        "ipv6Block": "fd00:0:0:1::/64",
    }


def test_blocks_that_users_pinned_are_taken_and_used() -> None:
    site = site_with(network("red"))
    site.add(ALLOCATIONS, allocation("mine", "red", "n2", "10.0.0.0/24"))
    site.add(PODS, pod("a", "n1", net="red"), pod("b", "n2", net="red"))
    site.run()
    assert site.blocks() == {"mine": ("n2", "10.0.0.0/24"), "red-1": ("n1", "10.0.1.0/24")}


def test_a_pinned_block_of_another_size_takes_all_that_it_touches() -> None:
    site = site_with(network("red"))
    site.add(ALLOCATIONS, allocation("wide", "red", "n2", "10.0.0.0/23"))
    site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    assert site.blocks()["red-2"] == ("n1", "10.0.2.0/24")


def test_a_name_that_somebody_has_is_passed_over() -> None:
    site = site_with(network("red"))
    site.add(ALLOCATIONS, allocation("red-0", "red", "n2", "10.0.3.0/24"))
    site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    assert site.blocks()["red-1"] == ("n1", "10.0.1.0/24")


def test_an_unused_block_is_freed_after_a_minute_without_use() -> None:
    site = site_with(network("red"))
    site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    site.server.delete(PODS, "a", "shop")
    site.run(1)
    site.run(58)
    assert site.blocks()
    site.run(2)
    assert not site.blocks()


def test_a_block_that_is_used_again_in_between_waits_a_whole_minute_anew() -> None:
    site = site_with(network("red"))
    for seconds in (1, 50):
        site.add(PODS, pod("a", "n1", net="red"))
        site.run(seconds)
        site.server.delete(PODS, "a", "shop")
        site.run(1)
    site.run(50)
    assert site.blocks()


def test_a_block_with_an_endpoint_stays_though_its_pod_is_gone() -> None:
    site = site_with(network("red"))
    [made] = site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    site.add(NETWORK_ENDPOINTS, endpoint(made, "red", "10.0.0.2"))
    site.server.delete(PODS, "a", "shop")
    site.run(1)
    site.run(100)
    assert site.blocks()


def test_blocks_of_a_node_that_is_gone_are_freed_at_once() -> None:
    site = site_with(network("red"))
    site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    site.server.delete(PODS, "a", "shop")
    site.server.delete(NODES, "n1")
    site.run()
    assert not site.blocks()


def test_a_network_stays_until_nothing_carries_it() -> None:
    site = site_with(network("red"))
    [made] = site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    site.add(NETWORK_ENDPOINTS, endpoint(made, "red", "10.0.0.2"))
    site.server.delete(NETWORKS, "red")
    site.run()
    assert (list(site.keys_of()), list(site.blocks())) == (["red"], ["red-0"])
    site.server.delete(NETWORK_ENDPOINTS, "a", "shop")
    site.run()
    assert (site.keys_of(), site.blocks()) == ({}, {})
    assert site.claims() == {"1": "red"}
    site.run(61)
    assert site.claims() == {}


def test_pods_are_not_bound_to_a_network_that_is_being_deleted() -> None:
    site = site_with(network("red"))
    [made] = site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    site.add(NETWORK_ENDPOINTS, endpoint(made, "red", "10.0.0.2"))
    site.server.delete(NETWORKS, "red")
    site.add(PODS, pod("b", "n2", net="red"))
    site.run()
    assert list(site.blocks()) == ["red-0"]


def test_a_network_of_the_same_name_takes_over_the_claim() -> None:
    site = site_with(network("red"))
    site.server.delete(NETWORKS, "red")
    site.run()
    site.add(NETWORKS, network("blue"), network("red"))
    site.run()
    assert site.keys_of() == {"blue": 2, "red": 1}


def test_a_key_is_adopted_if_nobody_else_has_it() -> None:
    site = site_with(network("red"))
    site.add(NETWORKS, {**network("blue"), "status": {"networkKey": 7}})
    site.run()
    assert site.keys_of() == {"red": 1, "blue": 7}
    assert site.claims() == {"1": "red", "7": "blue"}


def test_a_key_that_another_has_is_replaced() -> None:
    site = site_with(network("red"))
    site.add(NETWORKS, {**network("blue"), "status": {"networkKey": 1}})
    site.run()
    assert site.keys_of() == {"red": 1, "blue": 2}


def test_without_a_free_key_a_network_waits_for_one() -> None:
    site = site_with(network("red"), network("blue"), keys=range(1, 2))
    assert sorted(map(str, site.keys_of().values())) == ["1", "None"]
    assert len(site.replica.worker.lacks.keyless) == 1
    keeper = site.claims()["1"]
    site.server.delete(NETWORKS, keeper)
    site.run()
    assert site.replica.worker.lacks.keyless
    site.run(61)
    assert list(site.keys_of().values()) == [1]
    assert not site.replica.worker.lacks.keyless


def test_nodes_without_a_block_are_named_until_there_is_one() -> None:
    site = site_with(network("red", "10.0.0.0/24"))
    site.add(PODS, pod("a", "n1", net="red"), pod("b", "n2", net="red"))
    site.run()
    assert site.replica.worker.lacks.shortages["red"] == (("n2",), 1)
    site.server.delete(PODS, "a", "shop")
    site.run(1)
    site.run(61)
    assert site.blocks() == {"red-0": ("n2", "10.0.0.0/24")}
    assert not site.replica.worker.lacks.shortages


def test_networks_of_the_world_outside_and_l2_ones_have_keys_and_no_blocks() -> None:
    site = site_with(network("flat", kind="l2"))
    site.add(PODS, pod("a", "n1", net="flat"))
    site.run()
    assert (site.keys_of(), site.blocks()) == ({"flat": 1}, {})


def test_when_bindings_change_pods_without_endpoint_move() -> None:
    site = site_with(network("red"), network("blue"))
    site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    site.server.patch(
        BINDING_POLICIES, "to-blue", "", {"spec": {"priority": 5, "selector": {"matchLabels": None}}}
    )
    site.run()
    assert "blue-0" in site.blocks()
    site.run(61)
    assert list(site.blocks()) == ["blue-0"]


def test_a_block_that_endpoints_lost_is_made_again_for_their_node() -> None:
    site = site_with(network("red"))
    [made] = site.add(PODS, pod("a", "n1", net="red"))
    site.run()
    site.add(NETWORK_ENDPOINTS, endpoint(made, "red", "10.0.0.2"))
    site.server.delete(ALLOCATIONS, "red-0")
    site.add(PODS, pod("b", "n0", net="red"))
    site.run()
    assert site.blocks() == {"red-0": ("n1", "10.0.0.0/24"), "red-1": ("n0", "10.0.1.0/24")}
