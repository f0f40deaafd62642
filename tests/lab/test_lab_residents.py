"""Promises of the lab's agent inside a pod: it listens on the ports that are free, and leaves the others to their owners."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import frames, netns
from lace_sdn.lab.probes import Hearing, Resident
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
    monkeypatch.setattr(frames, "watch", lambda _device: watched.dup())
    yield
    watched.close()
    other.close()


def taken(kind: int, family: int = socket.AF_INET) -> socket.socket:
    """A port that somebody has."""
    owner = socket.socket(family, kind)
    owner.bind((HOSTS[family], 0))
    if kind == socket.SOCK_STREAM:
        owner.listen()
    return owner


def resident(*ports: tuple[Protocol, int]) -> Resident:
    return Resident("shop/web", "none", (1,), ports)


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


def heard(hearing: Hearing, arrival: frames.Arrival, kind: int = socket.PACKET_HOST) -> bool:
    """By a place with the address 192.168.0.1 that serves TCP 80 and waits for an echo of ``mine``."""
    its = replace(resident((Protocol.TCP, 80)), hearing=hearing, addresses=("192.168.0.1",))
    arrivals = Arrivals()
    arrivals.expect_reply(its.id, b"mine", lambda: None)
    found = []
    in_a_pod(lambda inhabitant: _listen(inhabitant, its, arrivals, lambda: found.append(inhabitant._hears(arrival, kind))))  # fmt: skip
    return found[0]


async def _listen(inhabitant: Inhabitant, its: Resident, arrivals: Arrivals, ask: Callable[[], None]) -> None:
    inhabitant.resident, inhabitant._arrivals = its, arrivals
    ask()


WEB = frames.Arrival("192.168.0.1", (Protocol.TCP, 80), sequence=20000)
ECHO = frames.Arrival("192.168.0.1", (Protocol.ICMP, 0), b"mine")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("arrival", [WEB, ECHO, replace(ECHO, is_echo_reply=True)])
def test_a_node_hears_what_its_own_stack_keeps(arrival: frames.Arrival) -> None:
    assert heard(Hearing.SERVED, arrival)
    assert not heard(Hearing.SERVED, arrival, socket.PACKET_OTHERHOST)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "arrival",
    [
        replace(WEB, destination="10.0.0.2"),
        replace(WEB, port=(Protocol.TCP, 30080)),
        replace(WEB, port=(Protocol.UDP, 80)),
        replace(ECHO, destination="10.0.0.2"),
        replace(ECHO, token=b"a pod's", is_echo_reply=True),
    ],
)
def test_a_node_does_not_hear_what_it_passes_on(arrival: frames.Arrival) -> None:
    """To others, to its NodePorts, and replies to pods that the world knows by its address."""
    assert not heard(Hearing.SERVED, arrival)


@pytest.mark.usefixtures("here")
def test_a_host_hears_whatever_is_sent_to_its_mac_and_a_pod_everything() -> None:
    astray = replace(WEB, destination="10.0.0.2")
    assert heard(Hearing.ADDRESSED, astray)
    assert not heard(Hearing.ADDRESSED, astray, socket.PACKET_OTHERHOST)
    assert heard(Hearing.ALL, astray, socket.PACKET_OTHERHOST)


def test_a_reply_at_another_place_than_its_source_is_recorded_as_an_arrival() -> None:
    arrivals, replies = Arrivals(), []
    arrivals.expect(b"mine")
    arrivals.expect_reply("shop/web", b"mine", lambda: replies.append("here"))
    reply = replace(ECHO, is_echo_reply=True)
    arrivals.record("shop/web", reply)
    assert replies == ["here"]
    arrivals.record("shop/db", reply)
    assert arrivals.forget(b"mine") == {"shop/db"}


def test_replies_to_an_echo_that_was_sent_again_are_no_arrivals() -> None:
    """The first came after the second request had left. Once the probe is over, they are somebody else's."""
    arrivals, replies = Arrivals(), []
    arrivals.expect(b"mine")
    arrivals.expect_reply("shop/web", b"mine", lambda: replies.append("here"))
    reply = replace(ECHO, is_echo_reply=True)
    arrivals.record("shop/web", reply)
    arrivals.record("shop/web", reply)
    assert (replies, arrivals.forget(b"mine")) == (["here", "here"], set())
    assert not arrivals.is_reply_to("shop/web", b"mine")


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
