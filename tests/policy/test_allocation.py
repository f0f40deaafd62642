"""Addresses, blocks and MACs: what they are, and that nothing is renumbered because something else came or went."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from itertools import combinations
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st

from lace_sdn.model.objects import Allocation, Network, NetworkType, Pod, Subnet
from lace_sdn.policy.allocation import Allocated, Bound, allocate, mac_of
from lace_sdn.policy.ledger import Ledger

NOTHING = Ledger()


def network(name: str, *prefixes: str, block: int = 24, kind: NetworkType = NetworkType.L3) -> Network:
    """IPv6 prefixes are cut into /64."""
    found = tuple(ip_network(text) for text in prefixes)
    return Network(name, kind, 1, tuple(Subnet(each, block if each.version == 4 else 64) for each in found))


def pod(name: str, node: str = "node-1", *addresses: str, created: str = "", uid: str = "") -> Pod:
    found = tuple(ip_address(text) for text in addresses)
    return Pod("shop", name, node, addresses=found, created=created, uid=uid)


def given_to(
    networks: list[Network], pods: list[Pod], known: Ledger = NOTHING, name: str = "web"
) -> Allocated:
    return allocate(networks, [Bound(each, name) for each in pods], (), known)


def addresses(allocated: Allocated) -> dict[str, list[str]]:
    return {each.name: [str(address) for address in each.addresses] for each in allocated.endpoints}


def blocks(allocated: Allocated) -> list[tuple[str, str]]:
    return [(each.node, str(each.block)) for each in allocated.blocks]


def reasons(allocated: Allocated) -> list[tuple[str, str]]:
    return [(refusal.name, refusal.reason) for refusal in allocated.refusals]


WEB = network("web", "10.0.0.0/16")
DUAL = network("web", "10.0.0.0/16", "fd00::/48")
SMALL = network("web", "10.0.0.0/28", block=29)
"""Two blocks of five addresses each."""


def test_a_node_gets_a_block_and_its_pods_the_addresses_after_the_first_two() -> None:
    """In order of the nodes' names; a node without a pod of the network gets none."""
    found = given_to([WEB], [pod("b", "node-2"), pod("c"), pod("a")])
    assert blocks(found) == [("node-1", "10.0.0.0/24"), ("node-2", "10.0.1.0/24")]
    assert addresses(found) == {"a": ["10.0.0.2"], "b": ["10.0.1.2"], "c": ["10.0.0.3"]}


def test_a_dual_stack_network_gives_both_families() -> None:
    found = given_to([DUAL], [pod("a"), pod("b", "node-2")])
    assert addresses(found) == {"a": ["10.0.0.2", "fd00::2"], "b": ["10.0.1.2", "fd00:0:0:1::2"]}


def test_networks_with_the_same_prefix_do_not_meet() -> None:
    both = [network("red", "10.0.0.0/16"), network("web", "10.0.0.0/16")]
    found = allocate(both, [Bound(pod("a"), "red"), Bound(pod("b", "node-2"), "web")], (), Ledger())
    assert addresses(found) == {"a": ["10.0.0.2"], "b": ["10.0.0.2"]}


def test_an_l2_network_is_one_block_for_all_nodes() -> None:
    flat = network("web", "10.0.0.0/24", kind=NetworkType.L2)
    found = given_to([flat], [pod("a", "node-1"), pod("b", "node-2")])
    assert (addresses(found), blocks(found)) == ({"a": ["10.0.0.2"], "b": ["10.0.0.3"]}, [])


def test_the_mac_says_the_address() -> None:
    """Locally administered (IEEE 802c: 02), with the IPv4 address, or a hash of the IPv6 one."""
    assert mac_of([ip_address("10.0.1.2"), ip_address("fd00::2")]) == "02:00:0a:00:01:02"
    assert mac_of([ip_address("fd00::2")]).startswith("02:01:")
    assert mac_of([ip_address("fd00::2")]) != mac_of([ip_address("fd00::3")])


def test_addresses_that_pods_carry_are_honoured_before_others_are_chosen() -> None:
    found = given_to([WEB], [pod("a"), pod("b", "node-1", "10.0.0.2"), pod("c", "node-1", "10.0.9.77")])
    assert addresses(found) == {"a": ["10.0.0.3"], "b": ["10.0.0.2"], "c": ["10.0.9.77"]}
    assert blocks(found) == [("node-1", "10.0.0.0/24"), ("node-1", "10.0.9.0/24")]


def test_a_carried_address_outside_the_network_is_refused() -> None:
    found = given_to([WEB], [pod("a", "node-1", "10.9.0.2"), pod("b", "node-1", "fd00::1"), pod("c")])
    assert reasons(found) == [("shop/a", "AddressOutsideNetwork"), ("shop/b", "AddressOutsideNetwork")]
    assert addresses(found) == {"c": ["10.0.0.2"]}


def test_of_two_pods_with_one_address_the_older_keeps_it() -> None:
    young, old = pod("a", "n", "10.0.0.5", created="2026-02"), pod("b", "n", "10.0.0.5", created="2026-01")
    found = given_to([WEB], [young, old])
    assert (addresses(found), reasons(found)) == ({"b": ["10.0.0.5"]}, [("shop/a", "AddressInUse")])


def test_an_address_of_another_nodes_block_is_refused() -> None:
    found = given_to([WEB], [pod("a", "node-1", "10.0.0.5"), pod("b", "node-2", "10.0.0.6")])
    assert reasons(found) == [("shop/b", "AddressOfOtherNode")]


def test_an_exhausted_block_refuses_the_next_pod_only() -> None:
    """Five of eight addresses are for pods: not the network's, the first, the broadcast."""
    found = given_to([SMALL], [pod(f"p{n}") for n in range(6)] + [pod("q", "node-2")])
    assert reasons(found) == [("shop/p5", "BlockExhausted")]
    assert addresses(found)["p4"] == ["10.0.0.6"]
    assert addresses(found)["q"] == ["10.0.0.10"]


def test_a_subnet_too_small_for_its_nodes_says_so_once() -> None:
    found = given_to([SMALL], [pod("a"), pod("b", "node-2"), pod("c", "node-3"), pod("d", "node-4")])
    assert reasons(found) == [
        ("web", "SubnetTooSmall"),
        ("shop/c", "BlockExhausted"),
        ("shop/d", "BlockExhausted"),
    ]


def test_an_allocation_object_fixes_a_block() -> None:
    pinned = [Allocation("web", "node-1", ip_network("10.0.7.0/24"))]
    found = allocate([WEB], [Bound(pod("a"), "web"), Bound(pod("b", "node-2"), "web")], pinned, Ledger())
    assert addresses(found) == {"a": ["10.0.7.2"], "b": ["10.0.0.2"]}


def test_a_vanished_pod_frees_its_address_and_an_empty_node_its_block() -> None:
    first = given_to([WEB], [pod("a"), pod("b"), pod("c", "node-2")])
    alive = first.ledger.without_pods(["shop/a", "shop/c"])
    second = given_to([WEB], [pod("b"), pod("d"), pod("e", "node-0")], alive)
    assert addresses(second) == {"b": ["10.0.0.3"], "d": ["10.0.0.2"], "e": ["10.0.1.2"]}
    assert blocks(second) == [("node-0", "10.0.1.0/24"), ("node-1", "10.0.0.0/24")]


def test_the_lease_of_a_pod_that_is_not_bound_now_is_kept_for_it() -> None:
    """Its node or network may come back: nobody else gets its address."""
    first = given_to([WEB], [pod("a"), pod("b")])
    second = given_to([WEB], [pod("b"), pod("c")], first.ledger)
    assert addresses(second) == {"b": ["10.0.0.3"], "c": ["10.0.0.4"]}
    assert given_to([WEB], [pod("a"), pod("b"), pod("c")], second.ledger).ledger == second.ledger


def test_a_pod_created_anew_is_another_pod() -> None:
    """By another uid, or on another node."""
    first = given_to([WEB], [pod("a", uid="1"), pod("b", uid="1")])
    again = given_to([WEB], [pod("a", "node-2", uid="1"), pod("b", uid="2")], first.ledger)
    assert [(lease.pod, lease.node, lease.uid) for lease in again.ledger.leases] == [
        ("shop/a", "node-2", "1"),
        ("shop/b", "node-1", "2"),
    ]


def test_a_network_with_another_prefix_is_another_network() -> None:
    first = given_to([WEB], [pod("a")])
    second = given_to([network("web", "10.7.0.0/16")], [pod("a")], first.ledger)
    assert addresses(second) == {"a": ["10.7.0.2"]}


def test_thousands_of_pods_take_well_under_a_second() -> None:
    """Time grows with the pods, not with their square: 4 times the pods take at most 10 times as long."""

    def seconds(count: int) -> float:
        pods = [pod(f"p{n}", f"node-{n % 50}") for n in range(count)]
        start = process_time()
        assert len(given_to([DUAL], pods).endpoints) == count
        return process_time() - start

    # The best of three: the collector walks all that other tests have left, now and then.
    few, many = (min(seconds(count) for _ in range(3)) for count in (1_000, 4_000))
    assert many < 10 * few + 0.1


NETWORKS = [SMALL, network("app", "10.0.0.0/26", "fd00::/62", block=28), network("db", "fd00::/63")]
CARRIED = ["10.0.0.2", "10.0.0.3", "10.0.0.9", "10.0.0.20", "fd00::2", "fd00:0:0:1::5"]
PODS = st.lists(
    st.tuples(
        st.builds(
            lambda name, node, carried, created: pod(name, node, *carried, created=created),
            st.sampled_from("abcdefgh"),
            st.sampled_from(["node-1", "node-2", "node-3"]),
            st.one_of(st.just([]), st.lists(st.sampled_from(CARRIED), max_size=1)),
            st.sampled_from(["", "2026-01", "2026-02"]),
        ),
        st.sampled_from(["web", "app", "db"]),
    ).map(lambda both: Bound(*both)),
    unique_by=lambda bound: bound.pod.id,
)


def alive(known: Ledger, bound: list[Bound]) -> Ledger:
    """The ledger without the pods that are gone, which is how it is handed in."""
    return known.without_pods({lease.pod for lease in known.leases} - {each.pod.id for each in bound})


@settings(deadline=None)
@given(PODS, PODS, st.randoms(use_true_random=False))
def test_the_order_of_pods_does_not_matter(before: list[Bound], after: list[Bound], shuffle) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    known = alive(allocate(NETWORKS, before, (), Ledger()).ledger, after)
    shuffled = sorted(after, key=lambda _: shuffle.random())
    found, again = (allocate(*each, (), known) for each in ((NETWORKS, after), (NETWORKS[::-1], shuffled)))
    assert (found.endpoints, found.blocks, found.ledger) == (again.endpoints, again.blocks, again.ledger)
    assert set(found.refusals) == set(again.refusals)


@settings(deadline=None)
@given(PODS, PODS)
def test_nothing_is_renumbered_because_something_else_came_or_went(
    before: list[Bound], after: list[Bound]
) -> None:
    """A pod that is the same before and after keeps its addresses."""
    first = allocate(NETWORKS, before, (), Ledger())
    second = allocate(NETWORKS, after, (), alive(first.ledger, after))
    same = {each.pod.id for each in before if each in after}
    had = {each.id: each for each in first.endpoints if each.id in same}
    assert {each.id: each for each in second.endpoints if each.id in had} == had


@settings(deadline=None)
@given(PODS, PODS)
def test_addresses_are_unique_and_lie_in_a_block_of_the_pods_node(
    before: list[Bound], after: list[Bound]
) -> None:
    known = alive(allocate(NETWORKS, before, (), Ledger()).ledger, after)
    found = allocate(NETWORKS, after, (), known)
    used = [(each.network, address) for each in found.endpoints for address in each.addresses]
    assert len(used) == len(set(used))
    own = {(each.network, each.node, each.block) for each in found.blocks}
    assert all(
        any(
            network == each.network and node == each.node and address in block for network, node, block in own
        )
        for each in found.endpoints
        for address in each.addresses
    )
    assert not any(
        a.network == b.network and a.block.overlaps(b.block) for a, b in combinations(found.blocks, 2)
    )


@settings(deadline=None)
@given(PODS)
def test_local_addresses_are_shared_only_where_one_is_carried_or_a_block_is_full(bound: list[Bound]) -> None:
    """The blocks here hold more addresses than there are pods, but for those of the small network."""
    found = allocate(NETWORKS, bound, (), Ledger())
    carried = {address for each in bound for address in each.pod.addresses}
    used = Counter((each.node, address) for each in found.endpoints for address in each.addresses)
    shared = {address for (_, address), times in used.items() if times > 1}
    assert shared <= carried or any(each.network == "web" for each in bound)


@settings(deadline=None)
@given(PODS)
def test_each_pod_has_an_endpoint_or_a_refusal(bound: list[Bound]) -> None:
    found = allocate(NETWORKS, bound, (), Ledger())
    refused = {refusal.name for refusal in found.refusals if refusal.kind == "Pod"}
    assert {each.id for each in found.endpoints} ^ refused == {each.pod.id for each in bound}


@settings(deadline=None)
@given(PODS)
def test_what_was_allocated_is_allocated_again(bound: list[Bound]) -> None:
    """A reconcile without change changes nothing, through the text of the ledger too."""
    first = allocate(NETWORKS, bound, (), Ledger())
    again = allocate(NETWORKS, bound, (), Ledger.from_json(first.ledger.to_json()))
    assert (again.endpoints, again.blocks, again.ledger) == (first.endpoints, first.blocks, first.ledger)
    assert {refusal.name for refusal in again.refusals} == {refusal.name for refusal in first.refusals}
