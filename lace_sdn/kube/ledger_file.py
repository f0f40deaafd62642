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
    except UnicodeDecodeError as error:
        raise _damaged(path, error) from error
    try:
        return Ledger.from_json(text)
    except (LedgerError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> OSError:
    return OSError(
        f"{path}: {error}; expected the allocations that Lace SDN wrote there: "
        "restore the file, or remove it if nothing that it numbered is in use"
    )


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Replace the file, durably. Raises OSError; either of the two ledgers then stands."""
    replace_file(path, ledger.to_json())


def replace_file(path: Path, text: str) -> None:
    """Replace a file whole, durably: its name too (fsync(2): a directory entry is synced by itself).

    Raises OSError; either of the two then stands.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
