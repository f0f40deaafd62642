"""A network's prefixes cut into blocks, numbered from the start; one number stands for a block of each family."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.model.objects import Address, Prefix, Subnet


class Place(NamedTuple):
    """Where a prefix lies among the blocks: the numbers that it touches; one that ``is_block`` is exactly the first."""

    family: int
    numbers: range
    is_block: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """``subnets``: at most one a family, in order of family."""

    subnets: tuple[Subnet, ...]
    _known: dict[Prefix, Place] = field(default_factory=dict, compare=False, repr=False)

    def place(self, block: Prefix) -> Place:
        """Of any prefix; remembered, for networks with many blocks are planned often."""
        found = self._known.get(block)
        if found is None:
            found = self._known[block] = Place(block.version, self.touched(block), self.is_block(block))
        return found

    @property
    def families(self) -> frozenset[int]:
        return frozenset(each.prefix.version for each in self.subnets)

    def size(self, families: Iterable[int]) -> int:
        """How many blocks there are that have all these families."""
        wanted = frozenset(families)
        return min(
            (
                1 << (each.host_local_length - each.prefix.prefixlen)
                for each in self.subnets
                if each.prefix.version in wanted
            ),
            default=0,
        )

    def block(self, family: int, index: int) -> Prefix:
        """The block of this number. Raises KeyError without a subnet of the family."""
        subnet = self._of(family)
        if subnet is None:
            raise KeyError(family)
        width = subnet.prefix.max_prefixlen - subnet.host_local_length
        start = int(subnet.prefix.network_address) + (index << width)
        return type(subnet.prefix)((start, subnet.host_local_length))

    def index_of(self, address: Address) -> int | None:
        """The number of the block that an address lies in; None for one outside."""
        subnet = self._of(address.version)
        if subnet is None or address not in subnet.prefix:
            return None
        width = subnet.prefix.max_prefixlen - subnet.host_local_length
        return (int(address) - int(subnet.prefix.network_address)) >> width

    def touched(self, block: Prefix) -> range:
        """The numbers of all blocks that ``block``, of whatever length, shares addresses with."""
        subnet = self._of(block.version)
        if subnet is None or not subnet.prefix.overlaps(block):
            return range(0)
        width = subnet.prefix.max_prefixlen - subnet.host_local_length
        start, end = int(subnet.prefix.network_address), int(subnet.prefix.broadcast_address)
        first = max(int(block.network_address), start) - start
        last = min(int(block.broadcast_address), end) - start
        return range(first >> width, (last >> width) + 1)

    def is_block(self, block: Prefix) -> bool:
        """Whether it is exactly one of the blocks."""
        subnet = self._of(block.version)
        return bool(
            subnet and block.prefixlen == subnet.host_local_length and block.network_address in subnet.prefix
        )

    def _of(self, family: int) -> Subnet | None:
        return next((each for each in self.subnets if each.prefix.version == family), None)
