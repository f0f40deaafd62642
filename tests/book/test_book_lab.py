"""The book of scenarios, judged by real packets: one lab goes from any scenario to any other, in random order."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from scenario import scenarios

from lace_sdn.lab import cluster, reach
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenario import Scenario

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(f"book-{secrets.token_hex(4)}")
    yield made
    cluster.down(made)


@pytest.mark.parametrize("scenario", scenarios(), ids=str)
def test_real_packets_go_where_the_book_says(lab: Lab, scenario: Scenario) -> None:
    """Allowed: only the meant pod sees the packet, and its answer returns. Denied: nobody sees it."""
    built = cluster.up(lab, scenario.folder, lambda _step: None)
    found = reach.measure(lab, built.state, scenario.expected)
    wrong = {
        str(connection): f"{finding.found}, {finding.detail or 'no more is known'}"
        for connection, finding in found.items()
        if not reach.is_as_intended(scenario.expected[connection], finding)
    }
    assert wrong == {}
