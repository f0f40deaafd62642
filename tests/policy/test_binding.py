"""Which Network a pod or service belongs to."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lace_sdn.model.labels import Labels, LabelSelector, Operator, Requirement, labels
from lace_sdn.model.objects import BindingPolicy
from lace_sdn.policy.binding import Binder

NAMESPACES = {"shop": labels({"team": "shop"}), "lab": labels({"team": "lab"})}
WEB = labels({"tier": "web"})


def selector(**terms: str) -> LabelSelector:
    return LabelSelector(tuple(Requirement(key, Operator.IN, (value,)) for key, value in terms.items()))


def policy(name: str, network: str, priority: int = 0, created: str = "") -> BindingPolicy:
    return BindingPolicy(name, network, priority=priority, created=created)


def network_of(policies: list[BindingPolicy], namespace: str = "shop", found: Labels = WEB) -> str | None:
    return Binder(policies, NAMESPACES, ["default", "red"]).network_of(namespace, found)


def test_empty_selectors_match_everything() -> None:
    assert network_of([policy("any", "red")]) == "red"


def test_both_selectors_must_match() -> None:
    """The namespace's labels belong to the operator, the object's to its tenant."""
    shop_web = BindingPolicy("a", "red", selector(team="shop"), selector(tier="web"))
    assert network_of([shop_web]) == "red"
    assert network_of([shop_web], "lab") == "default"
    assert network_of([shop_web], "shop", labels({"tier": "db"})) == "default"


def test_a_namespace_that_nobody_knows_has_no_labels() -> None:
    assert network_of([BindingPolicy("a", "red", selector(team="shop"))], "unknown") == "default"


def test_the_higher_priority_wins_then_the_older_then_the_name() -> None:
    old, young = policy("z", "old", created="2026-01"), policy("a", "young", created="2026-02")
    assert network_of([young, old]) == "old"
    assert network_of([old, policy("y", "high", 1, "2026-03")]) == "high"
    assert network_of([policy("b", "second"), policy("a", "first")]) == "first"
    assert network_of([young, policy("c", "ageless")]) == "ageless"


def test_unbound_objects_belong_to_default_if_it_exists() -> None:
    assert network_of([]) == "default"
    assert Binder([], NAMESPACES, ["red"]).network_of("shop", WEB) is None


def test_a_policy_may_name_a_network_that_does_not_exist() -> None:
    """Then the pod is refused; it does not fall into another network."""
    assert network_of([policy("a", "missing")]) == "missing"


LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("12")).map(labels)
TERMS = st.builds(
    Requirement,
    st.sampled_from("ab"),
    st.sampled_from(Operator),
    st.lists(st.sampled_from("12"), min_size=1, max_size=2).map(tuple),
)
SELECTORS = st.lists(TERMS, max_size=2).map(lambda terms: LabelSelector(tuple(terms)))
POLICIES = st.lists(
    st.builds(
        BindingPolicy,
        st.sampled_from("pqrst"),
        st.sampled_from(["red", "blue"]),
        SELECTORS,
        SELECTORS,
        st.integers(0, 1),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(POLICIES, LABELS, LABELS)
def test_it_is_the_first_that_matches(policies: list[BindingPolicy], around: Labels, its: Labels) -> None:
    """However they are looked up."""
    matching = [each for each in policies if each.namespaces.matches(around) and each.objects.matches(its)]
    first = min(matching, key=lambda each: (-each.priority, each.created, each.name), default=None)
    assert Binder(policies, {"shop": around}, []).network_of("shop", its) == (
        first.network if first else None
    )
