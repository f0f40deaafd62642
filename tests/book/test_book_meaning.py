"""The book of scenarios, judged without a switch: text, conditions, oracle, simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scenario import scenarios

from lace_sdn.cli.compile import programs_text
from lace_sdn.pipeline.rehearsal import Stage
from lace_sdn.policy.oracle import verdict
from lace_sdn.policy.reachability import intended
from lace_sdn.policy.relations import resolve

if TYPE_CHECKING:
    from scenario import Scenario

EVERY_SCENARIO = pytest.mark.parametrize("scenario", scenarios(), ids=str)

NAMED_IN_THE_CONTRACT = {
    "two-networks-isolated",
    "one-way-peering",
    "both-ways-by-two-policies",
    "vrf-mesh",
    "hub-and-spoke",
    "selectors",
    "overlapping-prefixes-isolated",
    "overlapping-initiators-one-server",
    "overlapping-destinations-conflict",
    "three-nodes",
    "dual-stack",
    "policy-removed",
    "clusterip-same-network",
    "service-of-a-peer",
    "service-only",
    "service-by-namespace",
    "service-by-network-name",
    "service-overlapping-networks",
    "hairpin",
    "affinity",
    "no-endpoints",
    "local-policy",
    "zone-distribution",
    "udp-endpoint-removed",
    "large-service",
    "dual-stack-service",
    "egress-to-internet",
    "corp-inside-internet",
    "egress-overlapping-networks",
    "ingress-to-pods",
    "nodeport-cluster",
    "nodeport-local",
    "nodeport-denied",
    "service-only-from-outside",
    "no-identity",
    "back-doors",
    "host-probe",
    "api-server",
}


def test_the_book_is_complete() -> None:
    assert {scenario.name for scenario in scenarios()} >= NAMED_IN_THE_CONTRACT


@EVERY_SCENARIO
def test_manifests_of_the_book_are_faultless(scenario: Scenario) -> None:
    assert [str(problem) for problem in scenario.built.problems] == []


@EVERY_SCENARIO
def test_bad_conditions_are_those_the_scenario_names(scenario: Scenario) -> None:
    found = [
        f"{each.kind} {each.name} {each.type} {each.status} {each.reason}"
        for each in (*scenario.built.conditions, *resolve(scenario.built.state).conditions)
        if not each.status
    ]
    assert sorted(found) == scenario.conditions


@EVERY_SCENARIO
def test_goldens_are_what_the_compiler_says_now(scenario: Scenario) -> None:
    """When this fails on purpose: ``make goldens``, and read the difference as code."""
    state = scenario.built.state
    assert scenario.goldens == programs_text(state, tuple(state.node_by_name))


@EVERY_SCENARIO
def test_oracle_says_what_the_book_says(scenario: Scenario) -> None:
    said = intended(scenario.built.state)
    assert [each for each in said if not said[each].agrees_with(scenario.expected[each])] == []


@EVERY_SCENARIO
def test_every_scenario_has_connections_that_pass(scenario: Scenario) -> None:
    assert any(each.is_allowed for each in scenario.expected.values())


@EVERY_SCENARIO
def test_simulated_packets_go_where_the_book_says(scenario: Scenario) -> None:
    """Allowed: only the meant pod sees it, and its answer returns. Denied: the meant pod does not see it."""
    stage = Stage.of(scenario.built.state)
    wrong = [
        connection
        for connection in scenario.expected
        if not stage.rehearse(connection).agrees_with(connection, verdict(scenario.built.state, connection))
    ]
    assert wrong == []
