"""Traffic on a lab while its API server fails: what was lost, what passed that must not, how long it took until all was well again."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams import End, Streams

from lace_sdn.kube.api import resources
from lace_sdn.lab import netns
from lace_sdn.lab.api import access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from api_process import ApiProcess

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

KNOCK, PORT = 7100, 7200
POLICY = "opened-for-a-while"
BOUND = 15.0
"""Seconds until it is given up that something converges."""


@dataclass(frozen=True)
class Suffered:
    """``lost``: UDP datagrams of allowed streams that did not arrive; ``forbidden``: that arrived and must not. Times in seconds.

    ``largest_gap``: between arrivals of any stream; ``opened`` and ``closed``: after the fault, from the written policy until the first
    packet that it allows, and from its deletion until the last. ``requests``: a second, while the fault lasted.
    """

    sent: int
    lost: int
    forbidden: int
    largest_gap: float
    opened: float
    closed: float
    requests: float

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.lost} lost, {self.forbidden} forbidden passed, longest gap {self.largest_gap * 1000:.0f} ms; "
            f"a policy was in force {self.opened * 1000:.0f} ms after it was written, and its end "
            f"{self.closed * 1000:.0f} ms after it was deleted; {self.requests:.0f} requests a second"
        )


class Traffic(Streams):
    """Allowed: inside the shop, and from it to the database, on one node and between two. Forbidden: the database knocks at the shop."""

    def __init__(self, lab: Lab, built: Built) -> None:
        super().__init__()

        def place(pod: str) -> tuple[str, str]:
            return lab.pod_namespace(pod), str(built.state.endpoint_by_id[pod].addresses[0])

        near, far, database = place("shop/web-0"), place("shop/web-1"), place("db/db-0")
        self.udp("inside", near, far, PORT)
        self.udp("by policy", near, database, PORT + 1)
        self.udp("by policy, far", far, database, PORT + 2)
        self.tcp("by policy, TCP", far, database, PORT + 3)
        for name in [name for name in self.ends if name.endswith(".server")]:
            end = self.ends[name]
            self.ends[name] = Answering(end.name, end.sock, self._rounds, end.peer)
        self.knocks = [self._knock(database, near, KNOCK), self._knock(database, far, KNOCK + 1)]

    def _knock(self, source: tuple[str, str], destination: tuple[str, str], port: int) -> End:
        """One direction only. The answer is the end where nothing may arrive."""
        with netns.inside(destination[0]):
            there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        there.bind((destination[1], port))
        there.setblocking(False)
        with netns.inside(source[0]):
            here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here.setblocking(False)
        self.ends[f"knock {port}"] = End(f"knock {port}", here, self._rounds, (destination[1], port))
        heard = self.ends[f"heard {port}"] = Silent(f"heard {port}", there, self._rounds)
        return heard

    def datagrams(self) -> tuple[int, int]:
        """Sent and arrived, of all allowed streams of UDP."""
        its = [each for name, each in self.ends.items() if each.peer is not None and "knock" not in name]
        return sum(each.sent for each in its), sum(len(each.arrivals) for each in its)

    def __exit__(self, *_: object) -> None:
        """What is under way still arrives."""
        self._stop.set()
        self._thread.join(timeout=5)
        deadline = time.monotonic() + 2
        while len({*self.datagrams()}) > 1 and time.monotonic() < deadline:
            for each in self.ends.values():
                each.receive()
        for each in self.ends.values():
            each.sock.close()

    def allowed(self) -> Iterator[End]:
        return (each for name, each in self.ends.items() if not name.startswith(("knock", "heard")))

    def knocked(self) -> int:
        return sum(len(each.arrivals) for each in self.knocks)


class Answering(End):
    """Sends once it has received: before, it might not."""

    def send(self) -> None:
        if self.arrivals:
            super().send()


class Silent(End):
    """Only receives."""

    def send(self) -> None:
        pass


Fault = "Callable[[ApiProcess, float], None]"


def _kill(server: ApiProcess, seconds: float) -> None:
    server.kill()
    time.sleep(seconds)
    server.start()


def _hang(server: ApiProcess, seconds: float) -> None:
    server.hang()
    time.sleep(seconds)
    server.go_on()


def _errors(server: ApiProcess, seconds: float) -> None:
    server.faults(status=500)
    time.sleep(seconds)
    server.faults()


def _gone(server: ApiProcess, seconds: float) -> None:
    """Every second all watches break, and what they would go on from is forgotten: 410 Gone."""
    for _ in range(round(seconds)):
        server.faults(expire=True, **{"break": True})
        time.sleep(1)


def _dropped(server: ApiProcess, seconds: float) -> None:
    server.faults(watch_seconds=1)
    time.sleep(seconds)
    server.faults()


FAULTS: Mapping[str, Callable[[ApiProcess, float], None]] = {
    "the server is killed": _kill,
    "the server hangs": _hang,
    "all answers are 500": _errors,
    "410 Gone each second": _gone,
    "watches end each second": _dropped,
}


def suffer(lab: Lab, built: Built, server: ApiProcess, fault: str, seconds: float) -> Suffered:
    """``fault`` for so long, with traffic before, while and after."""
    api = access.connect(lab)
    with Traffic(lab, built) as traffic:
        _await(lambda: traffic.datagrams()[1] > 100, "traffic flows")
        began, before = time.time(), server.requests()
        FAULTS[fault](server, seconds)
        ended = time.time()
        # A server that was started again has counted from nothing.
        after = server.requests()
        asked = after - (before if after >= before else 0)
        forbidden = traffic.knocked()
        opened = _until(_written(api), lambda: traffic.knocked() > forbidden)
        closed = _until(_deleted(api), _quiet(traffic))
        quiet = traffic.knocked()
        gap = max(each.largest_gap(began, time.time()) for each in traffic.allowed())
        time.sleep(0.5)
        forbidden += traffic.knocked() - quiet
    sent, arrived = traffic.datagrams()
    return Suffered(sent, sent - arrived, forbidden, gap, opened, closed, asked / (ended - began))


def _until(write: Callable[[], None], condition: Callable[[], bool | float]) -> float:
    """Seconds from a write until what follows from it; a number is the moment by time.time() that counts."""
    write()
    began = time.time()
    found = _await(condition, "the change of a policy is in force")
    return max((time.time() if found is True else found) - began, 0.0)


def _await(condition: Callable[[], bool | float], what: str) -> bool | float:
    deadline = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {BOUND:.0f} s: {what}"
        time.sleep(0.005)
    return found


def _quiet(traffic: Traffic) -> Callable[[], float]:
    """The last arrival, once there was none for half a second."""
    began = time.time()

    def last() -> float:
        latest = max((each.arrivals[-1] for each in traffic.knocks if each.arrivals), default=began)
        return latest if time.time() - max(latest, began) > 0.5 else 0.0

    return last


def _written(api: Api) -> Callable[[], None]:
    body = {
        "apiVersion": resources.ROUTING_POLICIES.api_version,
        "kind": resources.ROUTING_POLICIES.kind,
        "metadata": {"name": POLICY},
        "spec": {"srcSelector": {"name": "db"}, "destSelector": {"name": "shop"}},
    }

    def write() -> None:
        api.create(resources.ROUTING_POLICIES, body)

    return write


def _deleted(api: Api) -> Callable[[], None]:
    def delete() -> None:
        api.delete(resources.ROUTING_POLICIES, POLICY)

    return delete
