"""Two tenants on one node: what one of them takes is not missing to the other."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest
from flooding import flood
from streams import wait_for

from lace_sdn.lab import control, netns

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

    Bring = Callable[[Lab, Path], Built]

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent / "limits"
LOUD, QUIET = "loud/flooder", "quiet/client"
NOTHING = {LOUD: ("10.96.180.1", 53), QUIET: ("10.96.181.1", 53)}
"""By pod: a VIP of its network that has no endpoint."""
PATIENCE = 5.0
PAUSE = 0.5
FILLED = 8.0
"""Seconds in which 200 fragments a second have filled Open vSwitch's default, before it lets go of the first (lib/ipf.c: 15 s)."""


def refused(namespace: str, peer: tuple[str, int], count: int, pause: float) -> list[float]:
    """Seconds after which each of ``count`` datagrams, one after the other, was refused; those that never were are left out."""
    with netns.inside(namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.connect(peer)
    found = []
    with sock:
        for _ in range(count):
            started = time.monotonic()
            try:
                sock.send(b"anybody?")
                sock.recv(100)
            except ConnectionRefusedError:
                found.append(time.monotonic() - started)
            except TimeoutError:
                pass
            time.sleep(pause)
    return found


def test_a_pod_that_is_refused_all_the_time_delays_nobody_else_s_refusals(
    standing: Lab, bring: Bring, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 datagrams a second to a VIP without endpoints; each of another pod's is answered. The operator is told who it is."""
    bring(standing, HERE)
    with flood(standing.pod_namespace(LOUD), NOTHING[LOUD], 10_000) as running:
        time.sleep(2)
        found = refused(standing.pod_namespace(QUIET), NOTHING[QUIET], 100, 0.05)
        wait_for(
            "a warning about the pod",
            lambda: f"Pod {LOUD} is at its limit" in control.log(standing).read_text(),
            60,
        )
    with capsys.disabled():
        rate = running.sent / running.seconds
        print(
            f"\nrefusals beside {rate:.0f} refused datagrams a second of another pod: {len(found)} of 100, after {1000 * median(found):.1f} ms, at most {1000 * max(found):.1f}"
        )
    assert len(found) == 100


def arrived(lab: Lab, to: tuple[str, int], count: int) -> int:
    """How many of ``count`` datagrams in three fragments, one after the other, come from ``QUIET`` to its neighbour at ``to``."""
    with netns.inside(lab.pod_namespace("quiet/near")):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with netns.inside(lab.pod_namespace(QUIET)):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(to)
    receiver.settimeout(PATIENCE)
    found = 0
    with receiver, sender:
        for _ in range(count):
            sender.sendto(bytes(4000), to)
            with suppress(TimeoutError):
                found += len(receiver.recv(8000)) == 4000
            time.sleep(PAUSE)
    return found


def test_fragments_that_wait_for_others_leave_room_for_another_pod_s(
    standing: Lab, bring: Bring, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 a second, for longer than any is kept: those of other pods are put together all the same."""
    pods = bring(standing, HERE).state.endpoint_by_id
    to, far = (
        next(str(each) for each in pods[name].addresses if each.version == 4)
        for name in ("quiet/near", "loud/far")
    )
    assert arrived(standing, (to, 7001), 1) == 1
    with flood(standing.pod_namespace(LOUD), (far, 7000), 200, socket.SOCK_RAW) as running:
        time.sleep(FILLED)
        found = arrived(standing, (to, 7001), 20)
    with capsys.disabled():
        rate = running.sent / running.seconds
        print(
            f"\ndatagrams in fragments beside {rate:.0f} first fragments a second of another pod: {found} of 20"
        )
    assert found == 20
