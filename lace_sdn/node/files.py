"""The plan that the agent follows and the status that it gives: two files, each replaced whole by its writer."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from lace_sdn.node.ruleset import PROTOCOL_NUMBER
from lace_sdn.pipeline.host import HostProgram

if TYPE_CHECKING:
    from pathlib import Path

_SURE = 2.0
"""Seconds after which a file with the same time of change is the same file, however coarse the clock of its file system."""


class PlanFile:
    """``program`` and ``digest`` are those of the last good content; ``problem`` says what is wrong with the present one."""

    def __init__(self, path: Path) -> None:
        self.program: HostProgram | None = None
        self.digest = ""
        self.problem = ""
        self._path = path
        self._text: bytes | None = None
        self._seen: tuple[int, int, int] | None = None

    def refresh(self) -> bool:
        """Look at the file; True if anything above may be another than before."""
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen and time.time() - stat.st_mtime > _SURE:
                return False
            text = self._path.read_bytes()
        except OSError as error:
            return self._is_bad(f"plan {self._path} cannot be read: {error.strerror}")
        self._seen = seen
        if text == self._text:
            return False
        try:
            self.program, self.digest = parse_plan(text)
        except Exception as error:  # noqa: BLE001 - whatever is in the file must end nobody
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            return self._is_bad(f"plan {self._path} is damaged: {what}", text)
        self._text, self.problem = text, ""
        return True

    def _is_bad(self, problem: str, text: bytes | None = None) -> bool:
        is_news = problem != self.problem
        self._text, self.problem = text, problem
        return is_news


def parse_plan(text: bytes) -> tuple[HostProgram, str]:
    """The program and its digest. Raises KeyError, TypeError or ValueError for anything else than a plan."""
    value = json.loads(text)
    if not isinstance(value, dict) or not isinstance(value["host"], dict):
        raise TypeError('expected an object with "host" (an object) and "digest" (a text)')
    digest = value["digest"]
    if not isinstance(digest, str) or not digest:
        raise TypeError(f'"digest" is {digest!r}; expected a text')
    program = HostProgram.from_json(value["host"])
    for port in program.node_ports:
        is_known = port.version in {4, 6} and port.protocol in PROTOCOL_NUMBER
        if not is_known or not 0 < port.number <= 0xFFFF:
            raise ValueError(
                f"node port {list(port)!r}; expected IP version 4 or 6, TCP, UDP or SCTP, and a number of 1..65535"
            )
    return program, digest


def write_status(path: Path, digest: str, problems: list[str]) -> bool:
    """Replace the file if it says anything else; False if it was so. Raises OSError."""
    status: dict[str, Any] = {"digest": digest, "problems": problems}
    text = json.dumps(status, indent=1)
    try:
        if path.read_text() == text:
            return False
    except (OSError, ValueError):
        pass
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)
    return True
