"""Which local pods a node's own processes can call: networks may share addresses, a node's stack knows each once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.objects import Address, Endpoint


class Hidden(NamedTuple):
    """``endpoint`` cannot be called at ``address`` by its node: ``other``, on the same node, is called there."""

    endpoint: Endpoint
    address: Address
    other: Endpoint


def reachable(
    endpoints: Iterable[Endpoint], created: Mapping[str, str]
) -> tuple[tuple[Endpoint, ...], tuple[Hidden, ...]]:
    """The endpoints with the probes that reach them, and those whose probes would reach another.

    Of local endpoints with probes and one address it is the oldest (``created``, by id) that is called, then the one whose id
    sorts first. One that is hidden at one address is called at none. Both in order of (namespace, name).
    """
    called: dict[tuple[str, Address], Endpoint] = {}
    hidden: dict[str, Hidden] = {}
    ordered = sorted(endpoints, key=lambda each: (each.namespace, each.name))
    for endpoint in sorted((each for each in ordered if each.probes), key=lambda each: created[each.id]):
        places = [(endpoint.node, address) for address in endpoint.addresses]
        taken = next((place for place in places if place in called), None)
        if taken is None:
            called |= dict.fromkeys(places, endpoint)
        else:
            hidden[endpoint.id] = Hidden(endpoint, taken[1], called[taken])
    return (
        tuple(replace(each, probes=()) if each.id in hidden else each for each in ordered),
        tuple(hidden[each.id] for each in ordered if each.id in hidden),
    )
