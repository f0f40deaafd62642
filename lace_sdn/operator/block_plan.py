"""Which blocks a network's nodes get, and which of theirs nobody uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.operator.facts import Block, block_name
from lace_sdn.operator.things import Thing
from lace_sdn.operator.writes import CreateBlock, FreeBlock, Gone, KeepBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.operator.facts import NetworkFact
    from lace_sdn.operator.plan import NetworkView
    from lace_sdn.operator.writes import Write
    from lace_sdn.policy.cuts import Cut, Place

Number = tuple[int, int]
"""Family and number of a block."""


class Shortage(NamedTuple):
    """Nodes that host pods of the network, for which no block is left, in order; ``size``: how many blocks there are."""

    nodes: tuple[str, ...]
    size: int


@dataclass(slots=True)
class BlockPlan:
    """``idle``: what frees the blocks that nobody uses, later; ``at_once``: those that need not wait."""

    writes: list[Write] = field(default_factory=list)
    idle: dict[Thing, FreeBlock] = field(default_factory=dict)
    at_once: list[Write] = field(default_factory=list)
    shortage: Shortage | None = None


def plan_blocks(view: NetworkView, *, takes_pods: bool) -> BlockPlan:
    """``takes_pods``: whether the network is one whose nodes have blocks."""
    found = BlockPlan()
    network = view.network
    if network is None or network.is_deleted:
        found.at_once = [FreeBlock(each, Gone.NETWORK) for each in view.blocks if _is_left(view, each)]
        return found
    shelf = _Shelf(network.cut, view)
    needy = (view.wanted | view.held.keys()) & view.nodes if takes_pods else set[str]()
    for block in view.blocks:
        _judge(view, shelf, block, block.node in needy, found)
    if takes_pods:
        _fill(view, network, shelf, needy, found)
    return found


def _is_left(view: NetworkView, block: Block) -> bool:
    """Whether it is ours and no endpoint of the network is on its node."""
    return block.is_ours and not block.is_deleted and block.node not in view.held


def _judge(view: NetworkView, shelf: _Shelf, block: Block, is_needed: bool, found: BlockPlan) -> None:
    """What becomes of a block that is there."""
    if not block.is_ours or block.is_deleted:
        return
    if block.node not in view.nodes:
        if _is_left(view, block):
            found.at_once.append(FreeBlock(block, Gone.NODE))
        return
    if shelf.is_held(block):
        is_used = True
    elif shelf.is_refused(block):
        found.at_once.append(FreeBlock(block, Gone.USE))
        return
    else:
        is_used = is_needed and not shelf.is_spare(block)
    if not is_used:
        found.idle[Thing("Allocation", block.name, block.uid)] = FreeBlock(block, Gone.USE)
    elif block.is_freeing:
        found.writes.append(KeepBlock(block))


def _fill(
    view: NetworkView, network: NetworkFact, shelf: _Shelf, needy: Iterable[str], found: BlockPlan
) -> None:
    """Blocks for the nodes that need one, in order of name; those that their endpoints' addresses lie in come first."""
    short = []
    for node in sorted(needy):
        missing = network.cut.families - shelf.families(node)
        for index in sorted({index for family, index in view.held.get(node, ()) if family in missing}):
            if shelf.is_free_for(node, index, missing) and block_name(view.name, index) not in view.names:
                found.writes.append(shelf.take(network, node, index, missing))
                missing -= shelf.families(node)
        if not missing:
            continue
        free = shelf.first_free(view, missing)
        if free is None:
            short.append(node)
        else:
            found.writes.append(shelf.take(network, node, free, missing))
    if short:
        found.shortage = Shortage(tuple(short), network.cut.size(network.cut.families))


class _Shelf:
    """Whose each block is: of the Allocation whose node has endpoints in it, then of the older one, then of the first by name."""

    def __init__(self, cut: Cut, view: NetworkView) -> None:
        self._cut = cut
        self._owner: dict[Number, Block] = {}
        self._odd: list[tuple[int, range]] = []
        self._holders: dict[Number, set[str]] = {}
        self._cover: dict[str, dict[int, Block]] = {}
        self._next: dict[frozenset[int], int] = {}
        for node, numbers in view.held.items():
            for number in numbers:
                self._holders.setdefault(number, set()).add(node)
        self._taken = set(self._holders)
        self._places: dict[str, tuple[Place, ...]] = {
            block.name: tuple(map(cut.place, block.prefixes)) for block in view.blocks
        }
        for block in sorted(
            view.blocks, key=lambda each: (not self._is_lived_in(each), each.created, each.name)
        ):
            self._put(block)

    def _put(self, block: Block) -> None:
        for family, touched, is_block in self._places[block.name]:
            if not is_block:
                self._odd.append((family, touched))
                continue
            number = (family, touched.start)
            self._taken.add(number)
            owner = self._owner.setdefault(number, block)
            if owner.node == block.node and not block.is_deleted:
                self._cover.setdefault(block.node, {}).setdefault(family, block)

    def _is_lived_in(self, block: Block) -> bool:
        """Whether endpoints of its own node are in it."""
        return any(block.node in self._holders.get(number, ()) for number in self._numbers(block))

    def _numbers(self, block: Block) -> Iterator[Number]:
        for family, touched, is_block in self._places[block.name]:
            if is_block:
                yield family, touched.start

    def is_held(self, block: Block) -> bool:
        """Whether addresses of endpoints lie in it, of whatever node."""
        numbers = set(self._numbers(block))
        if len(numbers) == len(block.prefixes):
            return not numbers.isdisjoint(self._holders)
        places = self._places[block.name]
        return any(
            family == place.family and index in place.numbers
            for family, index in self._holders
            for place in places
        )

    def is_refused(self, block: Block) -> bool:
        """Whether it is no block of the network, or another node's."""
        numbers = list(self._numbers(block))
        if len(numbers) < len(block.prefixes):
            return True
        return any(self._owner[number].node != block.node for number in numbers)

    def is_spare(self, block: Block) -> bool:
        """Whether its node has another block for each of its families, which comes first."""
        cover = self._cover.get(block.node, {})
        return all(cover[prefix.version] is not block for prefix in block.prefixes if prefix.version in cover)

    def families(self, node: str) -> frozenset[int]:
        """Those of which the node has a block."""
        return frozenset(self._cover.get(node, ()))

    def is_free_for(self, node: str, index: int, families: Iterable[int]) -> bool:
        """Whether no Allocation has it in any of these families, and no other node's endpoints lie there."""
        numbers = [(family, index) for family in families]
        return not any(
            number in self._owner or self._is_odd(number) or self._holders.get(number, {node}) != {node}
            for number in numbers
        )

    def _is_odd(self, number: Number) -> bool:
        return any(number[0] == family and number[1] in touched for family, touched in self._odd)

    def first_free(self, view: NetworkView, families: frozenset[int]) -> int | None:
        """The smallest number that is free in all these families, and as a name."""
        index, end = self._next.get(families, 0), self._cut.size(families)
        while index < end and (
            any((family, index) in self._taken for family in families)
            or block_name(view.name, index) in view.names
            or any(self._is_odd((family, index)) for family in families)
        ):
            past = [touched.stop for family, touched in self._odd if family in families and index in touched]
            index = max([index + 1, *past])
        self._next[families] = index
        return index if index < end else None

    def take(self, network: NetworkFact, node: str, index: int, families: Iterable[int]) -> CreateBlock:
        """Give it, in this plan."""
        ordered = sorted(families)
        name = block_name(network.name, index)
        prefixes = tuple(self._cut.block(family, index) for family in ordered)
        self._places[name] = tuple(map(self._cut.place, prefixes))
        taken = Block(name, network.name, node, prefixes, "", "")
        self._put(taken)
        return CreateBlock(network, node, name, prefixes)
