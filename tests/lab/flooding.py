"""A process that sends datagrams by a socket that it is given: ``flooding.py FD ADDRESS PORT RATE``, until it is ended.

By a raw socket it sends first fragments of datagrams that never end, each of another one. ``RATE``: a second. A line on its output for each second: how many were sent so far.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lace_sdn.lab import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA, _MORE = 1400, 0x2000
STEP = 0.002
"""Seconds between two bursts."""


class Flood:
    """A running process. ``sent`` after its end: how many datagrams it sent, and in how many seconds."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.sent, self.seconds = 0, 0.0

    def end(self) -> None:
        self._process.terminate()
        out, _ = self._process.communicate(timeout=20)
        last = out.splitlines()[-1].split()
        self.sent, self.seconds = int(last[0]), float(last[1])


@contextmanager
def flood(
    namespace: str, peer: tuple[str, int], rate: int, kind: socket.SocketKind = socket.SOCK_DGRAM
) -> Iterator[Flood]:
    """While the block runs, ``rate`` datagrams a second from ``namespace`` to ``peer``; of kind SOCK_RAW first fragments."""
    with netns.inside(namespace):
        sock = socket.socket(socket.AF_INET, kind, socket.IPPROTO_UDP)
    if kind == socket.SOCK_RAW:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    # Without a connection no refusal comes back to it.
    program = [sys.executable, __file__, str(sock.fileno()), *map(str, (*peer, rate))]
    process = subprocess.Popen(program, pass_fds=[sock.fileno()], stdout=subprocess.PIPE, text=True)
    sock.close()
    running = Flood(process)
    try:
        yield running
    finally:
        running.end()


def main() -> None:
    """Send in bursts; who cannot keep up sends what it can."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    peer, rate = (sys.argv[2], int(sys.argv[3])), int(sys.argv[4])
    is_raw = sock.type == socket.SOCK_RAW
    started = time.monotonic()
    said, sent = started, 0
    while True:
        now = time.monotonic()
        for _ in range(min(int((now - started) * rate) - sent, 500)):
            sock.sendto(_fragment(peer[0], sent) if is_raw else b"flood", peer)
            sent += 1
        if now - said > 1:
            print(sent, now - started, flush=True)
            said = now
        time.sleep(STEP)


def _fragment(to: str, number: int) -> bytes:
    """The first of two fragments (RFC 791), with its kernel's own address. A switch takes none below 1200 octets."""
    head = struct.pack(
        "!BBHHHBBH4x4s",
        0x45,
        0,
        20 + _DATA,
        number & 0xFFFF,
        _MORE,
        64,
        socket.IPPROTO_UDP,
        0,
        socket.inet_aton(to),
    )
    return head + struct.pack("!HHHH", 7000, 7000, 2 * _DATA, 0) + bytes(_DATA - 8)


if __name__ == "__main__":
    main()
