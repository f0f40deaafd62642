"""Allowed datagrams, numbered and echoed at a kilohertz; and what may pass while a policy is there. Each is a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import struct
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attack_scene import DOOR, HOST, NODE_PORT, VIP

from lace_sdn.lab import netns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from attack_scene import Place

INTERVAL = 0.005
"""Seconds between two datagrams of one flow: seven flows are 1,400 a second, and as many answers."""
_HEAD = struct.Struct("!16sHI")
_MAGIC = b"allowed-datagram"
REVOCABLE = b"while-policy-is!"
_BUFFER = 64 << 20
_TURN = 64


@dataclass(frozen=True)
class Flow:
    """From ``client`` to ``address`` and ``port``, where ``server`` answers at ``server_port``; ``size``: octets."""

    name: str
    client: str
    server: str
    address: str
    port: int
    server_port: int
    size: int = _HEAD.size


@dataclass
class Record:
    """Of one flow: when each datagram was sent (time.time(), seconds), whether it arrived, whether its answer did."""

    sent: array[float] = field(default_factory=lambda: array("d"))
    arrived: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Losses:
    """In a stretch of time. ``gap``: seconds of datagrams without an answer in a row, at most, in one flow."""

    sent: int
    lost: int
    gap: float
    worst: str = ""


def flows(places: Mapping[str, Place]) -> list[Flow]:
    def direct(name: str, client: str, server: str, port: int, size: int = _HEAD.size) -> Flow:
        return Flow(name, client, server, places[server].address, port, port, size)

    return [
        direct("same node", "b/1", "srv/1", 7111),
        direct("other node", "b/1", "srv/2", 7112),
        direct("own network", "a/1", "a/2", 7113),
        direct("egress", "a/1", HOST, 7114),
        direct("fragments", "a/2", "a/1", 7115, 4000),
        Flow("VIP", "b/1", "srv/2", VIP, DOOR, DOOR),
        Flow("NodePort", HOST, "srv/2", places["node1"].address, NODE_PORT, DOOR),
    ]


def run(its: list[Flow], places: Mapping[str, Place], stop: Callable[[], bool], result: Connection) -> None:
    """Send until ``stop``, wait a second for the last, and hand over the records."""
    records = [Record() for _ in its]
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as opened:
        servers: dict[tuple[str, int], socket.socket] = {}
        for flow in its:
            key = (flow.server, flow.server_port)
            if key not in servers:
                servers[key] = opened.enter_context(_bound(places[flow.server], flow.server_port))
                selector.register(servers[key], selectors.EVENT_READ, "server")
        clients = [opened.enter_context(_bound(places[flow.client], 45000 + n)) for n, flow in enumerate(its)]
        for client in clients:
            selector.register(client, selectors.EVENT_READ, "client")
        due, ends = time.monotonic(), 0.0
        while not ends or time.monotonic() < ends:
            if not ends and stop():
                ends = time.monotonic() + 1.0
            for key_, _ in selector.select(max(0.0, due - time.monotonic())):
                _receive(key_.fileobj, records, is_server=key_.data == "server")  # type: ignore[arg-type]
            if not ends and time.monotonic() >= due:
                for number, (flow, client) in enumerate(zip(its, clients, strict=True)):
                    _send(client, flow, number, records[number])
                due = max(due + INTERVAL, time.monotonic() - 5 * INTERVAL)
    result.send(records)


def _send(client: socket.socket, flow: Flow, number: int, record: Record) -> None:
    sequence = len(record.sent)
    record.sent.append(time.time())
    record.arrived.append(0)
    record.answered.append(0)
    with contextlib.suppress(OSError):
        client.sendto(_HEAD.pack(_MAGIC, number, sequence).ljust(flow.size, b"."), (flow.address, flow.port))


def _receive(its: socket.socket, records: list[Record], *, is_server: bool) -> None:
    with contextlib.suppress(OSError):
        for _ in range(_TURN):
            data, sender = its.recvfrom(65536)
            magic, number, sequence = _HEAD.unpack_from(data)
            if magic == _MAGIC and is_server:
                records[number].arrived[sequence] = 1
                its.sendto(data, sender)
            elif magic == _MAGIC:
                records[number].answered[sequence] = 1


def losses(its: list[Flow], records: list[Record], first: float, last: float) -> Losses:
    """Of the datagrams that were sent between two times. A gap is counted in datagrams, so no pause of the sender is one."""
    sent = lost = longest = 0
    worst = ""
    for flow, record in zip(its, records, strict=True):
        within = [n for n, moment in enumerate(record.sent) if first <= moment < last]
        answered = [record.answered[n] for n in within]
        sent += len(answered)
        lost += answered.count(0)
        run_ = max((len(list(group)) for value, group in itertools.groupby(answered) if not value), default=0)
        if run_ > longest:
            longest, worst = run_, flow.name
    return Losses(sent, lost, longest * INTERVAL, worst)


def run_revocable(places: Mapping[str, Place], stop: Callable[[], bool]) -> None:
    """From c/1 to srv/1 and srv/2, with one source port each, with ever new ones, and by a TCP connection that was made early."""
    source = places["c/1"]
    with contextlib.ExitStack() as opened:
        fixed = [opened.enter_context(_bound(source, port)) for port in (46001, 46002)]
        servers = [opened.enter_context(_bound(places[name], 7120)) for name in ("srv/1", "srv/2")]
        with netns.inside(places["srv/2"].namespace):
            listener = opened.enter_context(socket.create_server((places["srv/2"].address, 7121)))
        with netns.inside(source.namespace):
            stream = opened.enter_context(socket.socket())
        stream.settimeout(60)
        stream.connect((places["srv/2"].address, 7121))
        accepted = opened.enter_context(listener.accept()[0])
        for each in (stream, accepted, *servers):
            each.setblocking(False)
        due = time.monotonic()
        for number in itertools.count():
            if stop():
                return
            text = REVOCABLE + b"%.6f" % time.time()
            new = _bound(source, 47000 + number % 10000)
            with contextlib.suppress(OSError), new:
                for sender, name in ((fixed[0], "srv/1"), (fixed[1], "srv/2"), (new, "srv/2")):
                    sender.sendto(text, (places[name].address, 7120))
            for each in (accepted, *servers):
                with contextlib.suppress(OSError):
                    each.recv(65536)
            with contextlib.suppress(OSError):
                stream.send(text)
            due = max(due + INTERVAL, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def _bound(place: Place, port: int) -> socket.socket:
    with netns.inside(place.namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # socket(7): SO_RCVBUFFORCE
    made.setblocking(False)
    made.bind((place.address, port))
    return made
