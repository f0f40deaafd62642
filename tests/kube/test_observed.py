"""The state that API objects say is the one that manifests mean; and a node, which sees its own pods only, programs the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from api_objects import api_objects, seen

from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import Manifests, read
from lace_sdn.kube.observed import observe
from lace_sdn.model.cluster import ClusterState
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler, offline_ports
from lace_sdn.pipeline.host import host_program
from lace_sdn.policy.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "book"))

BOOK = Path(__file__).parents[2] / "flows"
SCENARIOS = sorted(path.parent for path in BOOK.rglob("cluster.yaml"))
BY_HAND = {"overlapping-destinations-conflict"}


def _observed(manifests: Manifests, node: str = "") -> ClusterState:
    built = build(manifests, Ledger())
    bodies = api_objects(manifests, built)
    return observe(Manifests(objects=tuple(seen(bodies, node)))).state


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda path: path.relative_to(BOOK).as_posix())
def test_the_objects_of_a_scenario_say_what_its_manifests_mean(folder: Path) -> None:
    manifests = read(folder / "cluster.yaml")
    meant, found = build(manifests, Ledger()).state, _observed(manifests)
    assert found.networks == meant.networks
    assert found.allocations == meant.allocations
    assert found.endpoints == meant.endpoints
    assert _without_pods(found) == _without_pods(meant)


def _without_pods(state: ClusterState) -> list[object]:
    """Services, whose endpoints that are no pods have no name."""
    return [
        (
            service.id,
            service.network,
            service.vips,
            [(port.number, _addresses(port)) for port in service.ports],
        )
        for service in state.services
    ]


def _addresses(port: object) -> list[object]:
    return [replace(each, for_zones=(), for_nodes=()) for each in port.backends]  # type: ignore[attr-defined]


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda path: path.relative_to(BOOK).as_posix())
def test_a_node_programs_the_same_from_what_it_sees(folder: Path) -> None:
    manifests = read(folder / "cluster.yaml")
    whole = Cluster.of(_observed(manifests))
    for node in whole.state.node_by_name:
        ports = offline_ports(whole.state, node)
        own = Cluster.of(_observed(manifests, node))
        assert NodeCompiler(node).compile(own, ports) == NodeCompiler(node).compile(whole, ports)
        assert host_program(own, node) == host_program(whole, node)
