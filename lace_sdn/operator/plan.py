"""What is to be written for one network: a pure function of what was seen of it.

Nothing is taken away here at first sight: what is no longer used is named, and comes back as ``ripe`` when it has been so for long enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.model.objects import MAX_NETWORK_KEY, NetworkType
from lace_sdn.operator.block_plan import Shortage, plan_blocks
from lace_sdn.operator.things import Thing
from lace_sdn.operator.writes import (
    AddFinalizer,
    ClaimKey,
    ReleaseKey,
    RemoveFinalizer,
    RenewClaim,
    SetKey,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from lace_sdn.operator.facts import Block, Claim, NetworkFact
    from lace_sdn.operator.writes import Write


@dataclass(frozen=True, slots=True)
class NetworkView:
    """One network, by its name, and all that carries it; the network itself may be gone.

    ``claims``: NetworkKeys that name it, by number. ``key_is_taken``: another Network has the key that this one's status says.
    ``free_key``: the smallest that nobody has, 0 for none. ``names``: those of all Allocations. ``nodes``: those that exist.
    ``wanted``: nodes with scheduled pods that are bound to it and have no endpoint yet. ``held``: nodes with endpoints, and the numbers
    of the blocks (family, number) that their addresses lie in.
    """

    name: str
    network: NetworkFact | None = None
    claims: Mapping[int, Claim] = field(default_factory=dict)
    key_is_taken: bool = False
    free_key: int = 0
    blocks: tuple[Block, ...] = ()
    names: Container[str] = frozenset()
    nodes: AbstractSet[str] = frozenset()
    wanted: AbstractSet[str] = frozenset()
    held: Mapping[str, AbstractSet[tuple[int, int]]] = field(default_factory=dict)

    @property
    def is_carried(self) -> bool:
        return bool(self.blocks or self.held)

    @property
    def is_keyed(self) -> bool:
        """Whether its status says a key that is claimed for it."""
        return self.network is not None and self.network.key in self.claims


@dataclass(frozen=True, slots=True)
class Plan:
    """``writes`` in order, those that can be done now. ``disused``: what has no use, waiting until it is ripe."""

    writes: tuple[Write, ...] = ()
    disused: frozenset[Thing] = frozenset()
    lacks_key: bool = False
    shortage: Shortage | None = None


def plan(view: NetworkView, ripe: AbstractSet[Thing] = frozenset()) -> Plan:
    """What to do now. ``ripe``: what was in disuse all the time for as long as it has to be."""
    writes = list(_existence(view))
    takes_pods = (
        view.is_keyed and not writes and view.network is not None and view.network.type is NetworkType.L3
    )
    blocks = plan_blocks(view, takes_pods=takes_pods)
    idle = _idle_claims(view)
    writes += blocks.writes
    writes += [free for thing, free in blocks.idle.items() if thing in ripe]
    writes += blocks.at_once
    writes += [ReleaseKey(each) for thing, each in idle.items() if thing in ripe]
    lacks_key = view.network is not None and not view.is_keyed and not writes
    return Plan(tuple(writes), frozenset(blocks.idle) | frozenset(idle), lacks_key, blocks.shortage)


def _existence(view: NetworkView) -> Iterator[Write]:
    """The network's finalizer and key, one step at a time: each follows from what the one before brought about."""
    network = view.network
    if network is None:
        return
    if network.is_deleted:
        if network.is_held and not view.is_carried:
            yield RemoveFinalizer(network)
    elif not network.is_held:
        yield AddFinalizer(network)
    else:
        yield from _key(view, network)


def _key(view: NetworkView, network: NetworkFact) -> Iterator[Write]:
    """A claim that bears the network's uid, and a status that follows it."""
    claims = view.claims
    if network.key in claims:
        if claims[network.key].network_uid != network.uid:
            yield RenewClaim(network, claims[network.key])
        return
    if 0 < network.key <= MAX_NETWORK_KEY and not view.key_is_taken:
        yield ClaimKey(network, network.key)
    elif claims:
        own = min(claims.values(), key=lambda each: (each.network_uid != network.uid, each.number))
        if own.network_uid == network.uid:
            yield SetKey(network, own.number, network.key)
        else:
            yield RenewClaim(network, own)
    elif view.free_key:
        yield ClaimKey(network, view.free_key, network.key)


def _idle_claims(view: NetworkView) -> dict[Thing, Claim]:
    """Those of a network that is gone, with all that carries it; and those beside the one that its status follows."""
    if view.network is None:
        idle = [] if view.is_carried else list(view.claims.values())
    else:
        idle = [each for each in view.claims.values() if view.is_keyed and each.number != view.network.key]
    return {Thing("NetworkKey", str(each.number), each.uid): each for each in idle}
