"""What an external Network costs a node: its prefixes and its clients add up, they do not multiply."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from time import perf_counter
from typing import TYPE_CHECKING

from bench.clusters import NODE, chain
from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import Network, NetworkType, RoutingPolicy
from lace_sdn.pipeline import compile_node, offline_ports

if TYPE_CHECKING:
    from bench.report import Report
    from lace_sdn.model.cluster import ClusterState

WORLD = "world"
FIRST_PREFIX = int(IPv4Address("100.64.0.0"))


def run(report: Report) -> None:
    """Prints as it goes; only counts and growth can fail."""
    report.section(
        "Outside: an external Network of P prefixes, C pod networks, each of another reach, calling it or called"
    )
    flows = {}
    for prefixes, clients in ((100, 25), (200, 25), (100, 50), (200, 50)):
        flows[prefixes, clients] = _flows(prefixes, clients) - _flows(0, clients)
        name = f"P={prefixes}, C={clients}: flows for the world outside"
        report.figure(name, flows[prefixes, clients], "flows")
    more_prefixes = flows[200, 50] - flows[100, 50]
    report.goal("each further prefix", more_prefixes / 100, "flows", most=2)
    report.goal(
        "... against the same for half of the clients",
        more_prefixes / (flows[200, 25] - flows[100, 25]),
        "-fold",
        most=1.05,
    )
    more_clients = flows[200, 50] - flows[200, 25]
    report.figure("each further client network of one pod, both directions", more_clients / 25, "flows")
    report.goal(
        "... against the same for half of the prefixes",
        more_clients / (flows[100, 50] - flows[100, 25]),
        "-fold",
        most=1.05,
    )
    state = _state(200, 50)
    started = perf_counter()
    compile_node(state, NODE, offline_ports(state, NODE))
    report.figure("compile, P=200, C=50", (perf_counter() - started) * 1000, "ms")


def _flows(prefixes: int, clients: int) -> int:
    state = _state(prefixes, clients)
    return len(compile_node(state, NODE, offline_ports(state, NODE)).flows)


def _state(prefixes: int, clients: int) -> ClusterState:
    """A chain of networks, so that no two have the same reach; without prefixes no Network and no policy."""
    plain = chain(clients, 1, dual_stack=False)
    if not prefixes:
        return plain
    world = Network(
        WORLD,
        NetworkType.EXTERNAL,
        clients + 1,
        external_prefixes=tuple(
            IPv4Network((FIRST_PREFIX + (number << 8), 24)) for number in range(prefixes)
        ),
    )
    policies = [
        RoutingPolicy(f"{way}-{network.name}", NetworkSelector(source), NetworkSelector(destination))
        for network in plain.networks
        for way, source, destination in (("out", network.name, WORLD), ("in", WORLD, network.name))
    ]
    return replace(
        plain,
        networks=(*plain.networks, world),
        routing_policies=(*plain.routing_policies, *policies),
    )
