"""Which address of a node's own blocks a new pod gets. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.policy.blocks import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.model.objects import Address, Prefix


@dataclass(slots=True)
class Taken:
    """The addresses of a node's pods, by network and IP version, as numbers."""

    _by_network: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    _everywhere: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, network: str, addresses: Iterable[Address]) -> None:
        for address in addresses:
            self._by_network[network, address.version].add(int(address))
            self._everywhere[address.version].add(int(address))

    def has(self, network: str, version: int, number: int) -> bool:
        """Whether a pod of the network has it."""
        return number in self._by_network[network, version]

    def has_anywhere(self, version: int, number: int) -> bool:
        """Whether a pod of any network has it."""
        return number in self._everywhere[version]


def choose(blocks: Iterable[Prefix], network: str, taken: Taken, last: int = 0) -> Address | None:
    """The next free address behind ``last`` (as a number, 0 for none), then from the start; None if there is none.

    One that a pod of another network on the node has only if there is no other: the node's own processes could not tell them
    apart (docs/decisions/0017). An address that was just given back comes last: others may still speak to it.
    """
    blocks = sorted(blocks, key=lambda block: int(block.network_address))
    for is_strict in (True, False):
        for block, numbers in _in_order(blocks, last):
            for number in numbers:
                used = (
                    taken.has_anywhere if is_strict else lambda version, its: taken.has(network, version, its)
                )
                if not used(block.version, number):
                    return type(block.network_address)(number)
    return None


def _in_order(blocks: list[Prefix], last: int) -> Iterator[tuple[Prefix, range]]:
    """What is behind ``last`` in its block, the blocks after that, those before, and what is before ``last``."""
    for index, block in enumerate(blocks):
        start, end = _usable(block)
        if start <= last < end:
            yield block, range(last + 1, end)
            for other in (*blocks[index + 1 :], *blocks[:index]):
                yield other, range(*_usable(other))
            yield block, range(start, last + 1)
            return
    for block in blocks:
        yield block, range(*_usable(block))


def _usable(block: Prefix) -> tuple[int, int]:
    """First and end (exclusive) of the addresses that pods may get."""
    start = int(block.network_address)
    broadcast = 1 if block.version == 4 else 0
    return start + RESERVED, start + (1 << (block.max_prefixlen - block.prefixlen)) - broadcast
