"""The book-keeping of allocation: the blocks of a subnet and which of its addresses are used; what the pods of a node have."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from lace_sdn.model.objects import Address, Prefix, Subnet

RESERVED = 2
"""Addresses at the start of a block that no pod gets: the network's (the anycast one of routers, RFC 4291 2.6.1), and
the first, which people take for a gateway."""


@dataclass(slots=True)
class LocalAddresses:
    """The addresses of each node's pods, in whatever network, as numbers."""

    _by_node: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, node: str, addresses: Iterable[Address]) -> None:
        for address in addresses:
            self._by_node[node, address.version].add(int(address))

    def of(self, node: str, family: int) -> AbstractSet[int]:
        return self._by_node[node, family]


@dataclass(slots=True)
class SubnetBook:
    """Blocks are numbered from the start of the prefix; a flat (l2) subnet is one block for all nodes."""

    subnet: Subnet
    is_flat: bool = False
    _node_by_block: dict[int, str] = field(default_factory=dict)
    _blocks_by_node: dict[str, list[int]] = field(default_factory=dict)
    _pod_by_address: dict[int, str] = field(default_factory=dict)
    _next_block: int = 0
    _next_address: dict[tuple[int, str, bool], int] = field(default_factory=dict)

    @property
    def family(self) -> int:
        return self.subnet.prefix.version

    @property
    def length(self) -> int:
        return self.subnet.prefix.prefixlen if self.is_flat else self.subnet.host_local_length

    @property
    def size(self) -> int:
        """How many blocks the prefix holds."""
        return 1 << (self.length - self.subnet.prefix.prefixlen)

    def block_of(self, address: Address) -> int:
        """The number of the block that an address of the prefix lies in."""
        start = int(self.subnet.prefix.network_address)
        return (int(address) - start) >> (self.subnet.prefix.max_prefixlen - self.length)

    def claim(self, block: int, node: str) -> str:
        """Give ``block`` to ``node`` unless another has it; the answer is who has it now."""
        if self.is_flat:
            return node
        owner = self._node_by_block.setdefault(block, node)
        mine = self._blocks_by_node.setdefault(node, [])
        if owner == node and block not in mine:
            mine.append(block)
        return owner

    def node_of(self, block: int) -> str | None:
        return self._node_by_block.get(block)

    def user_of(self, address: Address) -> str | None:
        return self._pod_by_address.get(int(address))

    def has_block(self, node: str) -> bool:
        return self.is_flat or bool(self._blocks_by_node.get(node))

    def grow(self, node: str) -> bool:
        """Give the first free block to ``node``; False if there is none left."""
        while self._next_block in self._node_by_block:
            self._next_block += 1
        if self._next_block >= self.size:
            return False
        self.claim(self._next_block, node)
        return True

    def use(self, address: Address, pod: str) -> str:
        """Mark ``address`` as the pod's unless another has it; the answer is who has it now."""
        return self._pod_by_address.setdefault(int(address), pod)

    def free_address(self, node: str, avoided: AbstractSet[int]) -> Address | None:
        """The smallest free address in the node's blocks, one of ``avoided`` only if there is no other; None if there is none.

        ``avoided`` only grows, for each node.
        """
        blocks = [0] if self.is_flat else self._blocks_by_node.get(node, [])
        for taken in (avoided, frozenset[int]()):
            for block in blocks:
                number, end = self._first_free(block, node, taken), self._usable(block)[1]
                if number < end:
                    return type(self.subnet.prefix.network_address)(number)
        return None

    def _first_free(self, block: int, node: str, avoided: AbstractSet[int]) -> int:
        """From where the last look ended: within one allocation no address becomes free."""
        start, end = self._usable(block)
        key = (block, node, bool(avoided))
        number = self._next_address.get(key, start)
        while number < end and (number in self._pod_by_address or number in avoided):
            number += 1
        self._next_address[key] = number
        return number

    def _usable(self, block: int) -> tuple[int, int]:
        """First and end (exclusive) of the addresses that pods may get."""
        width = self.subnet.prefix.max_prefixlen - self.length
        start = int(self.subnet.prefix.network_address) + (block << width)
        broadcast = 1 if self.family == 4 else 0
        return start + RESERVED, start + (1 << width) - broadcast

    def blocks(self) -> Iterator[tuple[str, Prefix]]:
        """(node, block) in order of block; none for a flat subnet."""
        width = self.subnet.prefix.max_prefixlen - self.length
        start = int(self.subnet.prefix.network_address)
        kind = type(self.subnet.prefix)
        for block, node in sorted(self._node_by_block.items()):
            yield node, kind((start + (block << width), self.length))
