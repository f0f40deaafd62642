"""Which Networks a selector selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.model.labels import NetworkSelector
    from lace_sdn.model.objects import Network


def selects(selector: NetworkSelector, network: Network) -> bool:
    """By name exactly one; by labels every pod network that matches; external ones only by a positive term.

    An external Network needs at least one term that a label of its own satisfies (matchLabels, In, Exists), so that
    ``{}`` and purely negative selectors never open the world outside.
    """
    if selector.name is not None:
        return selector.name == network.name
    if not selector.by_labels.matches(network.labels):
        return False
    return not network.is_external or any(term.is_positive for term in selector.by_labels.requirements)


class Selection:
    """What selectors select among some Networks. Each selector is looked up once, and most, which are names, without a search."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self._by_name = {network.name: network for network in self._networks}
        self._known: dict[NetworkSelector, tuple[Network, ...]] = {}

    def of(self, selector: NetworkSelector) -> tuple[Network, ...]:
        """In the order in which the Networks were given."""
        if selector.name is not None:
            found = self._by_name.get(selector.name)
            return (found,) if found else ()
        if selector not in self._known:
            self._known[selector] = tuple(each for each in self._networks if selects(selector, each))
        return self._known[selector]
