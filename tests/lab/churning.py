"""A Service whose endpoints come and go all the time, under load, and who was reached meanwhile."""

from __future__ import annotations

import contextlib
import errno
import math
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import yaml

from lace_sdn.kube.generation import generation
from lace_sdn.lab import control, netns
from lace_sdn.lab.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

STAYING, LEAVING, CLIENT = 4, 12, "shop/client"
VIP, PORT, STREAM_PORT = "10.96.7.1", 80, 90
STREAMS = 20
PERIOD = 3.0
"""Seconds that half of the endpoints that leave are toggled, while the other half is out."""
GONE = 1.0
"""Seconds after which nobody may be sent to an endpoint that left."""
PATIENCE = 5.0
"""Seconds until a connection that got no answer is lost."""
_TOTAL_RETRANSMISSIONS = 100
"""Offset in struct tcp_info, linux/tcp.h."""


def pod(number: int) -> str:
    return f"shop/pod-{number:02}"


def manifests(folder: Path) -> Path:
    """Write them: a client, STAYING endpoints that stay, LEAVING ones, on two nodes."""
    folder.mkdir()
    documents: list[dict[str, Any]] = [
        {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node{node}"},
            "status": {"addresses": [{"type": "InternalIP", "address": f"192.168.50.{node + 1}"}]},
        }
        for node in (0, 1)
    ]  # fmt: skip
    documents += [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"network": "shop"}}},
        {
            "apiVersion": "lace-cni.io/v1alpha1", "kind": "Network", "metadata": {"name": "shop"},
            "spec": {"type": "l3", "ipv4Subnet": {"prefix": "10.7.0.0/16", "hostLocalPrefixLength": 24}},
            "status": {"networkKey": 7},
        },
        {
            "apiVersion": "lace-cni.io/v1alpha1", "kind": "NetworkBindingPolicy", "metadata": {"name": "shop"},
            "spec": {"network": "shop", "namespaceSelector": {"matchLabels": {"network": "shop"}}},
        },
        _pod_manifest(CLIENT, "node0", ()),
        *(
            _pod_manifest(pod(number), f"node{number % 2}", (8080, 9090))
            for number in range(STAYING + LEAVING)
        ),
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "clusterIP": VIP,
                "ports": [
                    {"name": "web", "port": PORT, "targetPort": 8080},
                    {"name": "stream", "port": STREAM_PORT, "targetPort": 9090},
                ],
            },
        },
    ]  # fmt: skip
    (folder / "cluster.yaml").write_text(yaml.safe_dump_all(documents))
    return folder


def _pod_manifest(name: str, node: str, ports: Sequence[int]) -> dict[str, Any]:
    namespace, _, short = name.partition("/")
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": short, "namespace": namespace},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": "example", "ports": [{"containerPort": each} for each in ports]}],
        },
    }  # fmt: skip


class Membership:
    """Which endpoints the Service has, and when others were none (time.monotonic(), seconds)."""

    def __init__(self, path: Path, addresses: dict[str, str]) -> None:
        """``path``: where the EndpointSlices are; ``addresses``: of the pods, all of which are no endpoints yet."""
        self._path, self._addresses = path, addresses
        self._absences = {name: [(time.monotonic(), math.inf)] for name in addresses}
        self.members: set[str] = set()

    def set(self, members: set[str]) -> None:
        """Write the slices: whoever comes is a member before they are in place, whoever goes until then."""
        slices = [
            self._slice("web", 8080, sorted(members)),
            self._slice("stream", 9090, [pod(number) for number in range(STAYING)]),
        ]
        for name in members - self.members:
            self._absences[name][-1] = (self._absences[name][-1][0], time.monotonic())
        write_whole(self._path, yaml.dump_all(slices, Dumper=_DUMPER))
        for name in self.members - members:
            self._absences[name].append((time.monotonic(), math.inf))
        self.members = members

    def absent_for(self, name: str, moment: float) -> float:
        """Seconds that it had been no endpoint at ``moment``; 0 if it was one."""
        return max(
            (moment - first for first, last in self._absences[name] if first <= moment < last), default=0.0
        )

    def _slice(self, port: str, number: int, pods: Sequence[str]) -> dict[str, Any]:
        return {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": f"web-{port}", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"},
            },
            "ports": [{"name": port, "port": number}],
            "endpoints": [
                {
                    "addresses": [self._addresses[name]],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": name.partition("/")[2]},
                }
                for name in pods
            ],
        }  # fmt: skip


_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Call:
    """One connection to the VIP. ``reached``: what the endpoint said it is, "" and ``error`` when it was lost."""

    started: float
    reached: str
    error: str = ""
    seconds: float = 0.0


class Caller:
    """Opens connections at a steady rate, in a thread of its own."""

    def __init__(self, namespace: str, rate: int) -> None:
        self.calls: list[Call] = []
        self._namespace, self._rate = namespace, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._open: dict[socket.socket, tuple[float, bytes]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=3 * PATIENCE)

    def _run(self) -> None:
        with netns.inside(self._namespace), selectors.DefaultSelector() as selector:
            due = time.monotonic()
            while self._open or not self._stop.is_set():
                now = time.monotonic()
                if now >= due and not self._stop.is_set():
                    self._begin(selector)
                    due += 1 / self._rate
                for key, _ in selector.select(0.002):
                    self._read(selector, key.fileobj)
                for sock in [each for each, (first, _) in self._open.items() if now - first > PATIENCE]:
                    self._end(selector, sock, "no answer")

    def _begin(self, selector: selectors.BaseSelector) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        self._open[sock] = (time.monotonic(), b"")
        code = sock.connect_ex((VIP, PORT))
        if code not in (0, errno.EINPROGRESS):
            self.calls.append(Call(self._open.pop(sock)[0], "", errno.errorcode[code]))
            sock.close()
            return
        selector.register(sock, selectors.EVENT_READ)

    def _read(self, selector: selectors.BaseSelector, sock: Any) -> None:
        first, said = self._open[sock]
        try:
            said += sock.recv(100)
        except OSError as problem:
            self._end(selector, sock, problem.strerror or "error")
            return
        self._open[sock] = (first, said)
        if said.endswith(b"\n"):
            self._end(selector, sock, "")

    def _end(self, selector: selectors.BaseSelector, sock: socket.socket, error: str) -> None:
        first, said = self._open.pop(sock)
        reached = "" if error else said.decode().strip()
        self.calls.append(Call(first, reached, error, time.monotonic() - first))
        selector.unregister(sock)
        with contextlib.suppress(OSError):  # a reset leaves no waiting port behind
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@dataclass
class LongStream:
    """A connection through the VIP that asks again and again and is answered."""

    sock: socket.socket
    answers: int = 0
    asked: int = 0
    error: str = ""
    largest_wait: float = 0.0


@dataclass
class LongStreams:
    """STREAMS connections, each asks 10 times a second once the former answer is there."""

    namespace: str
    streams: list[LongStream] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Raises OSError when a connection is not made."""
        with netns.inside(self.namespace):
            for _ in range(STREAMS):
                sock = socket.create_connection((VIP, STREAM_PORT), timeout=PATIENCE)
                sock.recv(100)
                self.streams.append(LongStream(sock))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * PATIENCE)
        for each in self.streams:
            each.sock.close()

    def retransmissions(self) -> int:
        return sum(
            struct.unpack_from("I", each.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), _TOTAL_RETRANSMISSIONS)[0]
            for each in self.streams
        )  # fmt: skip

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for each in self.streams:
                if not each.error:
                    self._ask(each)

    @staticmethod
    def _ask(stream: LongStream) -> None:
        started = time.monotonic()
        try:
            stream.sock.send(b"tick")
            stream.asked += 1
            said = stream.sock.recv(100)
        except OSError as problem:
            stream.error = str(problem)
            return
        if not said:
            stream.error = "closed"
            return
        stream.answers += 1
        stream.largest_wait = max(stream.largest_wait, time.monotonic() - started)


@dataclass(frozen=True)
class Churned:
    """What happened: see the names. Times in seconds."""

    changes: int
    calls: tuple[Call, ...]
    streams: tuple[LongStream, ...]
    retransmissions: int
    """Of all streams together."""
    longest_absence: float
    """That an endpoint had been none when a connection was opened that reached it, at most."""

    @property
    def lost(self) -> list[Call]:
        return [each for each in self.calls if each.error]

    @property
    def reached(self) -> dict[str, int]:
        return dict(sorted(Counter(each.reached for each in self.calls if each.reached).items()))


def churn(lab: Lab, built: Built, seconds: float, *, rate: int, calls: int) -> Churned:
    """``rate`` changes and ``calls`` connections a second on the Service of ``manifests``, which the lab was brought to."""
    pods = [pod(number) for number in range(STAYING + LEAVING)]
    membership = Membership(
        lab.manifests / "slices.yaml",
        {name: str(built.state.endpoint_by_id[name].addresses[0]) for name in pods},
    )
    membership.set(set(pods[:STAYING]))
    expected = {
        node: frozenset(each.id for each in built.state.endpoints if each.node == node)
        for node in built.state.node_by_name
    }
    control.await_programmed(lab, generation(lab.manifests), expected, 60)
    client = lab.pod_namespace(CLIENT)
    with LongStreams(client) as streams, Caller(client, calls) as caller:
        changes = _toggle(membership, seconds, rate)
        retransmissions = streams.retransmissions()
    absences = [membership.absent_for(each.reached, each.started) for each in caller.calls if each.reached]
    return Churned(
        changes, tuple(caller.calls), tuple(streams.streams), retransmissions, max(absences, default=0.0)
    )


def _toggle(membership: Membership, seconds: float, rate: int) -> int:
    """Change one endpoint at a time; how often. Half of those that leave come and go, the others are out meanwhile."""
    pods = [pod(number) for number in range(STAYING + LEAVING)]
    staying, leaving = set(pods[:STAYING]), pods[STAYING:]
    halves = leaving[: LEAVING // 2], leaving[LEAVING // 2 :]
    started, made = time.monotonic(), 0
    while (now := time.monotonic()) < started + seconds:
        half = halves[int((now - started) / PERIOD) % 2]
        membership.set(staying | ((membership.members & {*half}) ^ {half[made % len(half)]}))
        made += 1
        time.sleep(max(0.0, started + made / rate - time.monotonic()))
    return made
