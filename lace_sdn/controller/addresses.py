"""The addresses of a node's pods that are being attached: chosen one after another, kept until their NetworkEndpoint is known, or known not to be."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lace_sdn.controller.attaching import AttachError
from lace_sdn.policy.addresses import Taken, choose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.controller.attaching import WorldView
    from lace_sdn.model.objects import Address, Network, Prefix


class Addresses:
    """Safe for many threads."""

    def __init__(self, world: WorldView) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._reserved: dict[str, tuple[str, tuple[Address, ...]]] = {}
        self._last: dict[tuple[str, int], int] = {}

    @property
    def pods(self) -> frozenset[str]:
        """For whom some are kept: ``namespace/name``."""
        with self._lock:
            return frozenset(self._reserved)

    def choose(self, pod: str, network: Network, blocks: Iterable[Prefix]) -> tuple[Address, ...]:
        """One of each family of the network, which nobody else gets until ``release``. Raises AttachError."""
        with self._lock:
            taken, found = self._taken(pod), []
            for version in sorted({subnet.prefix.version for subnet in network.subnets}):
                its = [block for block in blocks if block.version == version]
                address = choose(its, network.name, taken, self._last.get((network.name, version), 0))
                if address is None:
                    size = ", ".join(map(str, its))
                    raise AttachError(
                        f'no IPv{version} address is left in {size} of Network "{network.name}"',
                        f"for Pod {pod} on Node {self._world.node}; expected blocks larger than these, or fewer pods here",
                    )
                self._last[network.name, version] = int(address)
                found.append(address)
            self._reserved[pod] = (network.name, tuple(found))
            return tuple(found)

    def release(self, pod: str) -> None:
        """What was chosen for the pod is its NetworkEndpoint's now, which is known; or nobody's."""
        with self._lock:
            self._reserved.pop(pod, None)

    def _taken(self, pod: str) -> Taken:
        """Addresses of other pods, as far as anything still has them."""
        taken = Taken()
        for network, addresses in self._world.taken():
            taken.add(network, addresses)
        for name, (network, addresses) in self._reserved.items():
            if name != pod:
                taken.add(network, addresses)
        return taken
