"""Blocks, addresses and MACs: a pure function of the objects and of the allocations made so far.

Nothing is renumbered because something else came or went, and the order of objects does not matter.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from lace_sdn.model.objects import Allocation, Endpoint, NetworkType
from lace_sdn.policy.blocks import LocalAddresses, SubnetBook
from lace_sdn.policy.ledger import Lease, Ledger, LedgerError, ledger
from lace_sdn.policy.probes import Hidden, reachable
from lace_sdn.policy.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lace_sdn.model.objects import Address, Network, Pod

__all__ = ["Allocated", "Bound", "Lease", "Ledger", "LedgerError", "allocate", "current_lease", "mac_of"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A pod and the name of the pod network that it belongs to."""

    pod: Pod
    network: str


@dataclass(frozen=True)
class Allocated:
    """``endpoints`` in order of (namespace, name); ``blocks`` in order of (network, node, family, block).

    ``blocks`` has those of nodes that are gone too, while a lease is on them: they are not given to others. ``hidden``: whose
    probes would reach another pod of the node, so that they have none.
    """

    endpoints: tuple[Endpoint, ...]
    blocks: tuple[Allocation, ...]
    ledger: Ledger
    refusals: tuple[Refusal, ...]
    hidden: tuple[Hidden, ...] = ()


def allocate(
    networks: Sequence[Network], bound: Iterable[Bound], pinned: Iterable[Allocation], known: Ledger
) -> Allocated:
    """Addresses for all bound pods.

    Args:
        networks: those that exist.
        bound: pods on nodes that exist, each in one of ``networks`` that is not external.
        pinned: blocks that Allocation objects fix, on nodes that exist, in any network.
        known: the allocations made so far, of pods that still exist (bound or not): their leases are kept.
            The keys in it pass through.

    An address that a pod carries is honoured; else it keeps that of its lease; else it gets the smallest free
    one of its node's block, and none that another pod of its node has or asks for in any network while there is another.
    A node has blocks only while it hosts a pod of the network, or by ``pinned``.
    """
    by_network: dict[str, list[Pod]] = defaultdict(list)
    local = _of_lost_networks(networks, known)
    for each in bound:
        by_network[each.network].append(each.pod)
        local.add(each.pod.node, each.pod.addresses)
    fixed: dict[str, list[Allocation]] = defaultdict(list)
    for block in pinned:
        fixed[block.network].append(block)
    old = _old_by_network(known)
    spaces = [
        _Space(network, by_network[network.name], fixed[network.name], old[network.name], local)
        for network in networks
        if not network.is_external
    ]
    waiting = {space.network.name: (space, space.keep()) for space in spaces}
    for _, (space, pods) in sorted(waiting.items()):
        space.give(pods)
    return _allocated(networks, spaces, known)


def current_lease(pod: Pod, known: Ledger) -> Lease | None:
    """What this very pod was given before: not what a namesake on another node, or with another uid, was."""
    lease = known.lease_by_pod.get(pod.id)
    if lease is None or lease.node != pod.node:
        return None
    return None if pod.uid and lease.uid and pod.uid != lease.uid else lease


def mac_of(addresses: Sequence[Address]) -> str:
    """The MAC of a pod: 02:00 and its IPv4 address, or 02:01 and a hash of its IPv6 address (both locally administered)."""
    for address in addresses:
        if address.version == 4:
            return "02:00:" + address.packed.hex(":")
    return "02:01:" + blake2b(addresses[0].packed, digest_size=4).digest().hex(":")


def _of_lost_networks(networks: Sequence[Network], known: Ledger) -> LocalAddresses:
    """What pods had in networks that do not exist now: these may return, and the pods with them."""
    present = {network.name for network in networks}
    local = LocalAddresses()
    for lease in known.leases:
        if lease.network not in present:
            local.add(lease.node, lease.addresses)
    return local


def _old_by_network(known: Ledger) -> dict[str, Ledger]:
    blocks: dict[str, list[Allocation]] = defaultdict(list)
    leases: dict[str, list[Lease]] = defaultdict(list)
    for block in known.blocks:
        blocks[block.network].append(block)
    for lease in known.leases:
        leases[lease.network].append(lease)
    found: dict[str, Ledger] = defaultdict(Ledger)
    for name in blocks.keys() | leases.keys():
        found[name] = Ledger((), tuple(blocks[name]), tuple(leases[name]))
    return found


def _allocated(networks: Sequence[Network], spaces: Sequence[_Space], known: Ledger) -> Allocated:
    created = {pod.id: pod.created for space in spaces for pod in space.pods}
    endpoints, hidden = reachable((each for space in spaces for each in space.endpoints), created)
    blocks = [block for space in spaces for block in space.blocks()]
    asked = {pod.id for space in spaces for pod in space.pods}
    leases = {lease.pod: lease for lease in known.leases if lease.pod not in asked}
    leases |= {lease.pod: lease for space in spaces for lease in space.leases()}
    present = {network.name for network in networks}
    hosts = {(lease.network, lease.node) for lease in leases.values() if lease.network not in present}
    orphans = [block for block in known.blocks if (block.network, block.node) in hosts]
    after = ledger(known.key_by_network, [*blocks, *orphans], leases.values())
    return Allocated(
        endpoints,
        ledger({}, blocks, ()).blocks,
        after,
        tuple(refusal for space in spaces for refusal in space.refusals),
        hidden,
    )


@dataclass(slots=True)
class _Space:
    """One pod network while its addresses are handed out."""

    network: Network
    pods: list[Pod]
    pinned: list[Allocation]
    old: Ledger
    local: LocalAddresses
    endpoints: list[Endpoint] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    books: dict[int, SubnetBook] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)

    def keep(self) -> list[Pod]:
        """What is sure, the surest first: leases, pinned blocks, addresses that pods carry. The answer are the pods without."""
        is_flat = self.network.type is NetworkType.L2
        self.books = {subnet.prefix.version: SubnetBook(subnet, is_flat) for subnet in self.network.subnets}
        self.pods.sort(key=lambda pod: pod.id)
        self._keep_old_blocks()
        waiting = self._keep_leases()
        self._pin()
        for pod in sorted(waiting, key=lambda pod: (pod.created, pod.id)):
            if pod.addresses:
                self._carried(pod)
        return [pod for pod in waiting if not pod.addresses]

    def give(self, pods: Sequence[Pod]) -> None:
        """Addresses that are left, when all spaces have kept what is theirs."""
        self._add_blocks(pods)
        for pod in pods:
            self._give(pod)

    def _keep_old_blocks(self) -> None:
        """Blocks of nodes that still host a pod of the network, in order of block."""
        hosts = {pod.node for pod in self.pods} | {lease.node for lease in self.old.leases}
        for allocation in self.old.blocks:
            if allocation.node in hosts and self._fault_of(allocation) is None:
                book = self.books[allocation.block.version]
                book.claim(book.block_of(allocation.block.network_address), allocation.node)

    def _keep_leases(self) -> list[Pod]:
        """Pods that keep what they have become endpoints; the answer is the others, in order of name."""
        by_id = {pod.id: pod for pod in self.pods}
        kept = set()
        for lease in self.old.leases:
            pod = by_id.get(lease.pod)
            if pod is not None and (current_lease(pod, self.old) is None or not self._is_kept(pod, lease)):
                continue
            if not self._take(lease.pod, lease.node, lease.addresses) and pod is not None:
                self._add(pod, lease.addresses, pod.uid or lease.uid)
                kept.add(pod.id)
        return [pod for pod in self.pods if pod.id not in kept]

    def _is_kept(self, pod: Pod, lease: Lease) -> bool:
        """Whether the lease still says what the pod and the network want."""
        if pod.addresses:
            return set(pod.addresses) == set(lease.addresses)
        return {address.version for address in lease.addresses} == self.books.keys()

    def _pin(self) -> None:
        for allocation in sorted(self.pinned, key=lambda each: (each.node, str(each.block))):
            refusal = self._fault_of(allocation) or self._pinned(allocation)
            if refusal:
                self.refusals.append(refusal)

    def _fault_of(self, allocation: Allocation) -> Refusal | None:
        """Whether the block is one of the blocks that the network's prefix is cut into."""
        block = allocation.block
        book = self.books.get(block.version)
        if (
            book
            and not book.is_flat
            and block.prefixlen == book.length
            and block.network_address in book.subnet.prefix
        ):
            return None
        cut = ", ".join(f"{each.subnet.prefix} cut into /{each.length}" for each in self.books.values())
        found = f'"{block}" is no block of Network "{self.network.name}"'
        return self._refuse_block(allocation, Reason.BLOCK_OUTSIDE_NETWORK, found, f"expected one of {cut}")

    def _pinned(self, allocation: Allocation) -> Refusal | None:
        book = self.books[allocation.block.version]
        owner = book.claim(book.block_of(allocation.block.network_address), allocation.node)
        if owner == allocation.node:
            return None
        found = f'"{allocation.block}" is the block of Node "{owner}"'
        return self._refuse_block(allocation, Reason.BLOCK_IN_USE, found, "expected a free block")

    def _refuse_block(self, allocation: Allocation, reason: Reason, found: str, expected: str) -> Refusal:
        name = f"{allocation.network}/{allocation.node}"
        return Refusal("Allocation", name, reason, found, expected, allocation.block.version)

    def _carried(self, pod: Pod) -> None:
        """A pod that carries addresses gets exactly these, or nothing."""
        refusal = self._take(pod.id, pod.node, pod.addresses)
        if refusal:
            self.refusals.append(refusal)
        else:
            self._add(pod, pod.addresses, pod.uid)

    def _take(self, pod: str, node: str, addresses: Sequence[Address]) -> Refusal | None:
        """Mark all addresses as the pod's, or none."""
        for item, address in enumerate(addresses):
            refusal = self._fault_of_address(pod, node, address, item)
            if refusal:
                return refusal
        for address in addresses:
            book = self.books[address.version]
            book.claim(book.block_of(address), node)
            book.use(address, pod)
        self.local.add(node, addresses)
        return None

    def _fault_of_address(self, pod: str, node: str, address: Address, item: int) -> Refusal | None:
        book = self.books.get(address.version)
        if book is None or address not in book.subnet.prefix:
            prefixes = " or ".join(str(each.subnet.prefix) for each in self.books.values())
            found = f'"{address}" lies outside Network "{self.network.name}"'
            expected = f"expected an address in {prefixes}"
            return Refusal("Pod", pod, Reason.ADDRESS_OUTSIDE_NETWORK, found, expected, item)
        user = book.user_of(address)
        if user not in (None, pod):
            found = f'"{address}" is the address of Pod "{user}" in Network "{self.network.name}"'
            return Refusal("Pod", pod, Reason.ADDRESS_IN_USE, found, "expected a free address", item)
        owner = book.node_of(book.block_of(address))
        if owner not in (None, node):
            found = f'"{address}" lies in the block of Node "{owner}" in Network "{self.network.name}"'
            expected = f'expected an address in a block of Node "{node}"'
            return Refusal("Pod", pod, Reason.ADDRESS_OF_OTHER_NODE, found, expected, item)
        return None

    def _add_blocks(self, pods: Sequence[Pod]) -> None:
        """A block for each node that has none, in order of node name."""
        nodes = sorted({pod.node for pod in pods})
        for book in self.books.values():
            without = [node for node in nodes if not book.has_block(node) and not book.grow(node)]
            if without:
                hosts = len({pod.node for pod in self.pods})
                found = f'"{book.subnet.prefix}" holds {book.size} blocks of /{book.length}, but {hosts} nodes host its pods'
                expected = "expected a larger prefix or smaller blocks (hostLocalPrefixLength)"
                reason = Reason.SUBNET_TOO_SMALL
                self.refusals.append(
                    Refusal("Network", self.network.name, reason, found, expected, book.family)
                )

    def _give(self, pod: Pod) -> None:
        addresses = []
        for book in self.books.values():
            address = book.free_address(pod.node, self.local.of(pod.node, book.family))
            if address is None:
                self.refusals.append(self._exhausted(pod, book))
                return
            addresses.append(address)
        for address in addresses:
            self.books[address.version].use(address, pod.id)
        self.local.add(pod.node, addresses)
        self._add(pod, tuple(addresses), pod.uid)

    def _exhausted(self, pod: Pod, book: SubnetBook) -> Refusal:
        network = f'Network "{self.network.name}"'
        if book.has_block(pod.node):
            found = f'no IPv{book.family} address is left in the block of {network} on Node "{pod.node}"'
            expected = f"expected blocks larger than /{book.length}"
        else:
            found = f'no IPv{book.family} block of {network} is left for Node "{pod.node}"'
            expected = "expected a larger prefix or smaller blocks"
        return Refusal("Pod", pod.id, Reason.BLOCK_EXHAUSTED, found, expected)

    def _add(self, pod: Pod, addresses: tuple[Address, ...], uid: str) -> None:
        ordered = tuple(sorted(addresses, key=lambda address: address.version))
        self.uids[pod.id] = uid
        self.endpoints.append(
            Endpoint(
                pod.namespace,
                pod.name,
                pod.node,
                self.network.name,
                ordered,
                mac_of(ordered),
                pod.ports,
                pod.labels,
                pod.probes,
            )
        )

    def leases(self) -> Iterator[Lease]:
        for each in self.endpoints:
            yield Lease(each.id, each.node, each.network, each.addresses, self.uids[each.id])

    def blocks(self) -> Iterator[Allocation]:
        for book in self.books.values():
            for node, block in book.blocks():
                yield Allocation(self.network.name, node, block)
