"""Which Networks a selector selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
