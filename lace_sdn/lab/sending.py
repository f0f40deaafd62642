"""Sending probes: a token from inside the source's namespace, sent again while no answer comes, until an answer or the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

from lace_sdn.lab import frames, netns
from lace_sdn.lab.probes import Observation, Probe
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.lab.residents import Arrivals

AT_ONCE = 400
"""Probes in flight at a time: the switches share the machine's cores with the probes."""
_ATTEMPTS = (0.0, 0.25, 0.35)
"""Seconds before the first, after the first, after the second: one lost packet changes no verdict."""
_LATE = 0.05
"""Seconds after the last answer in which an arrival elsewhere is still noticed."""
_REFUSED = "\0"
"""Instead of a name: the kernel says that the connection was refused."""
_SOURCE_PORTS = range(20000, 30000)
"""Below the kernel's ephemeral ports and NodePorts; each is used by one attempt at a time in the whole lab, so it names the attempt."""


class Sender:
    """Sends from the places of a lab; ``namespaces`` are theirs, by name."""

    def __init__(self, namespaces: Mapping[str, str], arrivals: Arrivals) -> None:
        self._namespaces = namespaces
        self._arrivals = arrivals
        self._ports = itertools.cycle(_SOURCE_PORTS)
        self._identifiers = itertools.cycle(range(1, 0x10000))

    async def send_all(self, probes: list[Probe], patience: float) -> list[Observation]:
        """All probes, each for at most ``patience`` seconds. Raises KeyError for a source that is not in the lab."""
        for probe in probes:
            self._namespaces[probe.source]
        free = asyncio.Semaphore(AT_ONCE)

        async def one(probe: Probe) -> Observation:
            async with free:
                return await self.send(probe, patience)

        return list(await asyncio.gather(*map(one, probes)))

    async def send(self, probe: Probe, patience: float) -> Observation:
        token = frames.MAGIC + secrets.token_hex(8).encode()
        signs: list[bytes | int] = [token]
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._arrivals.expect(token)
        self._arrivals.expect_reply(probe.source, token, lambda: _resolve(answer, ""))
        attempts = asyncio.create_task(self._attempt_all(probe, token, signs, answer))
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(answer), patience)
                await asyncio.sleep(_LATE)
        finally:
            attempts.cancel()
            await asyncio.gather(attempts, return_exceptions=True)
            seen = sorted(set[str]().union(*(self._arrivals.forget(sign) for sign in signs)))
            self._arrivals.forget_reply(probe.source, token)
        if not answer.done():
            return Observation(tuple(seen))
        if answer.result() == _REFUSED:
            return Observation(tuple(seen), refused=True)
        # An echo reply bears no name: it is the answer of whoever saw the request.
        return Observation(tuple(seen), (answer.result(),) if answer.result() else tuple(seen))

    async def _attempt_all(
        self, probe: Probe, token: bytes, signs: list[bytes | int], answer: asyncio.Future[str]
    ) -> None:
        attempt = {Protocol.TCP: self._tcp, Protocol.UDP: self._udp, Protocol.ICMP: self._icmp}[
            probe.protocol
        ]
        async with asyncio.TaskGroup() as group:
            for pause in _ATTEMPTS:
                await asyncio.sleep(pause)
                if answer.done():
                    return
                group.create_task(attempt(probe, token, signs, answer))

    async def _tcp(
        self, probe: Probe, token: bytes, signs: list[bytes | int], answer: asyncio.Future[str]
    ) -> None:
        loop = asyncio.get_running_loop()
        with self._socket(probe, socket.SOCK_STREAM) as client, _refusal(answer):
            # No TIME_WAIT: the end of a probe is a reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            port = client.getsockname()[1]
            self._arrivals.expect(port)
            signs.append(port)
            await loop.sock_connect(client, (probe.address, probe.port))
            await loop.sock_sendall(client, token)
            _resolve(answer, await _line(client))

    async def _udp(
        self, probe: Probe, token: bytes, signs: list[bytes | int], answer: asyncio.Future[str]
    ) -> None:
        del signs
        loop = asyncio.get_running_loop()
        with self._socket(probe, socket.SOCK_DGRAM) as client, _refusal(answer):
            await loop.sock_connect(client, (probe.address, probe.port))
            await loop.sock_sendall(client, token)
            _resolve(answer, await _line(client))

    async def _icmp(
        self, probe: Probe, token: bytes, signs: list[bytes | int], answer: asyncio.Future[str]
    ) -> None:
        """The answer comes by the source's watcher."""
        del signs, answer
        version = ip_address(probe.address).version
        with netns.inside(self._namespaces[probe.source]):
            sender = frames.echo_sender(version)
        with sender, contextlib.suppress(OSError):
            packet = frames.echo_request(probe.address, next(self._identifiers), 1, token)
            sender.sendto(packet, (probe.address, 0))

    @contextlib.contextmanager
    def _socket(self, probe: Probe, kind: socket.SocketKind) -> Iterator[socket.socket]:
        """A socket in the source's namespace with a source port that no other attempt uses now."""
        family = socket.AF_INET if ip_address(probe.address).version == 4 else socket.AF_INET6
        with netns.inside(self._namespaces[probe.source]):
            client = socket.socket(family, kind)
        with client:
            client.setblocking(False)
            for port in itertools.islice(self._ports, len(_SOURCE_PORTS)):
                if self._arrivals.is_expected(port):
                    continue
                with contextlib.suppress(OSError):  # taken by a program there
                    client.bind(("", port))
                    break
            yield client


@contextlib.contextmanager
def _refusal(answer: asyncio.Future[str]) -> Iterator[None]:
    """A refusal is an answer; other errors are silence."""
    try:
        yield
    except ConnectionRefusedError:
        _resolve(answer, _REFUSED)
    except OSError:
        pass


def _resolve(answer: asyncio.Future[str], text: str) -> None:
    if not answer.done():
        answer.set_result(text)


async def _line(client: socket.socket) -> str:
    """The first line that arrives. Raises ConnectionError if the other side ends before."""
    received = b""
    while b"\n" not in received:
        more = await asyncio.get_running_loop().sock_recv(client, 1024)
        if not more:
            raise ConnectionResetError
        received += more
    return received.partition(b"\n")[0].decode(errors="replace")
