"""Objects of which a cluster has tens of thousands and a node needs few: held as text until they are needed. Pure."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.backends import SERVICE_NAME_LABEL
from lace_sdn.kube.observed import manifest_of
from lace_sdn.kube.trim import trimmed

if TYPE_CHECKING:
    from lace_sdn.kube.manifests import Manifest


@dataclass(frozen=True, slots=True)
class Packed:
    """An Allocation or EndpointSlice, in about a fifth of the octets that its dicts would take.

    ``of``: namespace and name of what it is needed with: the Network of an Allocation, the Service of a slice. ``node``: of an Allocation.
    """

    of: tuple[str, str]
    node: str
    text: bytes

    def opened(self) -> Manifest:
        """The object."""
        found = manifest_of(json.loads(self.text))
        if found is None:  # only Nodes and Pods can be unreadable
            raise AssertionError(self.text)
        return found


def packed(body: dict[str, Any]) -> Packed:
    """Of an object as the API server has it."""
    small, node = trimmed(body), ""
    if small["kind"] == "Allocation":
        of = ("", sys.intern(small["spec"]["network"]))
        node = sys.intern(small["spec"]["node"])
    else:
        metadata = small["metadata"]
        of = (metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL, ""))
    return Packed(of, node, json.dumps(small, separators=(",", ":")).encode())
