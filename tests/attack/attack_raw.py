"""Senders and receivers of frames as they are: forgeries at more than a kilohertz, floods, and a watch over every place's link."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from attack_forgeries import HONEST, MARK, Forgery
from attack_scene import DOOR, NOWHERE
from attack_traffic import REVOCABLE
from frames import checksum, encode

from lace_sdn.lab import netns
from lace_sdn.openflow.simulator import Packet, Tcp
from lace_sdn.openflow.simulator.packet import Ends
from lace_sdn.pipeline.constants import GATEWAY_ETHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

    from attack_scene import Place

RATE = 2000
"""Forged frames a second."""
TENANTS_DATA = b"data-of-tenant-a"
_LARGE, _LARGE_INTERVAL = 60_000, 0.1
_BUSY_INTERVAL = 0.001
_BEHIND = 0.05
"""Seconds that a sender catches up, after it could not run."""
_SNAP = 400
_FRAGMENT = 1400
"""Octets: what Open vSwitch keeps of a datagram that is not complete (ipf-set-min-frag, 1200 octets with the header)."""
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE, _BUFFER = 35, 33, 256 << 20
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_IGNORE_OUTGOING = 263, 6, 23


@dataclass
class Seen:
    """What came in where it must not: (time.time(), kind, place). ``revocable``: the same of what a policy allows.

    ``honest``: allowed frames that were seen; ``dropped``: frames that receivers had no room for.
    """

    forbidden: list[tuple[float, str, str]] = field(default_factory=list)
    revocable: list[tuple[float, str]] = field(default_factory=list)
    honest: int = 0
    frames: int = 0
    dropped: int = 0


def send(its: list[Forgery], honest: Forgery, places: Mapping[str, Place], stop: Callable[[], bool], result: Connection) -> None:  # fmt: skip
    """All kinds in turn; hands over when each was sent."""
    moments: list[float] = []
    with contextlib.ExitStack() as opened:
        raw = {
            name: opened.enter_context(_raw(places[name]))
            for name in {each.sender for each in (*its, honest)}
        }
        due = time.monotonic()
        for each in itertools.cycle((*its, honest)):
            if stop():
                break
            with contextlib.suppress(OSError):
                raw[each.sender].send(each.frame)
                moments.append(time.time())
            due = max(due + 1 / RATE, time.monotonic() - _BEHIND)
            time.sleep(max(0.0, due - time.monotonic()))
    result.send(moments)


def watch(
    kinds: list[str], places: Mapping[str, Place], stop: Callable[[], bool], result: Connection
) -> None:
    """Every frame that comes in at every pod and host, as their links see it."""
    seen = Seen()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as opened:
        for name, place in places.items():
            if not name.startswith("node"):
                its = opened.enter_context(_raw(place, receives=True))
                selector.register(its, selectors.EVENT_READ, name)
        ends = 0.0
        while not ends or time.monotonic() < ends:
            if not ends and stop():
                ends = time.monotonic() + 1.0
            for key, _ in selector.select(0.05):
                for frame, moment in _received(key.fileobj):  # type: ignore[arg-type]
                    _note(seen, kinds, key.data, frame, moment)
        for key in selector.get_map().values():
            statistics = key.fileobj.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)  # type: ignore[union-attr]
            seen.dropped += struct.unpack("II", statistics)[1]
    result.send(seen)


def _note(seen: Seen, kinds: list[str], place: str, frame: bytes, moment: float) -> None:
    seen.frames += 1
    if _is_error(frame):
        return
    if (found := frame.find(MARK)) >= 0:
        number = int(frame[found + len(MARK) : found + len(MARK) + 2])
        seen.forbidden.append((moment, kinds[number], place))
    elif HONEST in frame:
        seen.honest += 1
    elif TENANTS_DATA in frame and place != "a/2":
        seen.forbidden.append((moment, "data for a/2", place))
    elif REVOCABLE in frame:
        seen.revocable.append((moment, place))


def _is_error(frame: bytes) -> bool:
    """An ICMP error quotes the packet that it is about (RFC 792)."""
    return frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_ICMP and frame[34] in {3, 11, 12}


def _received(its: socket.socket) -> Iterator[tuple[bytes, float]]:
    with contextlib.suppress(OSError):
        for _ in range(256):
            frame, ancillary, _, _ = its.recvmsg(_SNAP, 64)
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
            yield frame, seconds + nanoseconds / 1e9


def _raw(place: Place, *, receives: bool = False) -> socket.socket:
    with netns.inside(place.namespace):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        if receives:
            made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            made.setblocking(False)
        made.bind((place.device, 3 if receives else 0))  # linux/if_ether.h: ETH_P_ALL
    return made


def large_datagrams(places: Mapping[str, Place], stop: Callable[[], bool]) -> None:
    """srv/1 answers a/2 with 60,000 octets ten times a second, and srv/2 answers b/1, on the node of srv/1, a thousand times."""
    with contextlib.ExitStack() as opened:
        ends = {}
        for name in ("srv/1", "srv/2", "a/2", "b/1"):
            with netns.inside(places[name].namespace):
                ends[name] = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            ends[name].bind((places[name].address, 7130))
            ends[name].setblocking(False)
        data = (TENANTS_DATA * (_LARGE // len(TENANTS_DATA) + 1))[:_LARGE]
        large = due = time.monotonic()
        while not stop():
            with contextlib.suppress(OSError):
                ends["srv/2"].sendto(b"x" * 100, (places["b/1"].address, 7130))
            if time.monotonic() >= large:
                with contextlib.suppress(OSError):
                    ends["a/2"].sendto(b"?", (places["srv/1"].address, 7130))
                    ends["b/1"].sendto(b"?", (places["srv/2"].address, 7130))
                    ends["srv/1"].sendto(data, (places["a/2"].address, 7130))
                large += _LARGE_INTERVAL
            for each in ends.values():
                with contextlib.suppress(OSError):
                    each.recv(65536)
            due = max(due + _BUSY_INTERVAL, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def flood(kind: str, rate: int, places: Mapping[str, Place], stop: Callable[[], bool]) -> None:
    """By tenant d: ``connections`` with ever new ports, ``fragments`` whose datagrams never end, ``refusals`` to ask for."""
    make = {"connections": _connection, "fragments": _first_fragment, "refusals": _refused}[kind]
    with _raw(places["d/1"]) as raw:
        due = time.monotonic()
        for number in itertools.count(int.from_bytes(os.urandom(3))):
            if stop():
                return
            with contextlib.suppress(OSError):
                raw.send(make(places, number))
            due = max(due + 1 / rate, time.monotonic() - _BEHIND)
            time.sleep(max(0.0, due - time.monotonic()))


def _ends(places: Mapping[str, Place], address: str) -> Ends:
    return Ends(places["d/1"].mac, GATEWAY_ETHER, ip_address(places["d/1"].address), ip_address(address))


def _connection(places: Mapping[str, Place], number: int) -> bytes:
    ports = (1024 + number % 60000, 1024 + number // 60000 % 60000)
    return encode(Packet.udp(_ends(places, places["d/2"].address), ports, b"flood"))


def _first_fragment(places: Mapping[str, Place], number: int) -> bytes:
    frame = bytearray(
        encode(Packet.udp(_ends(places, places["d/2"].address), (41000, 41000), b"x" * _FRAGMENT))
    )
    struct.pack_into("!HHxxH", frame, 18, number & 0xFFFF, 0x2000, 0)
    struct.pack_into("!H", frame, 24, checksum(bytes(frame[14:34])))
    return bytes(frame)


def _refused(places: Mapping[str, Place], number: int) -> bytes:
    return encode(Packet.tcp(_ends(places, NOWHERE), (1024 + number % 60000, DOOR + 1), Tcp.SYN))
