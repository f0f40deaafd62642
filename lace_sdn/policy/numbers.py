"""Numbers for names: the same wherever and whenever the same names are present, and never one for two of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST: Final = 0x7FFFFFFF
"""31 bits: also fit for groups and buckets (OpenFlow 1.5.1 sections 7.3.4.3 and 7.3.4.3.1 reserve the top of 32 bits)."""


def numbers(names: Iterable[str]) -> dict[str, int]:
    """Name -> 1..``LARGEST``: a hash of the name, so that it does not change because others come or go.

    The exception: of two names with one hash the later in order gets another one while the first is there.
    """
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name in sorted(set(names)):
        tries = 0
        while (number := _hashed(name, tries)) in taken or not number:
            tries += 1
        taken.add(number)
        found[name] = number
    return found


def _hashed(name: str, tries: int) -> int:
    digest = blake2b(name.encode(), digest_size=4, salt=tries.to_bytes(16, "big")).digest()
    return int.from_bytes(digest, "big") & LARGEST
