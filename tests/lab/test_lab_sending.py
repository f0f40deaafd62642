"""Promises of the lab's sender of probes: a probe is one connection, however slowly it is answered, and its token says what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import netns
from lace_sdn.lab.probes import Observation, Probe
from lace_sdn.lab.residents import Arrivals
from lace_sdn.lab.sending import Sender
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.lab
HERE = "127.0.0.1"
SLOW = 0.8
"""Seconds until an answer comes: a busy machine."""
PATIENCE = 15.0
SOURCE_PORT = 19999


class Balanced:
    """Answers after ``slow`` seconds, each connection as another endpoint, as what stands behind a Service does."""

    silent_from_second_token = False

    def __init__(self, arrivals: Arrivals, slow: float) -> None:
        self.callers: list[int] = []
        self._arrivals = arrivals
        self._slow = slow
        self._names = (f"app-{number}" for number in itertools.count())
        self._known: dict[object, str] = {}
        self._tokens: dict[str, set[bytes]] = defaultdict(set)

    def serving(self, protocol: Protocol) -> contextlib.AbstractAsyncContextManager[int]:
        """Its port."""
        return self._tcp() if protocol is Protocol.TCP else self._udp()

    @contextlib.asynccontextmanager
    async def _tcp(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._serve, HERE, 0) as server:
            yield int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = next(self._names)
        self.callers.append(writer.get_extra_info("peername")[1])
        await asyncio.sleep(self._slow)
        with contextlib.suppress(ConnectionError):
            writer.write(f"{name}\n".encode())
            while token := await reader.read(100):
                if self._is_answered(name, token):
                    writer.write(f"{name}\n".encode())
        writer.close()

    @contextlib.asynccontextmanager
    async def _udp(self) -> AsyncIterator[int]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
            listening.setblocking(False)
            listening.bind((HERE, 0))
            asyncio.get_running_loop().add_reader(listening, self._receive, listening)
            yield int(listening.getsockname()[1])
            asyncio.get_running_loop().remove_reader(listening)

    def _receive(self, listening: socket.socket) -> None:
        token, caller = listening.recvfrom(100)
        key = (listening.fileno(), caller)
        if key not in self._known:
            self.callers.append(caller[1])
            self._known[key] = next(self._names)
        name = self._known[key]
        if self._is_answered(name, token):
            asyncio.get_running_loop().call_later(self._slow, listening.sendto, f"{name}\n".encode(), caller)

    def _is_answered(self, name: str, token: bytes) -> bool:
        self._arrivals.record_text(name, token)
        self._tokens[name].add(token)
        return not (self.silent_from_second_token and len(self._tokens[name]) > 1)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's own namespace stands for the source's."""
    monkeypatch.setattr(netns, "inside", lambda _namespace: contextlib.nullcontext())


def observed(
    story: Callable[[Sender, Balanced], Awaitable[list[Observation]]], slow: float
) -> list[Observation]:
    async def live() -> list[Observation]:
        arrivals = Arrivals()
        seen = await story(Sender({"client": "none"}, arrivals), Balanced(arrivals, slow))
        await asyncio.sleep(2 * slow)
        return seen

    return asyncio.run(live())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_a_slow_answer_is_waited_for_and_no_other_connection_is_opened(protocol: Protocol) -> None:
    """A second one could reach another endpoint of a Service, and would look like a packet astray."""

    async def story(sender: Sender, balanced: Balanced) -> list[Observation]:
        async with balanced.serving(protocol) as port:
            return await sender.send_all([Probe("client", HERE, protocol, port, PATIENCE)])

    assert observed(story, SLOW) == [Observation(("app-0",), ("app-0",))]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_probes_with_one_source_port_are_connected_at_the_same_time(protocol: Protocol) -> None:
    async def story(sender: Sender, balanced: Balanced) -> list[Observation]:
        async with balanced.serving(protocol) as first, balanced.serving(protocol) as second:
            probes = [
                Probe("client", HERE, protocol, port, PATIENCE, SOURCE_PORT) for port in (first, second)
            ]
            seen = await sender.send_all(probes)
        assert balanced.callers == [SOURCE_PORT] * 2
        return seen

    seen = observed(story, 0.0)
    assert sorted(seen, key=str) == [Observation((name,), (name,)) for name in ("app-0", "app-1")]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_a_connection_that_falls_silent_when_another_is_made_is_lost(protocol: Protocol) -> None:
    """Its packets still arrive; no answer comes back."""

    async def story(sender: Sender, balanced: Balanced) -> list[Observation]:
        async with balanced.serving(protocol) as first, balanced.serving(protocol) as second:
            balanced.silent_from_second_token = True
            probes = [Probe("client", HERE, protocol, port, 1.0, SOURCE_PORT) for port in (first, second)]
            return await sender.send_all(probes)

    assert [each.lost for each in observed(story, 0.0)] == [True, True]


@pytest.mark.usefixtures("here")
def test_a_source_port_that_somebody_there_has_is_an_error() -> None:
    async def story(sender: Sender, balanced: Balanced) -> list[Observation]:
        async with balanced.serving(Protocol.TCP) as port:
            with socket.create_server(("", SOURCE_PORT)), pytest.raises(OSError, match="in use"):
                return await sender.send_all([Probe("client", HERE, Protocol.TCP, port, 1.0, SOURCE_PORT)])
        return []

    assert observed(story, 0.0) == []


@pytest.mark.usefixtures("here")
def test_a_port_that_nobody_has_refuses_at_once() -> None:
    async def story(sender: Sender, balanced: Balanced) -> list[Observation]:
        async with balanced.serving(Protocol.TCP) as port:
            pass
        return await sender.send_all(
            [Probe("client", HERE, each, port, PATIENCE) for each in (Protocol.TCP, Protocol.UDP)]
        )

    assert observed(story, 0.0) == [Observation(refused=True)] * 2
