"""What the agent keeps inside each place: a listener for each declared port, and watchers of the probes that arrive."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
from typing import TYPE_CHECKING

from lace_sdn.lab import frames, netns
from lace_sdn.lab.datagrams import Datagrams
from lace_sdn.lab.probes import Hearing
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.lab.frames import Arrival
    from lace_sdn.lab.probes import Resident

log = logging.getLogger(__name__)
_TOKEN = re.compile(rb"%s[0-9a-f]{16}" % frames.MAGIC)
_FRAMES_A_TURN = 256
_FRAME_LENGTH = 256
"""Bytes; the token stands before."""
_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - a place's listener, in its own namespace


class Arrivals:
    """Where the tokens of the probes in flight were seen. Others are forgotten at once."""

    def __init__(self) -> None:
        self._seen: dict[bytes | int, set[str]] = {}
        self._replied: dict[bytes | int, tuple[str, Callable[[], None]]] = {}

    def expect(self, sign: bytes | int) -> None:
        """Begin to record ``sign`` (a token or a sequence number)."""
        self._seen[sign] = set()

    def expect_reply(self, source: str, token: bytes, on_reply: Callable[[], None]) -> None:
        """``on_reply`` is called whenever an echo of ``token`` comes back to the place that sent it, until it is forgotten.

        What was sent again, because the first answer was slow, is answered again.
        """
        self._replied[token] = source, on_reply

    def is_reply_to(self, source: str, token: bytes) -> bool:
        """Whether ``source`` has sent an echo of ``token``."""
        return token in self._replied and self._replied[token][0] == source

    def forget(self, sign: bytes | int) -> set[str]:
        """End recording: the places where it was seen."""
        self._replied.pop(sign, None)
        return self._seen.pop(sign, set())

    def record(self, place: str, arrival: Arrival) -> None:
        """What a watcher saw. A reply is for the place that sent the request: anywhere else it is as much astray as a request."""
        if arrival.is_echo_reply and self.is_reply_to(place, arrival.token):
            self._replied[arrival.token][1]()
        else:
            self._seen.get(arrival.sequence or arrival.token, set()).add(place)

    def record_text(self, place: str, text: bytes) -> None:
        """What a listener received."""
        for token in _TOKEN.findall(text):
            self._seen.get(token, set()).add(place)


class Inhabitant:
    """The sockets of one place. ``set_ports`` opens and closes only what changed, so other connections live on."""

    def __init__(self, resident: Resident, arrivals: Arrivals) -> None:
        self.resident = resident
        self._arrivals = arrivals
        self._listeners: dict[tuple[Protocol, int], list[_Listener]] = {}
        self._open: set[asyncio.BaseTransport] = set()
        with netns.inside(resident.namespace):
            self._watchers = [frames.watch(device) for device in resident.devices]
        for watcher in self._watchers:
            asyncio.get_running_loop().add_reader(watcher, self._watch, watcher)

    async def set_ports(self, resident: Resident) -> None:
        """A port that a process of the place's own has is left to it, until the next call."""
        self.resident = resident
        for port in self._listeners.keys() - set(resident.ports):
            for listener in self._listeners.pop(port):
                listener.close()
        for port in [port for port in resident.ports if port not in self._listeners]:
            self._listeners[port] = []
            try:
                for version in (4, 6):
                    self._listeners[port].append(await self._listen(*port, version))
            except OSError as problem:
                for listener in self._listeners.pop(port):
                    listener.close()
                which = f"{resident.id} port {port[0]}/{port[1]}"
                if problem.errno != errno.EADDRINUSE:
                    raise OSError(problem.errno, f"{which}: {problem.strerror}") from None
                log.warning("%s is taken by a process of its own, and left to it", which)

    def close(self) -> None:
        """Close everything, connections too: they keep the namespace alive."""
        for watcher in self._watchers:
            asyncio.get_running_loop().remove_reader(watcher)
            watcher.close()
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()
        for transport in list(self._open):
            transport.abort() if isinstance(transport, asyncio.WriteTransport) else transport.close()

    def opened(self, transport: asyncio.BaseTransport) -> None:
        self._open.add(transport)

    def closed(self, transport: asyncio.BaseTransport) -> None:
        self._open.discard(transport)

    def answer(self, received: bytes) -> bytes:
        """Record what came in; the answer is the place's name."""
        self._arrivals.record_text(self.resident.id, received)
        return f"{self.resident.id}\n".encode()

    async def _listen(self, protocol: Protocol, port: int, version: int) -> _Listener:
        loop = asyncio.get_running_loop()
        kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with netns.inside(self.resident.namespace):
            listening = socket.socket(family, kind)
        try:
            listening.setblocking(False)
            if version == 6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if protocol is Protocol.TCP:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((_ANY[version], port))
            if protocol is Protocol.TCP:
                return await loop.create_server(lambda: _Connection(self), sock=listening, backlog=1024)
            return Datagrams(listening, self.answer)
        except OSError:
            listening.close()
            raise

    def _watch(self, watcher: socket.socket) -> None:
        with contextlib.suppress(OSError):  # no more frames, or the link has gone down
            for _ in range(_FRAMES_A_TURN):
                frame, (_, _, kind, *_) = watcher.recvfrom(_FRAME_LENGTH)
                arrival = frames.read(frame)
                if arrival is not None and self._hears(arrival, kind):
                    self._arrivals.record(self.resident.id, arrival)

    def _hears(self, arrival: Arrival, kind: int) -> bool:
        """``kind``: whom the frame was sent to, as the kernel says (packet(7): sll_pkttype)."""
        its = self.resident
        if its.hearing is not Hearing.SERVED:
            return its.hearing is Hearing.ALL or kind == socket.PACKET_HOST
        if kind != socket.PACKET_HOST or arrival.destination not in its.addresses:
            return False
        if arrival.is_echo_reply:  # others are for somebody whom it lets use its address
            return self._arrivals.is_reply_to(its.id, arrival.token)
        return arrival.port[0] is Protocol.ICMP or arrival.port in its.ports


class _Connection(asyncio.Protocol):
    """Says the place's name when it begins, and again for whatever comes in."""

    def __init__(self, inhabitant: Inhabitant) -> None:
        self._inhabitant = inhabitant

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - tells the type checker
        self._transport = transport
        self._inhabitant.opened(transport)
        transport.write(self._inhabitant.answer(b""))

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._inhabitant.answer(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._inhabitant.closed(self._transport)


_Listener = asyncio.Server | Datagrams
