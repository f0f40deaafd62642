"""What a node's database says of the interface of a pod. Nothing of Open vSwitch's own library here: that one loads eventlet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.pipeline.constants import LAST_POD_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

IFACE_ID: Final = "iface-id"
ZONES_EMPTIED_FOR: Final = "zones-emptied-for"
"""Key of an Interface's ``external_ids``: see ``ZoneNote``."""


@dataclass(frozen=True, slots=True)
class ZoneNote:
    """What the row of an interface says of the conntrack zones of its port: for whom they were emptied last.

    ``row``: its UUID, another one when the port is made anew; ``occupant``: "" where it says nothing.
    """

    row: str = ""
    occupant: str = ""


UNNOTED: Final = ZoneNote()


@dataclass(frozen=True, slots=True)
class PodInterface:
    """An interface of our bridge that says which endpoint (``namespace/name``) it serves.

    ``ofport``: None while ovs-vswitchd has not seen it, -1 when it could not be opened (``error`` then says why); ``external_ids``: all
    that it has, but for what ``note`` holds.
    """

    name: str
    endpoint: str
    ofport: int | None
    error: str
    external_ids: Mapping[str, str]
    note: ZoneNote = UNNOTED

    @property
    def is_usable(self) -> bool:
        return self.ofport is not None and 1 <= self.ofport <= LAST_POD_PORT

    @property
    def problem(self) -> str:
        """What an operator should know; empty if nothing."""
        if self.error or self.ofport == -1:
            return f"interface {self.name} of {self.endpoint}: {self.error or 'it could not be opened'}; it has no port"
        if self.ofport is not None and not self.is_usable:
            return (
                f"interface {self.name} of {self.endpoint}: ofport {self.ofport} is not in 1..{LAST_POD_PORT}; "
                "another one has been asked for"
            )
        return ""
