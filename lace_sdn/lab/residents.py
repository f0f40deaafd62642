"""What the agent keeps inside each pod: a listener for each declared port, and a watcher of the probes that arrive."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
from typing import TYPE_CHECKING

from lace_sdn.lab import frames, netns
from lace_sdn.lab.links import POD_DEVICE
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.lab.probes import Resident

log = logging.getLogger(__name__)
_TOKEN = re.compile(rb"%s[0-9a-f]{16}" % frames.MAGIC)
_FRAMES_A_TURN = 256
_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - a pod's listener, in the pod's own namespace


class Arrivals:
    """Where the tokens of the probes in flight were seen. Others are forgotten at once."""

    def __init__(self) -> None:
        self._seen: dict[bytes | int, set[str]] = {}
        self._replied: dict[bytes, Callable[[], None]] = {}

    def expect(self, sign: bytes | int, on_reply: Callable[[], None] | None = None) -> None:
        """Begin to record ``sign`` (a token or a source port); ``on_reply`` is called when an echo of it comes back."""
        self._seen[sign] = set()
        if on_reply is not None and isinstance(sign, bytes):
            self._replied[sign] = on_reply

    def forget(self, sign: bytes | int) -> set[str]:
        """End recording: the pods where it was seen."""
        if isinstance(sign, bytes):
            self._replied.pop(sign, None)
        return self._seen.pop(sign, set())

    def is_expected(self, sign: bytes | int) -> bool:
        return sign in self._seen

    def record(self, pod: str, frame: bytes) -> None:
        arrival = frames.read(frame)
        if arrival is None:
            return
        if arrival.is_echo_reply:
            self._replied.get(arrival.token, _ignore)()
        else:
            self._seen.get(arrival.source_port or arrival.token, set()).add(pod)

    def record_text(self, pod: str, text: bytes) -> None:
        """What a listener received."""
        for token in _TOKEN.findall(text):
            self._seen.get(token, set()).add(pod)


class Inhabitant:
    """The sockets of one pod. ``set_ports`` opens and closes only what changed, so other connections live on."""

    def __init__(self, resident: Resident, arrivals: Arrivals) -> None:
        self.resident = resident
        self._arrivals = arrivals
        self._listeners: dict[tuple[Protocol, int], list[_Listener]] = {}
        self._open: set[asyncio.BaseTransport] = set()
        with netns.inside(resident.namespace):
            self._watcher = frames.watch(POD_DEVICE)
        asyncio.get_running_loop().add_reader(self._watcher, self._watch)

    async def set_ports(self, resident: Resident) -> None:
        """A port that a process of the pod's own has is left to it, until the next call."""
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
                log.warning("%s is taken by a process of the pod's own, and left to it", which)

    def close(self) -> None:
        """Close everything, connections too: they keep the namespace alive."""
        asyncio.get_running_loop().remove_reader(self._watcher)
        self._watcher.close()
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
        """Record what came in; the answer is the pod's name."""
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
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=listening)
        except OSError:
            listening.close()
            raise
        return transport

    def _watch(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(_FRAMES_A_TURN):
                self._arrivals.record(self.resident.id, self._watcher.recv(256))


class _Connection(asyncio.Protocol):
    """Says the pod's name when it begins, and again for whatever comes in."""

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


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, inhabitant: Inhabitant) -> None:
        self._inhabitant = inhabitant

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._inhabitant.answer(data), addr)


_Listener = asyncio.Server | asyncio.BaseTransport


def _ignore() -> None:
    """An echo of a probe that is over."""
