"""What is programmed, in a few letters: by which a node says which generation of all objects of a kind it has."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DIGESTED: Final = ("Network", "NetworkBindingPolicy", "NetworkRoutingPolicy", "ServiceRoutingPolicy")
"""The kinds that a NodeState has digests of."""


def digest(entries: Iterable[tuple[str, str, int]]) -> str:
    """(name, uid, generation) of all objects of a kind, in any order -> 16 hex digits."""
    found = hashlib.sha256()
    for name, uid, generation in sorted(entries):
        found.update(f"{name}\0{uid}\0{generation}\n".encode())
    return found.hexdigest()[:16]


def entry(body: Mapping[str, Any]) -> tuple[str, str, int]:
    """Of an object as the API server has it."""
    metadata = body["metadata"]
    return (metadata["name"], metadata["uid"], int(metadata.get("generation") or 0))
