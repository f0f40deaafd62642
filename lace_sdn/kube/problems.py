"""Problems: what is wrong with a manifest, said to the operator who can put it right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str | int, ...]
"""Where a field stands in its object: keys and positions from the top."""


def field_path(path: Path) -> str:
    """``("spec", "externalPrefixes", 0)`` -> ``spec.externalPrefixes[0]``; a key with dots stands in brackets."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif "." in step or "/" in step or not step:
            text += f'["{step}"]'
        else:
            text += f".{step}" if text else step
    return text


def quoted(value: object) -> str:
    """A found value as an operator wrote it: text in quotes, the rest as JSON says it, long ones cut."""
    text = f'"{value}"' if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else text[:117] + "..."


def any_of(names: tuple[str, ...] | list[str]) -> str:
    """``("a", "b")`` -> ``"a" or "b"``."""
    shown = [f'"{name}"' for name in names]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + f" or {shown[-1]}"


def one_of(names: Iterable[str]) -> str:
    """The names that would do, the first few of them."""
    ordered = sorted(names)
    if not ordered:
        return "expected one that exists; there is none"
    more = f" (and {len(ordered) - 8} more)" if len(ordered) > 8 else ""
    return f"expected {any_of(ordered[:8])}{more}"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, from 1; 0 means the file or folder itself."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong inside one object, before it is known where that object stands."""

    path: Path
    found: str
    expected: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What was found where, what is allowed, and what happens now.

    ``subject`` is the object as ``Kind "name"`` or ``Kind "namespace/name"``; "" when it is not known.
    """

    place: Place
    subject: str
    field: str
    found: str
    expected: str
    consequence: str

    def __str__(self) -> str:
        words = " ".join(word for word in (self.field, self.found) if word)
        head = f"{self.place}: {self.subject}: {words}" if self.subject else f"{self.place}: {words}"
        tail = "".join(f"; {part}" for part in (self.expected, self.consequence) if part)
        return head + tail

    def as_json(self) -> dict[str, str | int]:
        return {
            "file": self.place.file,
            "line": self.place.line,
            "object": self.subject,
            "field": self.field,
            "found": self.found,
            "expected": self.expected,
            "consequence": self.consequence,
            "message": str(self),
        }
