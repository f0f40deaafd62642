"""Taking a policy away cuts what it had allowed, at once and in both directions, and disturbs nothing else."""

from __future__ import annotations

import os
import re
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from streams import Streams, wait_for

from lace_sdn.lab import control, processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bring

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab

BOOK = Path(__file__).parents[2] / "flows"
ALLOWED, REMOVED = BOOK / "policy-removed", BOOK / "policy-removed" / "steps" / "01-removed"

UNDISTURBED = 2.0
"""Seconds without a message, at most, in a stream of 100 a second that nobody touched, on a busy machine."""

CUT = tuple(f"{stream}.{end}" for stream in ("udp0", "udp1", "tcp0", "tcp1") for end in ("client", "server"))
KEPT = tuple(f"{stream}.{end}" for stream in ("udp-kept", "tcp-kept") for end in ("client", "server"))


def _streams(lab: Lab, built: Built) -> Streams:
    """From both nodes to the database (by the policy), and inside the shop (by nobody's leave)."""

    def place(pod: str) -> tuple[str, str]:
        return lab.pod_namespace(pod), str(built.state.endpoint_by_id[pod].addresses[0])

    streams = Streams()
    near, far, database = place("shop/web-0"), place("shop/web-1"), place("db/db-0")
    streams.udp("udp0", near, database, 7001)
    streams.udp("udp1", far, database, 7002)
    streams.tcp("tcp0", near, database, 7003)
    streams.tcp("tcp1", far, database, 7004)
    streams.udp("udp-kept", near, far, 7005)
    streams.tcp("tcp-kept", near, far, 7006)
    return streams


def _all_flow(streams: Streams, count: int) -> Callable[[], bool]:
    """Whether ``count`` more messages have arrived at every end than now."""
    before = {name: len(end.arrivals) for name, end in streams.ends.items()}
    return lambda: all(len(end.arrivals) >= before[name] + count for name, end in streams.ends.items())


def _confirmed(lab: Lab) -> dict[str, float]:
    """When each node last confirmed a bundle (time.time(), seconds), by the controller's log."""
    found = {}
    for line in control.log(lab).read_text().splitlines():
        if match := re.match(r"(\S+ \S+) INFO \S+ node=(\S+) programmed", line):
            found[match[2]] = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007 - local
    return found


def _go_on(streams: Streams, rounds: int) -> None:
    """Until every end has sent so many messages more, and has read what was there before."""
    ends = {name: end.sent + rounds for name, end in streams.ends.items()}
    wait_for(
        "every end sends", lambda: all(streams.ends[name].sent >= count for name, count in ends.items()), 60
    )


def test_a_removed_policy_cuts_its_streams_before_it_is_confirmed_and_no_other(
    lab: Lab, bring: Bring, record_property: Callable[[str, object], None]
) -> None:
    with _streams(lab, bring(lab, ALLOWED)) as streams:
        wait_for("every stream flows", _all_flow(streams, 50))
        started = time.time()
        bring(lab, REMOVED)
        _go_on(streams, 3)  # what had arrived by then has been read
        arrived = {name: len(streams.ends[name].arrivals) for name in CUT}
        committed = max(_confirmed(lab).values())
        assert committed >= started
        _go_on(streams, 150)
        ended = time.time()
    late = {name: streams.ends[name].arrivals[-1] - committed for name in CUT}
    for name, seconds in late.items():
        record_property(f"last_packet_ms_{name}", round(1000 * seconds))
    print({name: f"{1000 * seconds:.0f} ms" for name, seconds in late.items()})
    gaps = {name: streams.ends[name].largest_gap(started, ended) for name in KEPT}
    print({name: f"gap {1000 * gap:.0f} ms" for name, gap in gaps.items()})
    assert {name: len(streams.ends[name].arrivals) for name in CUT} == arrived
    assert max(gaps.values()) <= UNDISTURBED


def test_a_killed_controller_is_missed_by_no_packet_and_the_next_sends_nothing(
    lab: Lab, bring: Bring
) -> None:
    with _streams(lab, bring(lab, ALLOWED)) as streams:
        wait_for("every stream flows", _all_flow(streams, 50))
        started = time.time()
        for pid in processes.find(control.mark(lab)):
            os.kill(pid, signal.SIGKILL)
        wait_for("the streams go on without a controller", _all_flow(streams, 100))
        before = _confirmed(lab)
        bring(lab, ALLOWED)
        wait_for("the streams go on with the next controller", _all_flow(streams, 50))
        ended = time.time()
    assert _confirmed(lab) == before, "the next controller found a difference where there was none"
    assert max(end.largest_gap(started, ended) for end in streams.ends.values()) <= UNDISTURBED
