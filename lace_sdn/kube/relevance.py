"""Which Networks the switch of a node needs to know closely: those of its pods, and whoever these may speak with. Pure.

Too many cost time, too few would be wrong: what is left out here is never asked for (tests/kube/test_node_view.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.policy.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lace_sdn.model.objects import Network, RoutingPolicy, ServicePolicy


def needed(
    hosted: Iterable[str],
    networks: Sequence[Network],
    policies: Iterable[RoutingPolicy | ServicePolicy],
) -> frozenset[str]:
    """The names of the Networks that a node needs, conflicts not taken out.

    ``hosted``: those that have pods there. External ones are at every node: by any of them hosts may come in.
    """
    local = frozenset(hosted) | {network.name for network in networks if network.is_external}
    found, selection = set(local), Selection(networks)
    for policy in policies:
        sources = {network.name for network in selection.of(policy.source)}
        destinations = {network.name for network in selection.of(policy.destination)}
        if not local.isdisjoint(sources):
            found |= destinations
        if not local.isdisjoint(destinations):
            found |= sources
    return frozenset(found)
