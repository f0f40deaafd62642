"""Asking the lab's agent, and starting it."""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from lace_sdn.lab import LabError, processes
from lace_sdn.lab.probes import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.probes import Probe, Resident

_START_TIMEOUT = 120.0
"""Seconds; one that has ended is known at once."""
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


def leave_all_but(lab: Lab, places: Iterable[Resident]) -> None:
    """Let a running agent leave every place but these; one that does not answer is ended, and so leaves all."""
    if is_running(lab):
        try:
            ensure(lab)
            settle(lab, places)
        except LabError:
            processes.stop(mark(lab))


def settle(lab: Lab, places: Iterable[Resident]) -> None:
    """Let the agent live in exactly these places, all of which are there."""
    _ask(lab, {"places": [place.as_json() for place in places]})


def probe(lab: Lab, probes: Sequence[Probe]) -> list[Observation]:
    """Send real packets; an observation for each probe, in their order."""
    answer = _ask(lab, {"probes": [each.as_json() for each in probes]})
    return [Observation.from_json(value) for value in answer["observations"]]


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
