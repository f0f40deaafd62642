"""Addresses of the pods of one node, across networks: its own processes know each address once."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from time import process_time

from lace_sdn.model.objects import Network, NetworkType, Pod, Subnet
from lace_sdn.policy.allocation import Allocated, Bound, allocate
from lace_sdn.policy.ledger import Ledger


def network(name: str, *prefixes: str, block: int = 24, kind: NetworkType = NetworkType.L3) -> Network:
    """IPv6 prefixes are cut into /64."""
    found = tuple(ip_network(text) for text in prefixes)
    return Network(name, kind, 1, tuple(Subnet(each, block if each.version == 4 else 64) for each in found))


def pod(name: str, node: str = "node-1", *addresses: str, created: str = "") -> Pod:
    return Pod("shop", name, node, addresses=tuple(ip_address(text) for text in addresses), created=created)


def addresses(allocated: Allocated) -> dict[str, list[str]]:
    return {each.name: [str(address) for address in each.addresses] for each in allocated.endpoints}


def local(networks: list[Network], pods: dict[str, list[Pod]], known: Ledger | None = None) -> Allocated:
    """``pods``: by their networks."""
    bound = [Bound(pod, name) for name, its in pods.items() for pod in its]
    return allocate(networks, bound, (), known or Ledger())


RED, BLUE = network("red", "10.0.0.0/16"), network("blue", "10.0.0.0/16")


def test_a_node_gives_no_two_of_its_pods_one_address_in_whatever_networks() -> None:
    """Other nodes may give it again: their processes are others."""
    found = local(
        [BLUE, RED], {"blue": [pod("a"), pod("b", "node-2")], "red": [pod("c"), pod("d", "node-2")]}
    )
    assert addresses(found) == {"a": ["10.0.0.2"], "b": ["10.0.1.2"], "c": ["10.0.0.3"], "d": ["10.0.1.3"]}


def test_both_families_are_avoided() -> None:
    both = [network(name, "10.0.0.0/16", "fd00::/48") for name in ("blue", "red")]
    found = local(both, {"blue": [pod("a")], "red": [pod("b")]})
    assert addresses(found) == {"a": ["10.0.0.2", "fd00::2"], "b": ["10.0.0.3", "fd00::3"]}


def test_addresses_that_local_pods_of_other_networks_carry_are_avoided() -> None:
    """Whichever network comes first, and where such a pod is refused too."""
    refused = pod("x", "node-1", "10.0.0.2", "10.9.0.9")
    found = local([BLUE, RED], {"blue": [pod("a")], "red": [pod("b", "node-1", "10.0.0.3"), refused]})
    assert addresses(found) == {"a": ["10.0.0.4"], "b": ["10.0.0.3"]}


def test_a_lease_stays_when_another_local_pod_comes_with_its_address() -> None:
    """And the other keeps what it carries; a third one avoids both."""
    first = local([BLUE, RED], {"blue": [pod("a")]})
    carried = pod("b", "node-1", "10.0.0.2")
    second = local([BLUE, RED], {"blue": [pod("a")], "red": [carried, pod("c")]}, first.ledger)
    assert addresses(second) == {"a": ["10.0.0.2"], "b": ["10.0.0.2"], "c": ["10.0.0.3"]}


def test_the_address_of_a_pod_whose_network_is_gone_is_avoided() -> None:
    """It may return, and the pod with it."""
    first = local([BLUE], {"blue": [pod("a")]})
    found = local([RED], {"red": [pod("b")]}, first.ledger)
    assert addresses(found) == {"b": ["10.0.0.3"]}
    back = local([BLUE, RED], {"blue": [pod("a")], "red": [pod("b")]}, found.ledger)
    assert addresses(back) == {"a": ["10.0.0.2"], "b": ["10.0.0.3"]}


def test_a_block_that_has_no_other_address_gives_one_that_is_there_already() -> None:
    """Five of them: two are free of the other network's, then the smallest are given again."""
    small = [network(name, "10.0.0.0/28", block=29) for name in ("blue", "red")]
    pods = {"blue": [pod(f"a{n}") for n in range(3)], "red": [pod(f"b{n}") for n in range(6)]}
    found = local(small, pods)
    assert [addresses(found)[f"b{n}"][0][-1] for n in range(5)] == ["5", "6", "2", "3", "4"]
    assert [(each.name, each.reason) for each in found.refusals] == [("shop/b5", "BlockExhausted")]


def test_an_l2_network_avoids_what_each_node_has() -> None:
    """Its one block is of all nodes, what is avoided is not."""
    flat = network("flat", "10.0.0.0/24", kind=NetworkType.L2)
    found = local([BLUE, flat], {"blue": [pod("a")], "flat": [pod("b"), pod("c", "node-2")]})
    assert addresses(found) == {"a": ["10.0.0.2"], "b": ["10.0.0.3"], "c": ["10.0.0.2"]}


def probed(name: str, address: str, created: str = "", *ports: int, node: str = "node-1") -> Pod:
    return replace(pod(name, node, address, created=created), probes=ports)


def probes(allocated: Allocated) -> dict[str, tuple[int, ...]]:
    return {each.name: each.probes for each in allocated.endpoints}


def hidden(allocated: Allocated) -> list[tuple[str, str, str]]:
    return [(each.endpoint.name, str(each.address), each.other.name) for each in allocated.hidden]


def test_probes_pass_to_the_endpoint() -> None:
    found = local([RED], {"red": [probed("a", "10.0.0.2", "", 80, 81)]})
    assert (probes(found), hidden(found)) == ({"a": (80, 81)}, [])


def test_of_two_local_pods_with_one_address_the_older_is_probed() -> None:
    """The other keeps the address and is told; so it is read again."""
    pods = {"blue": [probed("a", "10.0.0.5", "2026-02", 80)], "red": [probed("b", "10.0.0.5", "2026-01", 81)]}
    found = local([BLUE, RED], pods)
    assert addresses(found) == {"a": ["10.0.0.5"], "b": ["10.0.0.5"]}
    assert (probes(found), hidden(found)) == ({"a": (), "b": (81,)}, [("a", "10.0.0.5", "b")])
    assert local([BLUE, RED], pods, found.ledger) == found


def test_of_one_age_the_first_by_name_is_probed_whichever_came_first() -> None:
    late, soon = probed("b", "10.0.0.5", "", 80), probed("a", "10.0.0.5", "", 80)
    first = local([BLUE, RED], {"red": [late]})
    both = {"blue": [soon], "red": [late]}
    found = local([BLUE, RED], both, first.ledger)
    assert hidden(found) == hidden(local([RED, BLUE], both)) == [("b", "10.0.0.5", "a")]


def test_a_pod_without_probes_hides_nobody() -> None:
    pods = {"blue": [probed("a", "10.0.0.5")], "red": [probed("b", "10.0.0.5", "", 80)]}
    found = local([BLUE, RED], pods)
    assert (probes(found), hidden(found)) == ({"a": (), "b": (80,)}, [])


def test_pods_of_other_nodes_hide_nobody() -> None:
    pods = {
        "blue": [probed("a", "10.0.0.5", "", 80)],
        "red": [probed("b", "10.0.0.5", "", 80, node="node-2")],
    }
    assert hidden(local([BLUE, RED], pods)) == []


def test_a_pod_that_is_hidden_at_one_address_hides_nobody_at_its_other() -> None:
    """Nothing is opened to it, so the third has its probes."""
    dual, six = network("web", "10.0.0.0/16", "fd00::/48"), network("six", "fd00::/48")
    both = replace(pod("b", "node-1", "10.0.0.5", "fd00::5"), probes=(80,))
    pods = {"blue": [probed("a", "10.0.0.5", "", 80)], "web": [both], "six": [probed("c", "fd00::5", "", 80)]}
    found = local([BLUE, dual, six], pods)
    assert (probes(found), hidden(found)) == ({"a": (80,), "b": (), "c": (80,)}, [("b", "10.0.0.5", "a")])


def test_what_local_pods_have_is_avoided_at_no_cost_that_grows() -> None:
    """A hundred networks with one prefix, and thousands of pods on one node: 4 times the pods, at most 10 times as long."""

    def seconds(networks: int, pods: int) -> float:
        wide = [network(f"n{n}", "10.0.0.0/8", block=16) for n in range(networks)]
        asked = {each.name: [pod(f"{each.name}-{n}") for n in range(pods)] for each in wide}
        start = process_time()
        found = local(wide, asked)
        assert len({each.addresses for each in found.endpoints}) == networks * pods
        return process_time() - start

    for few, many in (((100, 3), (100, 12)), ((1, 1_250), (1, 5_000)), ((25, 20), (100, 20))):
        small, large = (min(seconds(*each) for _ in range(3)) for each in (few, many))
        assert large < 10 * small + 0.1
