"""Network keys are unique, never renumbered, and not reused while anything carries them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lace_sdn.model.objects import Network, NetworkType
from lace_sdn.policy.keys import assign_keys


def network(name: str, key: int = 0, created: str = "") -> Network:
    return Network(name, NetworkType.L3, key, created=created)


def test_keys_are_the_smallest_free_ones_in_order_of_name() -> None:
    keys, refusals = assign_keys([network("b"), network("c", 1), network("a")], {}, ())
    assert (keys, refusals) == ({"a": 2, "b": 3, "c": 1}, ())


def test_a_network_that_comes_first_by_name_renumbers_nobody() -> None:
    keys, _ = assign_keys([network("a"), network("b")], {"b": 1}, ())
    assert keys == {"a": 2, "b": 1}


def test_a_key_is_free_again_when_nothing_carries_it() -> None:
    assert assign_keys([network("a")], {"gone": 1}, ())[0] == {"a": 1}


def test_a_carried_key_is_kept_for_its_network() -> None:
    """A pod still runs in ``gone``: its packets must not become those of another network."""
    assert assign_keys([network("a")], {"gone": 1}, ["gone"])[0] == {"a": 2, "gone": 1}
    assert assign_keys([network("a"), network("gone")], {"a": 2, "gone": 1}, ())[0] == {"a": 2, "gone": 1}


def test_of_two_that_ask_for_one_key_the_older_keeps_it() -> None:
    keys, refusals = assign_keys([network("a", 7, "2026-02"), network("b", 7, "2026-01")], {}, ())
    assert keys == {"b": 7}
    assert [(refusal.name, refusal.reason, refusal.found) for refusal in refusals] == [
        ("a", "KeyInUse", '7 is the key of Network "b"')
    ]


def test_the_holder_of_a_key_keeps_it_against_an_older_network() -> None:
    """Nothing is renumbered because something else came."""
    keys, refusals = assign_keys([network("a", 7, "2026-01"), network("b", 0, "2026-02")], {"b": 7}, ())
    assert (keys, [refusal.name for refusal in refusals]) == ({"b": 7}, ["a"])


def test_a_network_that_asks_for_a_taken_key_keeps_the_one_it_has() -> None:
    keys, refusals = assign_keys([network("a", 7), network("b")], {"a": 3, "b": 7}, ())
    assert (keys, [refusal.name for refusal in refusals]) == ({"a": 3, "b": 7}, ["a"])


NAMES = st.sampled_from("abcdef")
NETWORKS = st.lists(
    st.builds(
        network, NAMES, st.sampled_from([0, 0, 0, 1, 2, 7]), st.sampled_from(["", "2026-01", "2026-02"])
    ),
    unique_by=lambda each: each.name,
)


@given(NETWORKS, st.permutations(range(6)), NETWORKS)
def test_the_order_of_networks_does_not_matter(
    networks: list[Network], order: list[int], before: list[Network]
) -> None:
    known = assign_keys(before, {}, ())[0]
    shuffled = [networks[index] for index in order if index < len(networks)]
    assert assign_keys(shuffled, known, ()) == assign_keys(networks, known, ())


@given(NETWORKS, NETWORKS)
def test_a_network_keeps_its_key_whatever_comes_or_goes(before: list[Network], after: list[Network]) -> None:
    """Unless it asks for another one itself."""
    known = assign_keys(before, {}, ())[0]
    keys = assign_keys(after, known, ())[0]
    staying = [each for each in after if each.name in known and each.key in (0, known[each.name])]
    assert {each.name: keys.get(each.name) for each in staying} == {
        each.name: known[each.name] for each in staying
    }
    assert len(set(keys.values())) == len(keys)


@given(NETWORKS)
def test_each_network_has_a_key_or_a_refusal(networks: list[Network]) -> None:
    keys, refusals = assign_keys(networks, {}, ())
    assert keys.keys() | {refusal.name for refusal in refusals} == {each.name for each in networks}
    assert not keys.keys() & {refusal.name for refusal in refusals}
