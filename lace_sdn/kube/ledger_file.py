"""The ledger on disk: replaced whole, so that a process killed between two writes leaves the old one or the new one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lace_sdn.policy.ledger import Ledger, LedgerError

if TYPE_CHECKING:
    from pathlib import Path


def read_ledger(path: Path) -> Ledger:
    """The ledger in ``path``; an empty one when there is no such file.

    Raises OSError when it cannot be read or is damaged: to go on without it would number networks and pods anew.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Ledger()
    try:
        return Ledger.from_json(text)
    except LedgerError as error:
        raise OSError(
            f"{path}: {error}; expected the allocations that Lace SDN wrote there: "
            "restore the file, or remove it if nothing that it numbered is in use"
        ) from error


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Replace the file, durably. Raises OSError; the old ledger then stands."""
    replace_file(path, ledger.to_json())


def replace_file(path: Path, text: str) -> None:
    """Replace a file whole, durably. Raises OSError; the old one then stands."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
