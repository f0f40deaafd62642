"""One connection of a probe, by each protocol: opened once, from one source port, and asked by tokens as often as one likes.

A first segment of TCP bears no token. It is known by its sequence number, which no translation of addresses or ports changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from lace_sdn.lab import frames, netns
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.lab.probes import Probe
    from lace_sdn.lab.residents import Arrivals

_PAUSES = (0.25, 0.5, 1.0)
"""Seconds until what may be lost is sent again, the last one from then on."""
_SOURCE_PORTS = range(20000, 30000)
"""Below the kernel's ephemeral ports and NodePorts."""
_NO_TIME_WAIT = struct.pack("ii", 1, 0)
"""Linger of no time: the end of a probe is a reset (socket(7))."""
# linux/tcp.h: a socket under repair is told its next sequence number.
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
_REPAIR_OFF, _REPAIR_ON, _SEND_QUEUE = -1, 1, 2


class Sources:
    """Source ports and identifiers of echoes, in turn, so that none comes round again soon."""

    def __init__(self) -> None:
        self.ports = itertools.cycle(_SOURCE_PORTS)
        self.identifiers = itertools.cycle(range(1, 0x10000))


class Conversation:
    """What a probe says in ``namespace``. ``expect`` is told of each sign by which its packets are known."""

    def __init__(self, probe: Probe, namespace: str, arrivals: Arrivals, sources: Sources) -> None:
        self.probe = probe
        self.signs: list[bytes | int] = []
        self._namespace = namespace
        self._arrivals = arrivals
        self._sources = sources

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """It is over."""

    async def ask(self, token: bytes) -> str:
        """Say ``token`` until it is answered; the answerer's name, "" if an answer bears none.

        Raises ConnectionRefusedError when it is refused. Other errors are silence.
        """
        raise NotImplementedError

    def expect(self, sign: bytes | int) -> None:
        """Record from now on where packets with this sign are seen."""
        self.signs.append(sign)
        self._arrivals.expect(sign)

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET if ip_address(self.probe.address).version == 4 else socket.AF_INET6

    def _socket(self, kind: socket.SocketKind) -> socket.socket:
        """With the source port that the probe asks for, else with one that is free there. Raises OSError."""
        with netns.inside(self._namespace):
            made = socket.socket(self._family, kind)
        try:
            made.setblocking(False)
            if self.probe.source_port:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind(("", self.probe.source_port))
                return made
            for port in itertools.islice(self._sources.ports, len(_SOURCE_PORTS)):
                with contextlib.suppress(OSError):  # somebody there has it
                    made.bind(("", port))
                    break
        except OSError:
            made.close()
            raise
        return made


class Stream(Conversation):
    """TCP. The listener says its name when it accepts, and again for whatever it is told."""

    _client: socket.socket | None = None
    _is_greeted = False
    _received = b""

    def __exit__(self, *_: object) -> None:
        if self._client:
            self._client.close()

    async def ask(self, token: bytes) -> str:
        self.expect(token)
        client = self._client or await self._connected()
        try:
            if not self._is_greeted:
                await self._line(client)
                self._is_greeted = True
            await asyncio.get_running_loop().sock_sendall(client, token)
            return await self._line(client)
        except OSError:  # the other side has ended it
            return await _silence()

    async def _connected(self) -> socket.socket:
        """An address that nobody answers for yet is tried again: there was no connection."""
        sequence = time.monotonic_ns() >> 6 & 0xFFFFFFFF | 1  # RFC 9293 section 3.4.1: from a clock
        self.expect(sequence)
        for pause in _pauses():
            client = self._client = self._socket(socket.SOCK_STREAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_TIME_WAIT)
            _begin_at(client, sequence)
            try:
                await asyncio.get_running_loop().sock_connect(client, (self.probe.address, self.probe.port))
            except ConnectionRefusedError:
                raise
            except OSError:
                client.close()
                await asyncio.sleep(pause)
            else:
                return client
        raise AssertionError("pauses do not end")

    async def _line(self, client: socket.socket) -> str:
        """The next line that arrives. Raises ConnectionError if the other side ends before."""
        while b"\n" not in self._received:
            more = await asyncio.get_running_loop().sock_recv(client, 1024)
            if not more:
                raise ConnectionResetError
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        return line.decode(errors="replace")


class Datagrams(Conversation):
    """UDP. The listener answers each datagram with its name."""

    _client: socket.socket | None = None

    def __exit__(self, *_: object) -> None:
        if self._client:
            self._client.close()

    async def ask(self, token: bytes) -> str:
        self.expect(token)
        if self._client is None:
            self._client = self._socket(socket.SOCK_DGRAM)
        _drain(self._client)
        for pause in _pauses():
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._exchange(self._client, token), pause)
        raise AssertionError("pauses do not end")

    async def _exchange(self, client: socket.socket, token: bytes) -> str:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(client, (self.probe.address, self.probe.port))
            await loop.sock_sendall(client, token)
            return (await loop.sock_recv(client, 1024)).partition(b"\n")[0].decode(errors="replace")
        except ConnectionRefusedError:
            raise
        except OSError:  # no way there yet
            return await _silence()


class Echoes(Conversation):
    """ICMP. A reply is seen by the source's watcher; it bears no name."""

    def __init__(self, probe: Probe, namespace: str, arrivals: Arrivals, sources: Sources) -> None:
        super().__init__(probe, namespace, arrivals, sources)
        self._identifier = probe.source_port or next(sources.identifiers)
        self._sequence = itertools.count(1)

    async def ask(self, token: bytes) -> str:
        self.expect(token)
        answered = asyncio.Event()
        self._arrivals.expect_reply(self.probe.source, token, answered.set)
        for pause in _pauses():
            self._send(token)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), pause)
                break
        return ""

    def _send(self, token: bytes) -> None:
        with netns.inside(self._namespace):
            sender = frames.echo_sender(ip_address(self.probe.address).version)
        with sender, contextlib.suppress(OSError):
            sequence = next(self._sequence) & 0xFFFF
            packet = frames.echo_request(self.probe.address, self._identifier, sequence, token)
            sender.sendto(packet, (self.probe.address, 0))


BY_PROTOCOL: dict[Protocol, type[Conversation]] = {
    Protocol.TCP: Stream,
    Protocol.UDP: Datagrams,
    Protocol.ICMP: Echoes,
}


def _pauses() -> Iterator[float]:
    yield from _PAUSES
    yield from itertools.repeat(_PAUSES[-1])


async def _silence() -> str:
    """Until somebody's patience ends."""
    forever: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return await forever


def _drain(client: socket.socket) -> None:
    """Answers to what was said before are none to what is said now."""
    with contextlib.suppress(OSError):
        while client.recv(1024):
            pass


def _begin_at(client: socket.socket, sequence: int) -> None:
    """The first segment will bear this sequence number. To be under repair has the socket forget SO_REUSEADDR."""
    reuse = client.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    client.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_ON)
    client.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, _SEND_QUEUE)
    client.setsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, struct.pack("I", sequence))
    client.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_OFF)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
