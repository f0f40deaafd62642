"""Long-running streams between pods: TCP and UDP, a message every 10 ms in both directions, every arrival timed."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from lace_sdn.lab import netns

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 0.01
"""Seconds between two messages of one direction: 100 a second."""


@dataclass
class End:
    """One end of a stream: where it sends to, how often it did, and when it received (time.time(), seconds).

    ``rounds``: when all ends sent, a list that they share.
    """

    name: str
    sock: socket.socket
    rounds: list[float]
    peer: tuple[str, int] | None = None
    arrivals: list[float] = field(default_factory=list)
    sent: int = 0

    def send(self) -> None:
        with contextlib.suppress(OSError):
            if self.peer is None:
                self.sock.send(b"tick")
            else:
                self.sock.sendto(b"tick", self.peer)
            self.sent += 1

    def receive(self) -> None:
        with contextlib.suppress(OSError):
            if self.sock.recv(65536):
                self.arrivals.append(time.time())

    def largest_gap(self, first: float, last: float) -> float:
        """Seconds without any arrival, at most, between two times; those in which this process itself could not run and send do not count."""
        moments = [first, *(each for each in self.arrivals if first <= each <= last), last]
        sent = [bisect.bisect(self.rounds, moment) for moment in moments]
        return INTERVAL * max(later - earlier for earlier, later in itertools.pairwise(sent))


class Streams:
    """Streams that run in a thread of their own until the ``with`` block ends."""

    def __init__(self) -> None:
        self.ends: dict[str, End] = {}
        self._rounds: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listening: list[socket.socket] = []

    def udp(self, name: str, client: tuple[str, str], server: tuple[str, str], port: int) -> None:
        """``client`` and ``server``: (network namespace, address). Ends: NAME.client and NAME.server."""
        ends = []
        for namespace, address in (client, server):
            with netns.inside(namespace):
                sock = socket.socket(_family(address), socket.SOCK_DGRAM)
            sock.bind((address, port))
            ends.append(sock)
        self._add(name, ends, [(server[1], port), (client[1], port)])

    def tcp(
        self, name: str, client: tuple[str, str], server: tuple[str, str], port: int, client_port: int = 0
    ) -> None:
        """As ``udp``; ``client_port``: 0 for any. Raises OSError when the connection is not made within a minute."""
        with netns.inside(server[0]):
            listener = socket.create_server((server[1], port), family=_family(server[1]))
        with netns.inside(client[0]):
            near = socket.socket(_family(client[1]), socket.SOCK_STREAM)
        near.settimeout(60)
        near.bind((client[1], client_port))
        near.connect((server[1], port))
        far, _ = listener.accept()
        listener.close()
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._add(name, [near, far], [None, None])

    def _add(self, name: str, socks: list[socket.socket], peers: list[tuple[str, int] | None]) -> None:
        for side, sock, peer in zip(("client", "server"), socks, peers, strict=True):
            sock.setblocking(False)
            end = End(f"{name}.{side}", sock, self._rounds, peer)
            self.ends[end.name] = end

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        for end in self.ends.values():
            end.sock.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for end in self.ends.values():
                selector.register(end.sock, selectors.EVENT_READ, end)
            due = time.monotonic()
            while not self._stop.is_set():
                for key, _ in selector.select(max(0.0, due - time.monotonic())):
                    key.data.receive()
                if time.monotonic() >= due:
                    self._rounds.append(time.time())
                    for end in self.ends.values():
                        end.send()
                    due = max(due + INTERVAL, time.monotonic())


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def wait_for(what: str, condition: Callable[[], bool], bound: float = 10.0) -> None:
    """Wait until ``condition`` holds, ``bound`` seconds at most; ``what`` is the message of the failure."""
    deadline = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < deadline, f"not within {bound} s: {what}"
        time.sleep(0.02)
