"""Promises of the lab's agent inside a pod: it listens on the ports that are free, and leaves the others to their owners."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import frames, netns
from lace_sdn.lab.probes import Resident
from lace_sdn.lab.residents import Arrivals, Inhabitant
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from conftest import Bring

    from lace_sdn.lab.names import Lab

PEERING = Path(__file__).parents[2] / "flows" / "one-way-peering"
HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process's own namespace stands for the pod's."""
    watched, other = socket.socketpair()
    monkeypatch.setattr(netns, "inside", lambda _namespace: contextlib.nullcontext())
    monkeypatch.setattr(frames, "watch", lambda _device: watched)
    yield
    other.close()


def taken(kind: int, family: int = socket.AF_INET) -> socket.socket:
    """A port that somebody has."""
    owner = socket.socket(family, kind)
    owner.bind((HOSTS[family], 0))
    if kind == socket.SOCK_STREAM:
        owner.listen()
    return owner


def resident(*ports: tuple[Protocol, int]) -> Resident:
    return Resident("shop/web", "none", 1, ports)


async def answer(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = await reader.readline()
    writer.close()
    return found


def in_a_pod(story: Callable[[Inhabitant], Awaitable[None]]) -> None:
    async def live() -> None:
        inhabitant = Inhabitant(resident(), Arrivals())
        try:
            await story(inhabitant)
        finally:
            inhabitant.close()
            await asyncio.sleep(0)

    asyncio.run(live())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_a_port_of_the_pods_own_process_is_left_to_it(protocol: Protocol, family: int) -> None:
    """The other ports are served; at the next change it is tried again."""
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    owner = taken(kind, family)
    with taken(socket.SOCK_STREAM) as passing:
        free = passing.getsockname()[1]
    its = owner.getsockname()[:2]

    async def story(inhabitant: Inhabitant) -> None:
        wanted = resident((protocol, its[1]), (Protocol.TCP, free))
        await inhabitant.set_ports(wanted)
        assert await answer(free) == b"shop/web\n"
        owner.close()
        with socket.socket(family, kind) as successor:
            successor.bind(its)
        await inhabitant.set_ports(wanted)
        with socket.socket(family, kind) as late, pytest.raises(OSError, match="in use"):
            late.bind(its)

    in_a_pod(story)


@pytest.mark.usefixtures("here")
def test_what_else_keeps_a_port_from_being_opened_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Inhabitant, "_listen", refuse)

    async def story(inhabitant: Inhabitant) -> None:
        with pytest.raises(OSError, match="shop/web port TCP/80: Permission denied"):
            await inhabitant.set_ports(resident((Protocol.TCP, 80)))

    in_a_pod(story)


@pytest.mark.lab
def test_a_lab_changes_while_a_pods_own_process_has_a_port(
    standing: Lab, bring: Bring, tmp_path: Path
) -> None:
    before, name, after = (PEERING / "cluster.yaml").read_text().partition("name: web-0,")
    after = after.replace("ports: [", "ports: [{containerPort: 9999}, ", 1)
    (tmp_path / "cluster.yaml").write_text(before + name + after)
    bring(standing, PEERING)
    with netns.inside(standing.pod_namespace("shop/web-0")):
        owner = socket.socket()
    with owner:
        owner.bind(("", 9999))
        owner.listen()
        built = bring(standing, tmp_path)
    assert 9999 in {each.number for each in built.state.endpoint_by_id["shop/web-0"].ports}
