"""What may fall into disuse."""

from __future__ import annotations

from typing import NamedTuple


class Thing(NamedTuple):
    """A NetworkKey or an Allocation by its name and uid."""

    kind: str
    name: str
    uid: str
