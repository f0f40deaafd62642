"""Labs on the fake API server, with real processes and real packets: attachments by the hundred, and an API server that fails for a minute."""

from __future__ import annotations

import contextlib
import secrets
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "tests/path"))
sys.path.append(str(Path(__file__).parents[1] / "tests/lab"))

from api_process import ApiProcess
from crowd import MANIFESTS, Crowd
from ordeal import FAULTS, suffer

from lace_sdn.lab import cluster
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report import Report
    from lace_sdn.kube.build import Built

PODS, AT_A_TIME, OUTAGE = 500, 8, 60.0
PEERING = Path(__file__).parents[1] / "flows/one-way-peering"
CONVERGED = 5.0


def run(report: Report) -> None:
    """Makes labs of its own and removes them."""
    _attachments(report)
    _outages(report)


@contextlib.contextmanager
def _lab(source: Path, folder: Path) -> Iterator[tuple[Lab, Built, ApiProcess]]:
    server, lab = ApiProcess(folder), Lab(f"bench-{secrets.token_hex(4)}")
    server.start()
    try:
        yield lab, cluster.up(lab, source, lambda _step: None, server.kubeconfig), server
    finally:
        server.faults()
        cluster.down(lab)
        server.close()


def _attachments(report: Report) -> None:
    report.section(f"CNI plugin: {PODS} pods of one node attached and removed, {AT_A_TIME} at a time")
    with TemporaryDirectory() as folder:
        manifests = Path(folder) / "cluster.yaml"
        manifests.write_text(MANIFESTS)
        with _lab(manifests, Path(folder)) as (lab, _, _):
            alone = Crowd(lab)
            pods = alone.create(20, "alone")
            alone.attach(pods, 1)
            alone.detach(pods, 1)
            crowd = Crowd(lab)
            pods = crowd.create(PODS)
            crowd.attach(pods, AT_A_TIME)
            given = [address for its in crowd.figures.addresses for address in its]
            crowd.detach(pods, AT_A_TIME)
            left = sum(map(len, crowd.left().values()))
    report.figure("ADD, one at a time, p50", statistics.median(alone.figures.adds), "ms")
    for what, its in (("ADD", crowd.figures.adds), ("DEL", crowd.figures.deletes)):
        goal = "goal: 150 ms" if what == "ADD" else ""
        report.figure(f"{what}, {AT_A_TIME} at a time, p50", statistics.median(its), "ms", goal)
        report.figure(f"{what}, {AT_A_TIME} at a time, p99", statistics.quantiles(its, n=100)[98], "ms")
    failures = alone.figures.failures + crowd.figures.failures
    report.goal("calls of the plugin that failed", len(failures), "calls", most=0)
    report.goal("different addresses given", len(set(given)), "", least=2 * PODS)
    report.goal("endpoints, links and ports left", left, "", most=0)


def _outages(report: Report) -> None:
    for fault in FAULTS:
        report.section(f"API server, {OUTAGE:.0f} s: {fault}")
        with TemporaryDirectory() as folder, _lab(PEERING, Path(folder)) as (lab, built, server):
            seen = suffer(lab, built, server, fault, OUTAGE)
        report.figure("allowed datagrams sent", seen.sent, "packets")
        report.goal("of these lost", seen.lost, "packets", most=0)
        report.goal("forbidden packets that passed", seen.forbidden, "packets", most=0)
        report.figure("longest time without a packet in a stream", 1000 * seen.largest_gap, "ms")
        goal = f"goal: {CONVERGED:g} s"
        report.figure("a policy written afterwards is in force after", seen.opened, "s", goal)
        report.figure("and after it was taken away, the last packet", seen.closed, "s", goal)
        report.figure("requests to the API server", seen.requests, "a second")
