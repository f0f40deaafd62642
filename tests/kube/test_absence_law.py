"""The law of absence: whatever cannot be read of a cluster, nothing is allowed that would not be, could all be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from crowded import FILES, SHARP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lace_sdn.kube import build as build_module
from lace_sdn.kube.build import build
from lace_sdn.kube.gaps import Gap
from lace_sdn.kube.manifests import Manifests, keep_last_good, merged, parse
from lace_sdn.policy.connection import Connection
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.reachability import Outcome, intended

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.kube.build import Built

QUOTED = 'unfinished: "'
"""Behind it nothing is YAML."""


def spoilt(text: str, how: str) -> str:
    if how == "no YAML":
        return f"{text}\n{QUOTED}"
    # An object with its kind and name, and nothing that is valid.
    name = next((line for line in text.splitlines() if "name:" in line), "")
    assert name
    return text.replace("spec:", "spex:").replace("status:", "statux:") + "\nnonsense: 1\n"


Opening = tuple[Connection, str]


def openings(built: Built) -> set[Opening]:
    """What is allowed: each connection, with each of the pods that may answer it."""
    return {
        (each, answers)
        for each, meant in intended(built.state).items()
        if meant.outcome is Outcome.ALLOW
        for answers in meant.backends or ("",)
    }


def of(bad: Mapping[str, str]) -> Manifests:
    """The cluster with some of its files spoilt: file -> how."""
    return merged(
        parse(spoilt(text, bad[name]) if name in bad else text, f"{name}.yaml")
        for name, text in FILES.items()
    )


FULL = build(of({}), Ledger())
ALLOWED = openings(FULL)
BAD = st.dictionaries(
    st.sampled_from(sorted(FILES)), st.sampled_from(("no YAML", "refused")), min_size=1, max_size=5
)
TENANTS = ("Pod", "Service", "EndpointSlice")
"""Refused by name these narrow nothing: one tenant's mistake does not stop the others (docs/policy-semantics.md)."""


@pytest.mark.parametrize("known", [FULL.ledger, Ledger()], ids=["numbered", "fresh"])
@pytest.mark.parametrize("name", FILES)
def test_one_file_that_cannot_be_read_opens_nothing(name: str, known: Ledger) -> None:
    """Without any last good state; with the numbers given so far, or none."""
    assert openings(build(of({name: "no YAML"}), known)) <= ALLOWED


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(bad=BAD, is_fresh=st.booleans())
def test_whatever_cannot_be_read_opens_nothing(bad: dict[str, str], is_fresh: bool) -> None:
    its = {
        name: "no YAML" if any(f"kind: {kind}\n" in FILES[name] for kind in TENANTS) else how
        for name, how in bad.items()
    }
    assert openings(build(of(its), Ledger() if is_fresh else FULL.ledger)) <= ALLOWED


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(bad=BAD)
def test_with_a_last_good_state_nothing_changes(bad: dict[str, str]) -> None:
    """Nothing more, nothing less."""
    found = keep_last_good(of({}), of(bad))
    assert openings(build(found, FULL.ledger, former=FULL.state)) == ALLOWED


@pytest.mark.parametrize("name", SHARP)
def test_the_law_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the absence of these does open something: the cluster of this test is a sharp one."""
    monkeypatch.setattr(build_module, "gap_of", lambda _manifests: Gap())
    found = of({name: "no YAML"})
    assert not all(openings(build(found, known)) <= ALLOWED for known in (FULL.ledger, Ledger()))
