"""The agent of each node's own network stack (``lace-sdn host``) as a process in the node: started, awaited.

The controller writes its plan into the node's folder; it says in its status, beside it, which plan is in force.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from lace_sdn.lab import LabError, control, netns, processes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lace_sdn.lab.names import Lab

_INTERVAL = 0.05


def mark(lab: Lab, node: str) -> Path:
    """The mark of the process; it ends with the node's, whose marks are above it."""
    return lab.node(node) / "host"


def log(lab: Lab, node: str) -> Path:
    """Where its output goes."""
    return lab.node(node) / "host.log"


def plan(lab: Lab, node: str) -> Path:
    """What the controller asks of it."""
    return lab.node(node) / "host.json"


def status(lab: Lab, node: str) -> Path:
    """What it says that it has done."""
    return lab.node(node) / "host-status.json"


def is_running(lab: Lab, node: str) -> bool:
    """Whether its process is alive, in the namespace that has the node's name now."""
    found = processes.find(mark(lab, node))
    return any(netns.holds(lab.node_namespace(node), pid) for pid in found)


def ensure(lab: Lab, node: str) -> None:
    """Start it unless it runs; the node's namespace and folder must be there."""
    if is_running(lab, node):
        return
    processes.stop(mark(lab, node))
    status(lab, node).unlink(missing_ok=True)  # the word of one that is gone
    program = [sys.executable, "-c", "from lace_sdn.cli import main; main()", "host"]
    files = ["--plan", str(plan(lab, node)), "--status", str(status(lab, node))]
    inside = netns.command(lab.node_namespace(node), *program, *files)
    processes.start(inside, mark(lab, node), log(lab, node))


def await_in_force(lab: Lab, nodes: Iterable[str], timeout: float) -> None:
    """Wait until every node's stack is as the controller has planned it last.

    Raises LabError that names a node and what is wrong there after ``timeout`` seconds, or at once if its agent has ended.
    """
    deadline = time.monotonic() + timeout
    for node in nodes:
        while missing := lacking(lab, node):
            if not is_running(lab, node):
                raise LabError(_ended(lab, node))
            if time.monotonic() > deadline:
                raise LabError(
                    f'the lab is not complete in time: node "{node}": its own network stack is not as planned: {missing};'
                    f" its agent goes on trying and said last:\n{control.last_lines(log(lab, node))}"
                )
            time.sleep(_INTERVAL)


def lacking(lab: Lab, node: str) -> str:
    """Why the plan of a node is not in force, in words; "" when it is."""
    planned, said = _read(plan(lab, node)), _read(status(lab, node))
    if "digest" not in planned:
        return "the controller has written no plan"
    if said.get("digest") == planned["digest"]:
        return ""
    return "; ".join(map(str, said.get("problems", ()))) or "the plan is not carried out yet"


def _ended(lab: Lab, node: str) -> str:
    where = log(lab, node)
    return (
        f'node "{node}": the agent of its own network stack has ended; it said last in {where}:\n'
        f"{control.last_lines(where)}"
    )


def _read(path: Path) -> dict[str, Any]:
    """Nothing while there is nothing that can be read."""
    try:
        said = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
