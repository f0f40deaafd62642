"""The last good objects on disk, beside the ledger: what becomes unreadable stays as it was over a restart too.

Absence can widen access (an external Network inside another one, a binding of a higher priority), so it is not enough that a
running controller remembers. The file is replaced whole.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from lace_sdn.kube.entries import entry_of, manifest_in
from lace_sdn.kube.ledger_file import replace_file
from lace_sdn.kube.manifests import Manifest, Manifests

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_Objects = tuple[Manifest, ...]

FORMAT: Final = 1
"""The version of the JSON form."""


class LastGoodFile:
    """The objects last in force, in the file ``STATE.last-good`` beside the state file.

    A file that cannot be written is said and tried again at the next occasion; what it holds meanwhile is older, so it is removed.
    """

    def __init__(self, state_file: Path) -> None:
        self._path = state_file.with_name(f"{state_file.name}.last-good")
        self._kept: tuple[_Objects, _Objects | None] | None = None
        self.complete: Manifests | None = None
        """What was last on disk of a time when everything could be read; None if nothing."""
        self.trouble = ""
        """Why the objects in force are not on disk; "" when they are."""

    def read(self) -> Manifests | None:
        """The objects of the former process; None when none are known. Never raises: a damaged file is said, and is none."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            log.error("%s: the last good objects cannot be read: %s; %s", self._path, error, _UNKNOWN)  # noqa: TRY400
            return None
        try:
            found, complete = _from_json(text)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            log.error("%s: the last good objects are damaged: %r; %s", self._path, error, _UNKNOWN)  # noqa: TRY400
            return None
        self._kept = (found.objects, complete.objects if complete else None)
        self.complete = complete or found
        return found

    def keep(self, manifests: Manifests, complete: Manifests | None = None) -> bool:
        """Replace the file if the objects are others than before. False if they are not on disk.

        ``complete``: those when everything could be read, if that is not so now.
        """
        now = (manifests.objects, complete.objects if complete else None)
        if now == self._kept:
            return True
        try:
            replace_file(self._path, _to_json(*now))
        except (OSError, TypeError, ValueError) as error:
            self._drop()
            what = f"{self._path}: the last good objects cannot be written: {error}"
            if what != self.trouble:
                log.error("%s; what becomes unreadable is lost by a restart; trying again", what)  # noqa: TRY400
            self.trouble = what
            return False
        self._kept, self.trouble = now, ""
        return True

    def _drop(self) -> None:
        """Older objects than those in force would be good for nothing: none is safer, since then what is unknown stays shut."""
        self._kept = None
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s: older objects cannot be removed: %s", self._path, error)  # noqa: TRY400


_UNKNOWN: Final = "what cannot be read now is unknown, and what it could narrow stays shut"


def _to_json(objects: _Objects, complete: _Objects | None) -> str:
    parts = [f'"format": {FORMAT}', f'"objects": {_listed(objects)}']
    if complete is not None:
        parts.append(f'"complete": {_listed(complete)}')
    return "{" + ", ".join(parts) + "}\n"


def _listed(objects: _Objects) -> str:
    return "[\n" + ",\n".join(map(entry_of, objects)) + "\n]"


def _from_json(text: str) -> tuple[Manifests, Manifests | None]:
    data = json.loads(text)
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r}, expected {FORMAT}")
    complete = data.get("complete")
    found = tuple(map(manifest_in, data["objects"]))
    return Manifests(found), None if complete is None else Manifests(tuple(map(manifest_in, complete)))
