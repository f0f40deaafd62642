"""What an object's status is to say, and the smallest change that makes it say so: none when it says it already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Data = dict[str, Any]

LONGEST: Final = 32_768
"""Characters of a message (Kubernetes API: Condition)."""


@dataclass(frozen=True, slots=True)
class Said:
    """A condition without its times."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """``fields``: others of the status. ``dropped``: types of conditions that are not to be there any more."""

    conditions: tuple[Said, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()


def change(body: Mapping[str, Any], wanted: Wanted, now: str) -> Data | None:
    """A merge patch of the status of ``body``; None if there is nothing to change.

    ``now``: RFC 3339. A condition keeps its time while its status stays; those of other types are left as they are.
    """
    meta, status = body["metadata"], body.get("status") or {}
    generation = int(meta.get("generation") or 0)
    present: list[Data] = list(status.get("conditions") or ())
    by_type = {each["type"]: each for each in present}
    made = [_condition(said, by_type.get(said.type), generation, now) for said in wanted.conditions]
    ours = {each["type"] for each in made} | wanted.dropped
    conditions = [*(each for each in present if each["type"] not in ours), *made]
    new = {**wanted.fields, "conditions": conditions, "observedGeneration": generation}
    differs = {
        name: value for name, value in new.items() if name != "conditions" and status.get(name) != value
    }
    if sorted(conditions, key=_type) != sorted(present, key=_type):
        differs["conditions"] = conditions
    return differs or None


def _type(condition: Data) -> str:
    return str(condition["type"])


def _condition(said: Said, before: Data | None, generation: int, now: str) -> Data:
    status = "True" if said.status else "False"
    is_same = before is not None and before.get("status") == status
    return {
        "type": said.type,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if is_same and before else now,
        "reason": said.reason,
        "message": said.message if len(said.message) <= LONGEST else said.message[: LONGEST - 3] + "...",
    }
