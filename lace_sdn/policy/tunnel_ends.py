"""Between which addresses two nodes have their tunnel: those of a family that both have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address


@dataclass(frozen=True, slots=True)
class TunnelEnds:
    """A node's first address of each family; None for one that it does not have."""

    ipv4: Address | None
    ipv6: Address | None

    @classmethod
    def of(cls, addresses: Sequence[Address]) -> TunnelEnds:
        return cls(
            *(next((each for each in addresses if each.version == version), None) for version in (4, 6))
        )

    def towards(self, peer: TunnelEnds) -> Address | None:
        """Where the tunnel with ``peer`` ends here: at IPv4 if both have it, else at IPv6; None if they have no family in common."""
        if self.ipv4 and peer.ipv4:
            return self.ipv4
        return self.ipv6 if peer.ipv6 else None


def has_tunnel(state: ClusterState, one: str, other: str) -> bool:
    """Whether packets get from one node to the other, or stay where they are. Raises KeyError for an unknown node."""
    if one == other:
        return True
    here, there = (TunnelEnds.of(state.node_by_name[node].addresses) for node in (one, other))
    return here.towards(there) is not None
