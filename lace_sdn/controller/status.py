"""What the controller says about itself: a JSON file, replaced whole whenever it changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lace_sdn.controller.node_loop import NodeLoop
    from lace_sdn.controller.world import World


def describe(world: World | None, loops: Iterable[NodeLoop]) -> dict[str, Any]:
    """``generation`` last read, and for each node the generation that a barrier confirmed there."""
    generation = world.generation if world else ""
    return {
        "generation": generation,
        "nodes": {loop.node: _node(loop, generation) for loop in loops},
        "held": world.built.held if world else "",
        "problems": [str(problem) for problem in world.built.problems] if world else [],
        "conditions": [
            {
                "kind": each.kind,
                "name": each.name,
                "type": each.type,
                "status": each.status,
                "reason": each.reason,
                "message": each.message,
            }
            for each in (world.built.conditions + world.cluster.relations.conditions if world else ())
        ],
    }


def _node(loop: NodeLoop, generation: str) -> dict[str, Any]:
    done = loop.programmed
    return {
        "connected": loop.bridge is not None,
        "programmed": done is not None and done.generation == generation,
        "flows": done.flows if done else 0,
        "groups": done.groups if done else 0,
        "endpoints": sorted(done.ports) if done else [],
        "datapathProblems": list(loop.settings.problems),
    }


class StatusFile:
    """Writes only what differs from the last time; a reader never sees half a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = ""

    def write(self, status: dict[str, Any]) -> None:
        """Raises OSError when the folder cannot be written to."""
        text = json.dumps(status, indent=1, sort_keys=True)
        if self._path is None or (text == self._written and self._path.exists()):
            return
        fresh = self._path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self._path)
        self._written = text
