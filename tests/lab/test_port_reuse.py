"""A client port that is used again and again, for a VIP, for its endpoint, for the client itself: every connection works, every switch lives."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import netns, processes

if TYPE_CHECKING:
    from conftest import Bring

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab
HAIRPIN = Path(__file__).parents[2] / "flows" / "hairpin"
CLIENT, CLIENT_PORT, PATIENCE = "loop/alone", 40000, 20.0
AT_ONCE = struct.pack("ii", 1, 0)
"""Linger of no time: the connection ends with a reset, so its port is free at once (socket(7))."""


def _open(lab: Lab, target: tuple[str, int], port: int, *, resets: bool) -> socket.socket:
    """A connection of the client from ``port``, before anybody has answered; ``resets``: how it will end."""
    with netns.inside(lab.pod_namespace(CLIENT)):
        stream = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if resets:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        stream.settimeout(PATIENCE)
        stream.bind(("", port))
        stream.connect(target)
    except OSError:
        stream.close()
        raise
    return stream


def _connect(lab: Lab, target: tuple[str, int], *, resets: bool) -> str:
    """Who answers; the connection is over then."""
    with _open(lab, target, CLIENT_PORT + (not resets), resets=resets) as stream:
        name = stream.recv(100)
        if not resets:
            stream.shutdown(socket.SHUT_WR)
            assert stream.recv(100) == b""
        return name.decode().strip()


def _targets(built: Built, family: int) -> dict[tuple[str, int], set[str]]:
    """The doors of both Services, and the pods themselves: who may answer there."""
    pair = {"loop/pair-0", "loop/pair-1"}
    named = {"loop/alone": {"loop/alone"}, "loop/pair": pair}
    found = {
        (str(vip), 80): named[service.id]
        for service in built.state.services
        for vip in service.vips
        if vip.version == family
    }
    for pod in sorted(pair):
        addresses = built.state.endpoint_by_id[pod].addresses
        found[str(next(each for each in addresses if each.version == family)), 8080] = {pod}
    return found


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("direct_first", [False, True])
def test_one_port_for_one_connection_after_the_other(
    standing: Lab, bring: Bring, family: int, direct_first: bool
) -> None:
    """Each target many times in a row, then all in turn; closed by a reset, and once by both sides."""
    targets = _targets(bring(standing, HAIRPIN), family)
    order = sorted(targets, key=lambda each: (each[1] == 8080) is not direct_first)
    before = processes.find(standing.nodes)
    for target in (*(each for each in order for _ in range(5)), *order * 5):
        assert _connect(standing, target, resets=True) in targets[target], target
    for target in order:
        assert _connect(standing, target, resets=False) in targets[target], target
    assert processes.find(standing.nodes) == before


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("direct_first", [False, True])
def test_one_port_for_a_vip_and_its_endpoints_at_once(
    standing: Lab, bring: Bring, family: int, direct_first: bool
) -> None:
    targets = _targets(bring(standing, HAIRPIN), family)
    order = sorted(targets, key=lambda each: (each[1] == 8080) is not direct_first)
    with ExitStack() as stack:
        streams = []
        for target in order:
            stream = stack.enter_context(_open(standing, target, CLIENT_PORT, resets=True))
            streams.append((target, stream))
            assert stream.recv(100).decode().strip() in targets[target]
        for _ in range(3):
            for target, stream in streams:
                stream.sendall(b"still there?")
                assert stream.recv(100).decode().strip() in targets[target]
