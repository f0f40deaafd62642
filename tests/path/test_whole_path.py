"""Scenarios of the book over the whole path: who reaches whom is as written, by real packets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scenario import Scenario

from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import read
from lace_sdn.lab import reach
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.reachability import intended

if TYPE_CHECKING:
    from conftest import Bring

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab

QUICKSTART = Path(__file__).parents[2] / "manifests/examples/quickstart.yaml"
NAMES = [
    "api-server",
    "dual-stack-service",
    "egress-to-internet",
    "host-probe",
    "nodeport-cluster",
    "service-by-namespace",
    "vrf-mesh",
]


def _wrong(lab: Lab, built: Built, expected: object) -> dict[str, str]:
    found = reach.measure(lab, built.state, expected)  # type: ignore[arg-type]
    return {
        str(connection): f"{finding.found}, {finding.detail or 'no more is known'}"
        for connection, finding in found.items()
        if not reach.is_as_intended(expected[connection], finding)  # type: ignore[index]
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_of_the_book(lab: Lab, bring: Bring, name: str) -> None:
    scenario = Scenario(name)
    assert _wrong(lab, bring(scenario.folder), scenario.expected) == {}


def test_the_quickstart(lab: Lab, bring: Bring) -> None:
    meant = intended(build(read(QUICKSTART), Ledger()).state)
    built = bring(QUICKSTART)
    assert intended(built.state) == meant
    assert _wrong(lab, built, meant) == {}
