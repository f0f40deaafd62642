"""The book of scenarios, judged by real packets: one lab goes from any scenario to any other, in random order."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from scenario import scenarios

from lace_sdn.lab import cluster, reach
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scenario import Scenario

    from lace_sdn.policy.oracle import Connection

pytestmark = pytest.mark.lab

COLLIDING = frozenset(
    {
        "back-doors",
        "no-identity",
        "nodeport-cluster",
        "nodeport-denied",
        "nodeport-local",
        "service-only-from-outside",
    }
)
"""Where a client outside comes to one endpoint by VIP, NodePort and directly, each by several nodes: the port that one connection is moved to
is then that of another (decision 0029, Limit)."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(f"book-{secrets.token_hex(4)}")
    yield made
    cluster.down(made)


@pytest.mark.parametrize("scenario", scenarios(), ids=str)
def test_real_packets_go_where_the_book_says(lab: Lab, scenario: Scenario) -> None:
    """Allowed: only the meant pod sees the packet, and its answer returns. Denied: nobody sees it."""
    built = cluster.up(lab, scenario.folder, lambda _step: None)
    assert _wrong(scenario, reach.measure(lab, built.state, scenario.expected)) == {}


@pytest.mark.parametrize("scenario", [each for each in scenarios() if each.name not in COLLIDING], ids=str)
def test_one_source_port_for_several_connections_at_once_gives_as_many(lab: Lab, scenario: Scenario) -> None:
    """Every place connects to all others at the same time from one port, and each connection goes on while the others are there."""
    built = cluster.up(lab, scenario.folder, lambda _step: None)
    assert _wrong(scenario, reach.measure_from_one_port(lab, built.state, scenario.expected)) == {}


def _wrong(scenario: Scenario, found: Mapping[Connection, reach.Finding]) -> dict[str, str]:
    """What is not as the book says, in words."""
    return {
        str(connection): f"{finding.found}, {finding.detail or 'no more is known'}"
        for connection, finding in found.items()
        if not reach.is_as_intended(scenario.expected[connection], finding)
    }
