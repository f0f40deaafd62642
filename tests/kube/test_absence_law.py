"""The law of absence: whatever cannot be read of a cluster, nothing is allowed that would not be, could all be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import Manifests, keep_last_good, merged, parse
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.reachability import Outcome, intended

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from lace_sdn.kube.build import Built
    from lace_sdn.policy.oracle import Connection

BOOK = Path(__file__).parents[2] / "flows"
LARGEST = 40_000
"""Bytes of a scenario: every connection of it is asked for."""
SCENARIOS = sorted(
    each.parent.name
    for each in BOOK.glob("*/cluster.yaml")
    if (each.parent / "reachability.txt").exists() and each.stat().st_size < LARGEST
)
QUOTED = 'unfinished: "'
"""Behind it nothing is YAML."""


def texts(scenario: str) -> list[str]:
    """Each object as the text of a file of its own, as it is written."""
    text = (BOOK / scenario / "cluster.yaml").read_text()
    return [part for part in text.split("\n---") if "kind:" in part]


def spoilt(text: str, how: str) -> str:
    if how == "no YAML":
        return f"{text}\n{QUOTED}"
    # An object with its kind and name, and nothing that is valid.
    name = next((line for line in text.splitlines() if "name:" in line), "")
    assert name
    return text.replace("spec:", "spex:").replace("status:", "statux:") + "\nnonsense: 1\n"


def allowed(built: Built) -> set[Connection]:
    return {each for each, meant in intended(built.state).items() if meant.outcome is Outcome.ALLOW}


def of(parts: list[str]) -> Manifests:
    return merged([parse(text, f"{number}.yaml") for number, text in enumerate(parts)])


@st.composite
def cases(draw: DrawFn) -> tuple[str, dict[int, str]]:
    scenario = draw(st.sampled_from(SCENARIOS))
    numbers = st.integers(0, len(texts(scenario)) - 1)
    return scenario, draw(
        st.dictionaries(numbers, st.sampled_from(("no YAML", "refused")), min_size=1, max_size=4)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases(), keeps_numbers=st.booleans())
def test_nothing_is_allowed_that_all_objects_would_forbid(
    case: tuple[str, dict[int, str]], keeps_numbers: bool
) -> None:
    """Without any last good state; with the numbers given so far, or none."""
    scenario, bad = case
    whole = texts(scenario)
    full = build(of(whole), Ledger())
    part = [spoilt(text, bad[number]) if number in bad else text for number, text in enumerate(whole)]
    found = build(of(part), full.ledger if keeps_numbers else Ledger())
    assert allowed(found) <= allowed(full)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_what_became_bad_changes_nothing(case: tuple[str, dict[int, str]]) -> None:
    """With the last good state: nothing more, nothing less."""
    scenario, bad = case
    whole = texts(scenario)
    before = of(whole)
    full = build(before, Ledger())
    part = [spoilt(text, bad[number]) if number in bad else text for number, text in enumerate(whole)]
    found = build(keep_last_good(before, of(part)), full.ledger, former=full.state)
    assert allowed(found) == allowed(full)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_kind_by_itself(scenario: str) -> None:
    """All of its objects, in files that are no YAML."""
    whole = texts(scenario)
    full = build(of(whole), Ledger())
    its = allowed(full)
    for kind in sorted({line for text in whole for line in text.splitlines() if line.startswith("kind:")}):
        part = [spoilt(text, "no YAML") if kind in text.splitlines() else text for text in whole]
        for known in (full.ledger, Ledger()):
            assert allowed(build(of(part), known)) <= its, kind
