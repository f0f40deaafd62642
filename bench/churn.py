"""Endpoint churn under load, with real packets: half a minute of what the tests do for a few seconds."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "tests" / "lab"))

from churning import GONE, STREAMS, churn, manifests

from lace_sdn.lab import cluster
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    from bench.report import Report

SECONDS, CHANGES, CALLS = 30, 50, 200


def run(report: Report) -> None:
    """Makes a lab of its own and removes it."""
    report.section(
        f"Churn: {CHANGES} endpoint changes and {CALLS} connections a second for {SECONDS} s, {STREAMS} long streams"
    )
    lab = Lab(f"bench-{secrets.token_hex(4)}")
    try:
        with TemporaryDirectory() as folder:
            built = cluster.up(lab, manifests(Path(folder) / "manifests"), lambda _step: None)
            seen = churn(lab, built, SECONDS, rate=CHANGES, calls=CALLS)
    finally:
        cluster.down(lab)
    report.figure("endpoint changes", seen.changes, "changes")
    report.figure("connections", len(seen.calls), "calls")
    report.goal("connections lost", len(seen.lost), "calls", most=0)
    report.figure("longest wait for an answer", max(each.seconds for each in seen.calls), "s")
    report.figure(
        "longest absence of an endpoint that was reached", seen.longest_absence, "s", f"goal: {GONE:g} s"
    )
    report.goal("streams that broke", sum(bool(each.error) for each in seen.streams), "streams", most=0)
    report.figure("questions answered in the streams", sum(each.answers for each in seen.streams), "answers")
    report.figure("longest wait in a stream", max(each.largest_wait for each in seen.streams), "s")
    report.figure("retransmissions in the streams", seen.retransmissions, "segments")
