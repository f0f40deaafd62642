"""How fast a node's tables are compiled, how many flows they take, and how those grow with a mesh."""

from __future__ import annotations

import resource
from time import perf_counter
from typing import TYPE_CHECKING

from bench.clusters import NODE, chain, mesh
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.pipeline import NodeCompiler, compile_node, offline_ports
from lace_sdn.pipeline.compiler import Cluster

if TYPE_CHECKING:
    from bench.report import Report
    from lace_sdn.model.cluster import ClusterState

MESHES = (50, 100, 200)


def run(report: Report) -> None:
    """Prints as it goes; only growth and counts can fail."""
    report.section("Compiler: a node with 100 networks x 3 pods, all local, and 99 peerings")
    _chain(report, dual_stack=False)
    _chain(report, dual_stack=True)
    report.section("Compiler: meshes of N networks on one node, one pod each")
    _meshes(report)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.goal("memory of this process at its peak", peak, "MB", most=150)


def _timed(state: ClusterState) -> tuple[float, BridgeProgram]:
    """Seconds (the best of three) and what came out."""
    ports = offline_ports(state, NODE)
    best, program = float("inf"), BridgeProgram()
    for _ in range(3):
        started = perf_counter()
        program = compile_node(state, NODE, ports)
        best = min(best, perf_counter() - started)
    return best, program


def _chain(report: Report, *, dual_stack: bool) -> None:
    state = chain(100, 3, dual_stack=dual_stack)
    seconds, program = _timed(state)
    family = "dual stack" if dual_stack else "IPv4 only"
    report.figure(f"{family}: compile", seconds * 1000, "ms", "goal: under 1000 ms, IPv4 only")
    if dual_stack:
        report.figure(f"{family}: flows", len(program.flows), "flows")
    else:
        report.goal(f"{family}: flows", len(program.flows), "flows", most=3000)
        _again(report, state)


def _again(report: Report, state: ClusterState) -> None:
    """The same node once more, when only one pod's port is new: what a change costs."""
    ports = offline_ports(state, NODE)
    cluster, compiler = Cluster.of(state), NodeCompiler(NODE)
    last = max(ports, key=lambda pod: ports[pod])
    compiler.compile(cluster, {pod: port for pod, port in ports.items() if pod != last})
    started = perf_counter()
    compiler.compile(cluster, ports)
    report.figure("IPv4 only: compile again for one more pod", (perf_counter() - started) * 1000, "ms")


def _meshes(report: Report) -> None:
    counts = []
    for networks in MESHES:
        seconds, program = _timed(mesh(networks))
        counts.append(len(program.flows))
        report.figure(f"{networks} networks: compile", seconds * 1000, "ms")
        report.figure(f"{networks} networks: flows", len(program.flows), "flows")
    for smaller, larger, before, after in zip(MESHES, MESHES[1:], counts, counts[1:], strict=False):
        report.goal(f"flows of {larger} networks against {smaller}", after / before, "-fold", most=2.2)
