"""The kinds that a state is built from, and which of them a text can speak of. Pure."""

from __future__ import annotations

import re
from typing import Final

OWN_GROUP: Final = "lace-cni.io"
OWN: Final = frozenset(
    {
        "Network",
        "NetworkBindingPolicy",
        "NetworkRoutingPolicy",
        "ServiceRoutingPolicy",
        "Allocation",
        "NetworkEndpoint",
    }
)
CORE: Final = frozenset({"Node", "Namespace", "Pod", "Service", "EndpointSlice", "ExternalHost"})
EVERY: Final = OWN | CORE

MAY_HAVE_MOVED: Final = frozenset({"Network", "NetworkBindingPolicy", "Namespace"})
"""May have moved to the file that cannot be read: they are not taken for removed meanwhile."""
_SPELT: Final = re.compile(rb"\\[xuU\r\n]|\x00")
"""By these a text can hold a word that does not stand in it: escapes of YAML 1.2, section 5.7, and of JSON; other encodings."""


def kinds_in(content: bytes) -> frozenset[str]:
    """The kinds of which a text that is no YAML may be meant to hold objects: no object without the word."""
    if _SPELT.search(content):
        return EVERY
    found = frozenset(kind for kind in EVERY if kind.encode() in content)
    return found | OWN if OWN_GROUP.encode() in content else found
