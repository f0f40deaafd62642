"""What can go wrong with an API server, switched on and off."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Faults:
    """``status``: answer everything so; ``hang``: never answer; ``watch_seconds``: end every watch after that long.

    ``lose_answer``: do the n-th write from now, and break the connection instead of saying so. ``delay``: seconds before each answer.
    ``silent``: watches stay open and say nothing. ``refuse``: break every connection before anything is read.
    """

    status: int = 0
    retry_after: int = 0
    hang: bool = False
    refuse: bool = False
    silent: bool = False
    watch_seconds: float = 0.0
    lose_answer: int = 0
    delay: float = 0.0

    def set(self, **values: float) -> None:
        """Exactly these; everything else is well."""
        for each in fields(self):
            setattr(self, each.name, values.get(each.name, each.default))
        unknown = values.keys() - {each.name for each in fields(self)}
        if unknown:
            raise ValueError(f"no such faults: {sorted(unknown)}")
