"""Whose an underlay address is: what endpoints of Services in external Networks are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.policy.external import outside

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Network, Pod


class Underlay:
    """Answers for many Services of one cluster."""

    def __init__(self, state: ClusterState) -> None:
        """``state``: its Networks and nodes."""
        self._outside = outside(state.networks)
        self._nodes = state.node_by_name
        self._node_of = {address: node.name for node in state.nodes for address in node.addresses}

    def elsewhere(self, network: Network, address: Address) -> str:
        """The address and whose it is instead; "" if it belongs to ``network``."""
        owner = self._outside.network_of(address)
        if owner == network.name:
            return ""
        whose = f'Network "{owner}"' if owner else "no external Network"
        return f"{address} that belongs to {whose}"

    def node_of(self, address: Address) -> str:
        """The Node that has the address; "" if none has."""
        return self._node_of.get(address, "")

    def addresses_of(self, pod: Pod) -> tuple[Address, ...]:
        """Of a pod on the network of its node: what it says itself, else the node's first one of each family."""
        node = self._nodes.get(pod.node)
        if pod.addresses or node is None:
            return pod.addresses
        first = {address.version: address for address in reversed(node.addresses)}
        return tuple(first[version] for version in sorted(first))
