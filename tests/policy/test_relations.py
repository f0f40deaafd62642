"""Promises of the relations: who may initiate to whom, and what is lost to overlapping prefixes."""

from __future__ import annotations

from ipaddress import ip_network

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import LabelSelector, NetworkSelector, Operator, Requirement, labels
from lace_sdn.model.objects import Network, NetworkType, RoutingPolicy, Subnet
from lace_sdn.policy.oracle import network_verdict
from lace_sdn.policy.relations import resolve


def pods(name: str, key: int, prefix: str, **marks: str) -> Network:
    return Network(name, NetworkType.L3, key, (Subnet(ip_network(prefix), 24),), labels=labels(marks))


def outside(name: str, key: int, *prefixes: str, **marks: str) -> Network:
    return Network(
        name,
        NetworkType.EXTERNAL,
        key,
        external_prefixes=tuple(map(ip_network, prefixes)),
        labels=labels(marks),
    )


def named(name: str) -> NetworkSelector:
    return NetworkSelector(name=name)


def having(key: str, operator: Operator, *values: str) -> NetworkSelector:
    return NetworkSelector(by_labels=LabelSelector((Requirement(key, operator, values),)))


def state(networks: list[Network], *policies: RoutingPolicy) -> ClusterState:
    return ClusterState(
        networks=tuple(sorted(networks, key=lambda each: each.name)),
        routing_policies=tuple(sorted(policies, key=lambda each: each.name)),
    )


A = pods("a", 1, "10.0.0.0/16")
B = pods("b", 2, "10.1.0.0/16")
C = pods("c", 3, "10.2.0.0/16")


def test_a_policy_relates_in_its_direction_only() -> None:
    found = resolve(state([A, B], RoutingPolicy("p", named("a"), named("b"))))
    assert found.reach == {"a": {"b": "p"}}


def test_one_label_on_both_sides_is_one_class() -> None:
    members = [pods(name, key, f"10.{key}.0.0/16", vrf="x") for key, name in enumerate("abcd", start=7)]
    mesh = having("vrf", Operator.EXISTS)
    found = resolve(state(members, RoutingPolicy("mesh", mesh, mesh)))
    assert [(each.number, each.members) for each in found.classes] == [(7, ("a", "b", "c", "d"))]


def test_spokes_of_one_hub_are_one_class() -> None:
    found = resolve(
        state(
            [A, B, C], RoutingPolicy("1", named("a"), named("c")), RoutingPolicy("2", named("b"), named("c"))
        )
    )
    assert [each.members for each in found.classes] == [("a", "b")]


def test_the_older_policy_keeps_the_prefix_and_the_other_says_so() -> None:
    twin = pods("twin", 9, "10.1.0.0/16")
    found = resolve(
        state(
            [A, B, twin],
            RoutingPolicy("new", named("a"), named("b"), "2026-02-01T00:00:00Z"),
            RoutingPolicy("old", named("a"), named("twin"), "2026-01-01T00:00:00Z"),
        )
    )
    assert found.reach == {"a": {"twin": "old"}}
    (condition,) = found.conditions
    assert (condition.name, condition.reason, condition.status) == ("new", "OverlappingPrefixes", False)
    assert "a -> b" in condition.message
    assert "10.1.0.0/16" in condition.message
    assert "twin" in condition.message


def test_every_policy_that_relates_a_lost_pair_says_so() -> None:
    """Each lists all that it lost, and nothing of what others lost."""
    twin, other = pods("twin", 9, "10.1.0.0/16"), pods("other", 10, "10.9.0.0/16")
    found = resolve(
        state(
            [A, B, other, twin],
            RoutingPolicy("1-first", named("a"), named("twin"), "2026-01-01T00:00:00Z"),
            RoutingPolicy("2-second", named("a"), NetworkSelector(), "2026-02-01T00:00:00Z"),
            RoutingPolicy("3-third", named("a"), named("b"), "2026-03-01T00:00:00Z"),
            RoutingPolicy("4-back", named("b"), named("a"), "2026-04-01T00:00:00Z"),
        )
    )
    assert {name: set(reached) for name, reached in found.reach.items()} == {
        "a": {"a", "other", "twin"},
        "b": {"a"},
    }
    assert [each.name for each in found.conditions] == ["2-second", "3-third"]
    assert len({each.message for each in found.conditions}) == 1
    assert found.conditions[0].message.count("a -> b: ") == 1
    assert {(each.policy, each.source, each.destination) for each in found.lost} == {
        ("2-second", "a", "b"),
        ("3-third", "a", "b"),
    }


def test_external_networks_with_one_prefix_conflict_for_no_source() -> None:
    """Each of their addresses belongs to one of them, whoever asks."""
    one, two = outside("one", 20, "192.0.2.0/24", out="1"), outside("two", 21, "192.0.2.0/24", out="1")
    both = having("out", Operator.EXISTS)
    found = resolve(
        state([A, one, two], RoutingPolicy("p", both, both), RoutingPolicy("q", named("a"), both))
    )
    assert found.lost == ()
    assert set(found.reach["a"]) == {"one", "two"}


def test_within_one_policy_the_name_of_the_network_decides() -> None:
    twins = [pods("y", 8, "10.9.0.0/16"), pods("x", 9, "10.9.0.0/16")]
    found = resolve(state([A, *twins], RoutingPolicy("p", named("a"), NetworkSelector())))
    assert set(found.reach["a"]) == {"a", "x"}


def test_the_sources_own_network_always_wins() -> None:
    inside = pods("inside", 5, "10.0.4.0/24")
    found = resolve(state([A, inside], RoutingPolicy("p", named("a"), named("inside"))))
    assert found.reach == {}
    assert found.lost[0].winner == "a"


def test_an_empty_selector_never_opens_the_outside() -> None:
    internet = outside("internet", 20, "0.0.0.0/0")
    found = resolve(state([A, internet], RoutingPolicy("p", named("a"), NetworkSelector())))
    assert "internet" not in found.reach["a"]


def test_a_negative_term_never_opens_the_outside() -> None:
    internet = outside("internet", 20, "0.0.0.0/0", zone="out")
    found = resolve(
        state([A, internet], RoutingPolicy("p", named("a"), having("tier", Operator.NOT_IN, "secret")))
    )
    assert "internet" not in found.reach["a"]


def test_a_positive_term_selects_the_outside_and_may_contain_pods() -> None:
    internet = outside("internet", 20, "0.0.0.0/0", zone="out")
    found = resolve(state([A, internet], RoutingPolicy("p", named("a"), having("zone", Operator.IN, "out"))))
    assert found.reach == {"a": {"internet": "p"}}


def test_an_external_prefix_inside_pods_conflicts() -> None:
    corp = outside("corp", 20, "10.0.7.0/24")
    found = resolve(state([A, corp], RoutingPolicy("p", named("a"), named("corp"))))
    assert found.reach == {}


def test_two_external_networks_are_never_related() -> None:
    one, two = outside("one", 20, "192.0.2.0/24"), outside("two", 21, "198.51.100.0/24")
    found = resolve(state([one, two], RoutingPolicy("p", named("one"), named("two"))))
    assert found.reach == {}
    assert not network_verdict(
        state([one, two], RoutingPolicy("p", named("one"), named("two"))), "one", "two"
    ).allowed
