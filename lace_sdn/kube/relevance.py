"""Which Networks the switch of a node needs to know closely: those of its pods, and whoever these may speak with. Pure.

Too many cost time, too few would be wrong: what is left out here is never asked for (tests/kube/test_node_view.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.policy.selection import selects

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lace_sdn.model.labels import NetworkSelector
    from lace_sdn.model.objects import Network, RoutingPolicy, ServicePolicy


class Selections:
    """What selectors select among some Networks; each is looked up once."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._names = frozenset(network.name for network in networks)
        self._known: dict[NetworkSelector, frozenset[str]] = {}

    def of(self, selector: NetworkSelector) -> frozenset[str]:
        """The names of the Networks."""
        if selector.name is not None:
            return frozenset({selector.name}) & self._names
        if selector not in self._known:
            self._known[selector] = frozenset(each.name for each in self._networks if selects(selector, each))
        return self._known[selector]


def needed(
    hosted: Iterable[str],
    networks: Sequence[Network],
    policies: Iterable[RoutingPolicy | ServicePolicy],
    selections: Selections,
) -> frozenset[str]:
    """The names of the Networks that a node needs, conflicts not taken out.

    ``hosted``: those that have pods there. External ones are at every node: by any of them hosts may come in.
    """
    local = frozenset(hosted) | {network.name for network in networks if network.is_external}
    found = set(local)
    for policy in policies:
        sources, destinations = selections.of(policy.source), selections.of(policy.destination)
        if not local.isdisjoint(sources):
            found |= destinations
        if not local.isdisjoint(destinations):
            found |= sources
    return frozenset(found)
