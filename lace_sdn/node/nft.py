"""The program ``nft``: reads our table and replaces it whole."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from lace_sdn.node import NodeError
from lace_sdn.node.ruleset import FAMILY, TABLE, document, normal_form, removal

if TYPE_CHECKING:
    from lace_sdn.node import Outcome
    from lace_sdn.pipeline.host import HostProgram

MISSING = "nft is not installed: apt-get install nftables"
_TIMEOUT = 20.0
"""Seconds; 5,000 routes take 0.2."""


def require() -> None:
    """Raises NodeError if there is no nft to run."""
    _nft("--version")


class NftTable:
    """Our table in the process's namespace. Remembers how this nft lists what it wrote: versions differ in that."""

    def __init__(self) -> None:
        self._written: tuple[str, ...] = ()
        self._rendering: tuple[str, ...] = ()

    def keep(self, program: HostProgram, outcome: Outcome) -> None:
        """Replace the table if it says anything else. Raises NodeError; the former table then stands."""
        wanted = document(program)
        meant = normal_form(wanted)
        found = _listed()
        if found == meant or (meant == self._written and found == self._rendering):
            return
        _nft("-j", "-f", "-", sent=wanted)
        self._written, self._rendering = meant, _listed() or ()
        outcome.changes.append(f"nft: table {FAMILY} {TABLE} written{'' if found is None else ' anew'}")


def remove(outcome: Outcome) -> None:
    """Remove the table, if it is there. Raises NodeError."""
    if _listed() is not None:
        _nft("-j", "-f", "-", sent=removal())
        outcome.changes.append(f"nft: table {FAMILY} {TABLE} removed")


def _listed() -> tuple[str, ...] | None:
    """The normal form of the table that is there; None if there is none."""
    try:
        text = _nft("-j", "--numeric", "list", "table", FAMILY, TABLE)
    except NodeError as error:
        if os.strerror(2) in str(error):  # ENOENT
            return None
        raise
    return normal_form(json.loads(text))


def _nft(*arguments: str, sent: dict[str, Any] | None = None) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments],
            input=json.dumps(sent) if sent else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise NodeError(MISSING) from None
    except subprocess.TimeoutExpired:
        raise NodeError(f"`nft {' '.join(arguments)}` did not end within {_TIMEOUT:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).split())
        raise NodeError(f"`nft {' '.join(arguments)}` failed with status {done.returncode}: {said[:500]}")
    return done.stdout
