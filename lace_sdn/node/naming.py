"""Names of pods' interfaces in a node. No netlink here: a controller patched by eventlet asks for them."""

from __future__ import annotations

import hashlib
from typing import Final

PREFIX: Final = "p-"
"""Every interface of a pod in the node begins so, and has 12 more letters; others are not ours."""
LENGTH: Final = 12


def interface_of(container: str) -> str:
    """The name of a sandbox's interface in the node: at most 15 characters (IFNAMSIZ), the same at every time."""
    return PREFIX + hashlib.blake2b(container.encode(), digest_size=16).hexdigest()[:LENGTH]
