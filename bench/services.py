"""What Services cost a node in flows and groups, and how that grows with services, endpoints and client networks."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from time import perf_counter
from typing import TYPE_CHECKING

from bench.clusters import NODE, chain
from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import Backend, Protocol, Service, ServicePolicy, ServicePort
from lace_sdn.openflow.wire.messages import group_add
from lace_sdn.pipeline import compile_node, offline_ports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.report import Report
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Endpoint
    from lace_sdn.openflow.flow import BridgeProgram

VIPS = IPv4Address("172.30.0.0")
SERVERS = 10
"""Networks that offer the services of the growth bench."""


def run(report: Report) -> None:
    """Prints as it goes; only counts and growth can fail."""
    report.section("Services: the chain of 100 networks x 3 pods and 99 peerings, 200 VIPs x 3 endpoints")
    _on_the_chain(report)
    report.section("Services: S of them with E endpoints each, used by C networks (one ServiceRoutingPolicy)")
    _growth(report)
    report.section("Services: one with 2,000 endpoints")
    _large(report)


def _with_services(
    state: ClusterState, count: int, offered_by: dict[str, tuple[Endpoint, ...]], *, is_open: bool
) -> ClusterState:
    """``count`` Services in turn over the networks of ``offered_by``; ``is_open``: every network may use every one."""
    networks = sorted(offered_by)
    services = tuple(
        _service(i, networks[i % len(networks)], offered_by[networks[i % len(networks)]])
        for i in range(count)
    )
    everybody = ServicePolicy("everybody", NetworkSelector(), NetworkSelector())
    return replace(
        state,
        services=tuple(sorted(services, key=lambda each: (each.namespace, each.name))),
        service_policies=(everybody,) if is_open else (),
    )


def _service(i: int, network: str, endpoints: Iterable[Endpoint]) -> Service:
    backends = tuple(Backend(each.addresses[0], 8080, NODE, each.id) for each in endpoints)
    return Service(
        network, f"svc-{i:03}", network, (VIPS + i + 1,), (ServicePort(Protocol.TCP, 80, "", backends),)
    )


def _pods_of(state: ClusterState, networks: Iterable[str], count: int) -> dict[str, tuple[Endpoint, ...]]:
    return {
        name: tuple(each for each in state.endpoints if each.network == name)[:count] for name in networks
    }


def _compiled(state: ClusterState) -> BridgeProgram:
    return compile_node(state, NODE, offline_ports(state, NODE))


def _on_the_chain(report: Report) -> None:
    plain = chain(100, 3, dual_stack=False)
    names = [network.name for network in plain.networks]
    state = _with_services(plain, 200, _pods_of(plain, names, 3), is_open=False)
    started = perf_counter()
    program = _compiled(state)
    report.figure("compile", (perf_counter() - started) * 1000, "ms")
    report.figure("flows without Services", len(_compiled(plain).flows), "flows")
    report.goal("flows", len(program.flows), "flows", most=5000)
    report.figure("groups", len(program.groups), "groups")
    opened = _compiled(
        replace(state, service_policies=(ServicePolicy("p", NetworkSelector(), NetworkSelector()),))
    )
    report.figure("flows when all 100 networks may use all 200 VIPs", len(opened.flows), "flows")


def _growth(report: Report) -> None:
    """The cost of more services must be the same however many networks use them."""
    flows = {}
    for services, endpoints, clients in (
        (100, 3, 25), (200, 3, 25), (100, 3, 50), (200, 3, 50), (200, 6, 50),
    ):  # fmt: skip
        plain = chain(SERVERS + clients, 6, dual_stack=False)
        servers = [network.name for network in plain.networks[-SERVERS:]]
        state = _with_services(plain, services, _pods_of(plain, servers, endpoints), is_open=True)
        program = _compiled(state)
        flows[services, endpoints, clients] = len(program.flows)
        name = f"S={services}, E={endpoints}, C={clients}"
        report.figure(f"{name}: flows", len(program.flows), "flows")
        report.figure(f"{name}: groups", len(program.groups), "groups")
    at_50 = flows[200, 3, 50] - flows[100, 3, 50]
    at_25 = flows[200, 3, 25] - flows[100, 3, 25]
    report.figure("100 more services, for 50 client networks", at_50, "flows")
    report.goal("... against the same for 25 client networks", at_50 / at_25, "-fold", most=1.05)
    report.figure("25 more client networks", flows[200, 3, 50] - flows[200, 3, 25], "flows", "S=200")
    few = flows[100, 3, 50] - flows[100, 3, 25]
    report.goal(
        "... against the same with S=100", (flows[200, 3, 50] - flows[200, 3, 25]) / few, "-fold", most=1.05
    )
    more = (flows[200, 6, 50] - flows[200, 3, 50]) / 600
    report.goal("for each further endpoint of a Service", more, "flows", most=3)


def _large(report: Report) -> None:
    plain = chain(1, 2000, dual_stack=False)
    name = plain.networks[0].name
    state = _with_services(plain, 1, _pods_of(plain, [name], 2000), is_open=False)
    started = perf_counter()
    program = _compiled(state)
    report.figure("compile, the 2,000 pods on the node included", (perf_counter() - started) * 1000, "ms")
    more = len(program.flows) - len(_compiled(plain).flows)
    report.figure("flows that the Service adds", more, "flows")
    report.figure("groups", len(program.groups), "groups")
    report.goal("its largest group message", _largest(program), "bytes", most=65_535)


def _largest(program: BridgeProgram) -> int:
    return max(len(group_add(group, 0)) for group in program.groups)
