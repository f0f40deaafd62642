"""Asking the lab's agent, and starting it."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from lace_sdn.lab import LabError, netns, processes
from lace_sdn.lab.concern import concerning
from lace_sdn.lab.probes import Observation, Probe, Resident
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.objects import Endpoint, Service

PATIENCE = 1.0
"""Seconds without an answer after which a probe is over."""
_START_TIMEOUT = 20.0
_LONGEST_ANSWER = 900.0
"""Seconds: 400 probes a second at worst, for a few hundred pods."""


def mark(lab: Lab) -> Path:
    """The mark of the agent's process."""
    return lab.run / "agent"


def log(lab: Lab) -> Path:
    """Where the agent's output goes."""
    return lab.run / "agent.log"


def is_running(lab: Lab) -> bool:
    """Whether the agent's process is alive."""
    return bool(processes.find(mark(lab)))


def ensure(lab: Lab) -> None:
    """Start the agent unless it runs, and wait until it can be asked. Raises LabError if it does not come up."""
    if not is_running(lab):
        lab.agent_socket.unlink(missing_ok=True)
        processes.start(
            [sys.executable, "-m", "lace_sdn.lab.agent", str(lab.agent_socket)], mark(lab), log(lab)
        )
    deadline = time.monotonic() + _START_TIMEOUT
    while not lab.agent_socket.exists():
        if time.monotonic() > deadline or not is_running(lab):
            raise LabError(f"the lab's agent did not start; it says in {log(lab)}: {_last(log(lab))}")
        time.sleep(0.02)


def leave_all_but(lab: Lab, endpoints: Iterable[Endpoint], services: Iterable[Service] = ()) -> None:
    """Let a running agent leave every pod but these; one that does not answer is ended, and so leaves all."""
    if is_running(lab):
        try:
            ensure(lab)
            settle(lab, endpoints, services)
        except LabError:
            processes.stop(mark(lab))


def settle(lab: Lab, endpoints: Iterable[Endpoint], services: Iterable[Service] = ()) -> None:
    """Let the agent live in exactly these pods, all of which are attached.

    It listens on their declared ports, and on those that ``services`` have as their endpoints.
    """
    behind = _ports_behind(services)
    residents = [resident(lab, endpoint, behind.get(endpoint.id, ())) for endpoint in endpoints]
    _ask(lab, {"pods": [pod.as_json() for pod in residents]})


def probe(lab: Lab, probes: Sequence[Probe], patience: float = PATIENCE) -> list[Observation]:
    """Send real packets; an observation for each probe, in their order."""
    answer = _ask(lab, {"probes": [each.as_json() for each in probes], "patience": patience})
    return [Observation.from_json(value) for value in answer["observations"]]


def resident(lab: Lab, endpoint: Endpoint, more: Iterable[tuple[Protocol, int]] = ()) -> Resident:
    """What the agent is to know of an attached pod: ``more`` ports than it declares. Raises LabError if it is not attached."""
    namespace = lab.pod_namespace(endpoint.id)
    with concerning(f'pod "{endpoint.id}"'):
        identity = netns.identity(namespace)
    ports = {(port.protocol, port.number) for port in endpoint.ports} | set(more)
    listened = tuple(sorted(port for port in ports if port[0] is not Protocol.SCTP))
    return Resident(endpoint.id, namespace, identity, listened)


def _ports_behind(services: Iterable[Service]) -> dict[str, set[tuple[Protocol, int]]]:
    """By pod: the ports that make it an endpoint of a Service."""
    found: dict[str, set[tuple[Protocol, int]]] = defaultdict(set)
    for service in services:
        for port in service.ports:
            for backend in port.backends:
                found[backend.pod].add((port.protocol, backend.port))
    return found


def _ask(lab: Lab, question: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_LONGEST_ANSWER)
            connection.connect(str(lab.agent_socket))
            connection.sendall(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
    except (OSError, ValueError) as problem:
        raise LabError(
            f'lab "{lab.name}": its agent does not answer ({problem}); `lace-sdn lab up` starts it again'
        ) from None
    if "error" in answer:
        raise LabError(f'lab "{lab.name}": its agent could not do that: {answer["error"]}')
    return answer


def _last(path: Path) -> str:
    return path.read_text(errors="replace")[-500:].strip() if path.exists() else "nothing"
