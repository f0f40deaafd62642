"""The lab's controller as a process: started, asked what it has programmed, awaited."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lace_sdn.lab import LabError, datapath, processes, switches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lace_sdn.lab.names import Lab

_INTERVAL = 0.05
_LINES = 5


@dataclass(frozen=True, slots=True)
class Programmed:
    """A node whose bridge is as desired: how many flows it holds, and the pods that have theirs."""

    flows: int
    endpoints: frozenset[str]


def mark(lab: Lab) -> Path:
    """The mark of the controller's process."""
    return lab.run / "controller"


def log(lab: Lab) -> Path:
    """Where the controller's output goes."""
    return lab.run / "controller.log"


def is_running(lab: Lab) -> bool:
    """Whether the controller's process is alive."""
    return bool(processes.find(mark(lab)))


def ensure(lab: Lab) -> None:
    """Start the controller unless it runs; manifests must have been published."""
    if is_running(lab):
        return
    lab.status.unlink(missing_ok=True)  # the word of a controller that is gone
    lab.openflow.unlink(missing_ok=True)
    arguments = [
        "--source", str(lab.manifests), "--state", str(lab.ledger), "--listen", str(lab.openflow),
        "--ovsdb-dir", str(lab.nodes), "--hosts", str(lab.nodes), "--status", str(lab.status),
        "--datapath-type", datapath.of(lab).value, "--verbose",
    ]  # fmt: skip
    program = [sys.executable, "-c", "from lace_sdn.cli import main; main()", "controller"]
    processes.start(program + arguments, mark(lab), log(lab))


def status(lab: Lab) -> dict[str, Any]:
    """What the controller last said; nothing while it has said nothing that can be read."""
    try:
        said: dict[str, Any] = json.loads(lab.status.read_text())
    except (FileNotFoundError, ValueError):  # not yet there, or damaged
        return {}
    return said


def await_bridges(lab: Lab, nodes: Iterable[str], timeout: float) -> None:
    """Wait until the controller has made br-int on every node. Raises LabError as ``await_programmed`` does."""
    deadline = time.monotonic() + timeout
    for node in nodes:
        while not switches.has_integration_bridge(switches.Switch(lab, node)):
            _check_patience(lab, deadline, f'node "{node}" has no bridge {switches.INTEGRATION_BRIDGE}')
            time.sleep(_INTERVAL)


def await_programmed(
    lab: Lab, generation: str, endpoints: Mapping[str, frozenset[str]], timeout: float
) -> None:
    """Wait until every node (with these endpoints, by node) runs what ``generation`` asks for, confirmed by a barrier.

    Raises LabError that says which node lacks what after ``timeout`` seconds, or at once if the controller has ended.
    """
    deadline = time.monotonic() + timeout
    while missing := _missing(status(lab), generation, endpoints):
        _check_patience(lab, deadline, missing)
        time.sleep(_INTERVAL)


def last_lines(path: Path) -> str:
    """The end of a log, for a message."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-_LINES:]) or f"nothing ({path} is empty)"


def _check_patience(lab: Lab, deadline: float, missing: str) -> None:
    if not is_running(lab):
        raise LabError(f"the controller has ended; it said last in {log(lab)}:\n{last_lines(log(lab))}")
    if time.monotonic() > deadline:
        raise LabError(
            f"the lab is not complete in time: {missing}; the controller goes on trying and said last:\n"
            + last_lines(log(lab))
        )


def _missing(said: Mapping[str, Any], generation: str, endpoints: Mapping[str, frozenset[str]]) -> str:
    """What is still to come, in words; "" when everything is there."""
    if said.get("generation") != generation:
        return "the controller has not read the manifests"
    for node, expected in sorted(endpoints.items()):
        its = said["nodes"].get(node)
        if its is None:
            return f'the controller does not know node "{node}"'
        if not its["programmed"]:
            return f'node "{node}" has not confirmed its flows'
        differing = expected ^ set(its["endpoints"])
        if differing:
            return f'node "{node}" and its pods: {", ".join(sorted(differing)[:_LINES])}'
    return ""
