"""The attack as a whole: a lab of its own, senders and receivers beside each other, one event after the other, a table of what arrived."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import multiprocessing
import secrets
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import attack_forgeries
import attack_raw
import attack_scene
import attack_traffic
from attack_events import EVENTS, Stage
from streams import Streams

from lace_sdn.kube.generation import generation
from lace_sdn.lab import LabError, agent_client, cluster, control, desired, processes
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from attack_scene import Place

GRACE = 10.0
"""Seconds after a policy was taken away until the last of its packets must have arrived; they are counted from then on."""
STREAM_PORTS = (48001, 7201)
_FORK = multiprocessing.get_context("fork")
_CALM = 60.0


@dataclass(frozen=True)
class Row:
    """What an event showed: see the names. Seconds, datagrams."""

    event: str
    seconds: float
    forbidden_sent: int
    forbidden_arrived: int
    kinds: dict[str, int]
    allowed_sent: int
    allowed_lost: int
    longest_gap: float
    worst_flow: str
    stream_gaps: dict[str, float]
    note: str = ""


@dataclass(frozen=True)
class Result:
    rows: list[Row]
    honest: int
    frames: int
    dropped: int

    @property
    def arrived(self) -> int:
        return sum(row.forbidden_arrived for row in self.rows)

    @property
    def is_judged(self) -> bool:
        """Receivers saw what may arrive, and missed nothing."""
        return self.honest > 0 and not self.dropped


class Crew:
    """Senders and receivers, each a process that runs until it is told to stop and then hands over what it has."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._running: list[tuple[Any, Any, Any]] = []

    def start(self, work: Callable[..., None], *arguments: Any) -> Any:
        """Its result comes by what is returned, when it has been stopped."""
        here, there = _FORK.Pipe()
        stop = _FORK.Event()
        process = _FORK.Process(target=work, args=(*arguments, self._places, stop.is_set, there), daemon=True)
        process.start()
        there.close()
        self._running.append((process, stop, here))
        return here

    def end(self, results: Iterable[Any]) -> list[Any]:
        for _, stop, _ in self._running:
            stop.set()
        found = [each.recv() for each in results]
        for process, _, _ in self._running:
            process.join(10)
            process.kill()
        return found

    @contextlib.contextmanager
    def background(self, name: str, *arguments: Any) -> Iterator[None]:
        work = {"flood": attack_raw.flood, "large datagrams": attack_raw.large_datagrams, "revocable": attack_traffic.run_revocable}[name]  # fmt: skip
        stop = _FORK.Event()
        process = _FORK.Process(target=work, args=(*arguments, self._places, stop.is_set), daemon=True)
        process.start()
        try:
            yield
        finally:
            stop.set()
            process.join(10)
            process.kill()


def run(names: Iterable[str], hold: float, datapath: str | None, tell: Callable[[str], None]) -> Result:
    """Raises LabError when the lab does not come about."""
    lab = Lab(f"attack-{secrets.token_hex(4)}")
    try:
        with TemporaryDirectory() as folder:
            manifests = attack_scene.write(Path(folder) / "manifests")
            on = ["--datapath", datapath] if datapath else []
            command = [sys.executable, "-c", "from lace_sdn.cli import main; main()", "lab", "up", *on]
            processes.run([*command, "--name", lab.name, "-f", str(manifests)])
        agent_client.settle(lab, ())  # its ports are free for servers that count
        return _attack(lab, names, hold, tell)
    finally:
        cluster.down(lab)


def _attack(lab: Lab, names: Iterable[str], hold: float, tell: Callable[[str], None]) -> Result:
    places = attack_scene.places(lab, desired.live(lab).state)
    forgeries, honest = attack_forgeries.forgeries(places, STREAM_PORTS), attack_forgeries.honest(places)
    flows = attack_traffic.flows(places)
    crew = Crew(places)
    watching = crew.start(attack_raw.watch, [each.kind for each in forgeries])
    streaming = crew.start(_stream)
    streaming.recv()  # all streams are connected
    allowed = crew.start(attack_traffic.run, flows)
    sending = crew.start(attack_raw.send, forgeries, honest)
    spans: list[tuple[str, float, float, str]] = []
    with crew.background("revocable"):
        time.sleep(2)
        stage = Stage(lab, hold, crew.background, [])
        for name in names:
            tell(name)
            began = time.time()
            EVENTS[name](stage)
            spans.append((name, began, time.time(), _calm(lab)))
        time.sleep(1)
    seen, streams, records, sent = crew.end((watching, streaming, allowed, sending))
    _add_revoked(seen, stage.absences)
    rows = [
        _row(span, _until(spans, at), seen, streams, (flows, records), sent) for at, span in enumerate(spans)
    ]
    return Result(rows, seen.honest, seen.frames, seen.dropped)


def _stream(places: Mapping[str, Place], stop: Callable[[], bool], result: Any) -> None:
    """TCP streams by the test suite's own kit: both ways, a message every 10 ms."""
    streams = Streams()
    for name, client, server, port, client_port in (
        ("same node", "b/1", "srv/1", 7202, 0),
        ("other node", "b/1", "srv/2", 7203, 0),
        ("egress", "a/1", attack_scene.HOST, 7204, 0),
        ("forged", "a/1", "srv/2", STREAM_PORTS[1], STREAM_PORTS[0]),
    ):
        near, far = ((places[each].namespace, places[each].address) for each in (client, server))
        streams.tcp(name, near, far, port, client_port)
    result.send(len(streams.ends))
    with streams:
        while not stop():
            time.sleep(0.1)
    result.send({name: end.arrivals for name, end in streams.ends.items()})


def _calm(lab: Lab) -> str:
    """Wait for the controller before the next event, outside what is judged; why that was in vain, in words."""
    with contextlib.suppress(LabError):
        state = desired.live(lab).state
        expected = {
            node: frozenset(each.id for each in state.endpoints if each.node == node)
            for node in state.node_by_name
        }
        control.await_programmed(lab, generation(lab.manifests), expected, _CALM)
        return ""
    return f"not confirmed within {_CALM:.0f} s"


def _add_revoked(seen: attack_raw.Seen, absences: list[list[float]]) -> None:
    """Packets of a policy that is gone, by when they came in."""
    for moment, place in seen.revocable:
        for removed, *added in absences:
            if removed + GRACE <= moment < (added[0] if added else moment + 1):
                seen.forbidden.append((moment, "policy is gone", place))


def _until(spans: list[tuple[str, float, float, str]], at: int) -> float:
    """What arrives before the next event is the last one's."""
    return spans[at + 1][1] if at + 1 < len(spans) else math.inf


def _row(  # noqa: PLR0913, PLR0917 - what every process saw
    span: tuple[str, float, float, str],
    until: float,
    seen: attack_raw.Seen,
    streams: Mapping[str, list[float]],
    allowed: tuple[Any, Any],
    sent: list[float],
) -> Row:
    name, began, ended, note = span
    came = Counter(f"{kind} at {place}" for moment, kind, place in seen.forbidden if began <= moment < until)
    losses = attack_traffic.losses(*allowed, began, ended)
    gaps = {}
    for end, arrivals in streams.items():
        moments = [began, *(each for each in arrivals if began <= each < ended), ended]
        gaps[end] = round(max(later - earlier for earlier, later in itertools.pairwise(moments)), 3)
    return Row(
        name,
        round(ended - began, 1),
        sum(began <= each < ended for each in sent),
        came.total(),
        dict(came),
        losses.sent,
        losses.lost,
        losses.gap,
        losses.worst,
        gaps,
        note,
    )


def table(result: Result) -> str:
    """For people."""
    lines = [
        f"{'event':<34} {'forbidden':>9} {'arrived':>8} {'allowed':>8} {'lost':>6} {'gap s':>6}  {'of':<12} {'tcp gap s':>9}"
    ]
    for row in result.rows:
        stream = max(row.stream_gaps.values(), default=0.0)
        lines.append(
            f"{row.event:<34} {row.forbidden_sent:>9,} {row.forbidden_arrived:>8,} {row.allowed_sent:>8,} {row.allowed_lost:>6,}"
            f" {row.longest_gap:>6.2f}  {row.worst_flow:<12} {stream:>9.2f}  {row.note}".rstrip()
        )
        lines += [f"    {count:,} x {kind}" for kind, count in sorted(row.kinds.items())]
    lines.append(f"{result.frames:,} frames seen, {result.honest:,} of those sent as forgeries are that are allowed, {result.dropped:,} missed")  # fmt: skip
    return "\n".join(lines)


def as_json(result: Result) -> str:
    return json.dumps({**asdict(result), "arrived": result.arrived}, indent=1)
