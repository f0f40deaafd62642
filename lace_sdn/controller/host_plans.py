"""What each node's own network stack is to do, as a file for whoever carries it out there (``lace-sdn host``)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.pipeline.host import HostProgram

PLAN_FILE = "host.json"


class HostPlans:
    """Writes DIR/NODE/host.json; only what differs from the last time, and never half a file."""

    def __init__(self, folder: Path | None) -> None:
        """``folder``: None to write nothing."""
        self._folder = folder
        self._written: dict[str, str] = {}

    def write(self, node: str, program: HostProgram) -> None:
        """Raises OSError when the node's folder is missing or cannot be written to."""
        if self._folder is None:
            return
        text = plan_text(program)
        path = self._folder / node / PLAN_FILE
        if self._written.get(node) == text and path.exists():
            return
        draft = path.with_suffix(".new")
        draft.write_text(text)
        draft.replace(path)
        self._written[node] = text


def plan_text(program: HostProgram) -> str:
    """JSON: the program, and a digest (SHA-256, hex) by which it is named."""
    host = program.as_json()
    digest = hashlib.sha256(json.dumps(host, sort_keys=True).encode()).hexdigest()
    return json.dumps({"digest": digest, "host": host}, indent=1, sort_keys=True)
