"""What is known of the cluster, arranged for planning, and kept by one small step for each change of an object.

A change marks the networks that have something to plan because of it. A pod that joins others of its network on a node marks nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from lace_sdn.model.objects import DEFAULT_NETWORK
from lace_sdn.operator.free_numbers import FreeNumbers, Tally
from lace_sdn.operator.plan import NetworkView
from lace_sdn.policy.binding import Binder
from lace_sdn.policy.cuts import Cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.model.labels import Labels
    from lace_sdn.model.objects import BindingPolicy
    from lace_sdn.operator.facts import Block, Claim, EndpointFact, NetworkFact, PodFact

K = TypeVar("K")
T = TypeVar("T")

_NO_CUT = Cut(())


class Index:
    """``dirty``: networks to plan, by name. ``keys``: the numbers that are given."""

    def __init__(self, keys: range) -> None:
        self.dirty: set[str] = set()
        self.lacking: set[str] = set()
        self.nodes: set[str] = set()
        self.networks: dict[str, NetworkFact] = {}
        self.blocks: dict[str, Block] = {}
        self.endpoints: dict[str, EndpointFact] = {}
        self.pods: dict[str, PodFact] = {}
        self._claims: dict[str, dict[int, Claim]] = defaultdict(dict)
        self._claim_of: dict[int, Claim] = {}
        self._keyed: dict[int, set[str]] = defaultdict(set)
        self._free = FreeNumbers(keys)
        self._blocks_of: dict[str, dict[str, Block]] = defaultdict(dict)
        self._homes: dict[str, _Homes] = {}
        self._bindings = _Bindings()

    # An object by its name (namespace/name), as it is now; None: it is gone.

    def network(self, name: str, new: NetworkFact | None) -> None:
        old = self.networks.get(name)
        if old and new and replace(old, version=new.version) == new:
            self.networks[name] = new
            return
        if old and old.key:
            self._keyed[old.key].discard(name)
            self._give_back(old.key)
        if new and new.key:
            self._keyed[new.key].add(name)
            self._free.take(new.key)
        _replace(self.networks, name, new)
        if not new:
            self.lacking.discard(name)
        if (old.cut if old else _NO_CUT) != (new.cut if new else _NO_CUT) and name in self._homes:
            ids = self._homes[name].ids
            homes = self._homes[name] = _Homes(new.cut if new else _NO_CUT)
            for each in ids:
                homes.add(self.endpoints[each])
        self.dirty.add(name)
        if name == DEFAULT_NETWORK and bool(old) != bool(new):
            self._bindings.is_stale = True

    def claim(self, number: int, new: Claim | None) -> None:
        old = self._claim_of.get(number)
        if old:
            self._claims[old.network].pop(number, None)
            self._give_back(number)
            self.dirty.add(old.network)
        _replace(self._claim_of, number, new)
        if new:
            self._claims[new.network][number] = new
            self._free.take(number)
            self.dirty.add(new.network)
        self.dirty.update(self._keyed.get(number, ()))

    def block(self, name: str, new: Block | None) -> None:
        old = self.blocks.get(name)
        if old:
            self._blocks_of[old.network].pop(name, None)
            self.dirty.add(old.network)
        _replace(self.blocks, name, new)
        if new:
            self._blocks_of[new.network][name] = new
            self.dirty.add(new.network)

    def endpoint(self, id_: str, new: EndpointFact | None) -> None:
        old = self.endpoints.get(id_)
        if old == new:
            return
        if old and self._homes[old.network].remove(old):
            self.dirty.add(old.network)
        _replace(self.endpoints, id_, new)
        if new:
            homes = self._homes.get(new.network)
            if homes is None:
                network = self.networks.get(new.network)
                homes = self._homes[new.network] = _Homes(network.cut if network else _NO_CUT)
            if homes.add(new):
                self.dirty.add(new.network)
        self._settle(id_)

    def pod(self, id_: str, new: PodFact | None) -> None:
        if self.pods.get(id_) != new:
            _replace(self.pods, id_, new)
            self._settle(id_)

    def node(self, name: str, *, is_there: bool) -> None:
        if is_there == (name in self.nodes):
            return
        (self.nodes.add if is_there else self.nodes.discard)(name)
        self.dirty.update(each.network for each in self.blocks.values() if each.node == name)
        self.dirty.update(network for network, homes in self._homes.items() if name in homes.nodes)
        self.dirty.update(self._bindings.networks_on(name))

    def namespace(self, name: str, labels: Labels | None) -> None:
        if self._bindings.namespaces.get(name) != labels:
            _replace(self._bindings.namespaces, name, labels)
            self._bindings.is_stale = True

    def binding(self, name: str, policy: BindingPolicy | None) -> None:
        if self._bindings.policies.get(name) != policy:
            _replace(self._bindings.policies, name, policy)
            self._bindings.is_stale = True

    # What follows.

    def all_names(self) -> Iterator[str]:
        """Of every network that exists or is carried by something."""
        names = {*self.networks, *self._bindings.wanted}
        for table in (self._claims, self._blocks_of, self._homes):
            names.update(name for name, entries in table.items() if entries)
        return iter(names)

    def view(self, name: str) -> NetworkView:
        network = self.networks.get(name)
        homes = self._homes.get(name)
        return NetworkView(
            name,
            network,
            dict(self._claims.get(name, {})),
            bool(network and network.key and self._is_taken(network)),
            self._free.smallest() or 0,
            tuple(self._blocks_of.get(name, {}).values()),
            self.blocks,
            self.nodes,
            self._bindings.nodes_wanting(name),
            homes.held() if homes else {},
        )

    def refresh(self) -> None:
        """Bind pods anew if what binds them has changed; to be called before ``dirty`` is looked at."""
        self._bindings.refresh(self.networks, self.pods, self.dirty)

    def network_of(self, namespace: str, labels: Labels) -> str | None:
        """The network that bindings name for a pod or Service; None for none."""
        return self._bindings.network_of(namespace, labels)

    def _is_taken(self, network: NetworkFact) -> bool:
        """Whether its key is claimed for another, or an older one has it too and nobody has claimed it."""
        claim = self._claim_of.get(network.key)
        if claim:
            return claim.network != network.name
        own = (network.created, network.name)
        others = (self.networks[name] for name in self._keyed[network.key])
        return any((each.created, each.name) < own for each in others)

    def _give_back(self, number: int) -> None:
        self._free.give_back(number)
        self.dirty |= self.lacking

    def _settle(self, pod_id: str) -> None:
        """Whether a pod still needs an address: it does not, once an endpoint is its own."""
        pod, endpoint = self.pods.get(pod_id), self.endpoints.get(pod_id)
        has_own = pod and endpoint and (not endpoint.pod_uid or endpoint.pod_uid == pod.uid)
        self._bindings.settle(pod_id, None if has_own else pod, self.dirty)


class _Bindings:
    """Pods that have no endpoint, by the network that bindings name for each now."""

    def __init__(self) -> None:
        self.policies: dict[str, BindingPolicy] = {}
        self.namespaces: dict[str, Labels] = {}
        self.is_stale = True
        self.wanted: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._loose: dict[str, tuple[str | None, str]] = {}
        self._binder = Binder((), {}, ())

    def settle(self, pod_id: str, pod: PodFact | None, dirty: set[str]) -> None:
        """Count the pod where it is now; None: it needs nothing."""
        place = (self._binder.network_of(pod.namespace, pod.labels), pod.node) if pod else None
        before = self._loose.get(pod_id)
        if place == before:
            return
        if before:
            del self._loose[pod_id]
            self._count(*before, -1, dirty)
        if place:
            self._loose[pod_id] = place
            self._count(*place, 1, dirty)

    def _count(self, network: str | None, node: str, change: int, dirty: set[str]) -> None:
        if network is None:
            return
        counts = self.wanted[network]
        counts[node] += change
        if counts[node] == 0:
            del counts[node]
            dirty.add(network)
        elif counts[node] == change:
            dirty.add(network)
        if not counts:
            del self.wanted[network]

    def refresh(self, networks: Iterable[str], pods: dict[str, PodFact], dirty: set[str]) -> None:
        """Bind the loose pods anew, if what binds them has changed."""
        if not self.is_stale:
            return
        self.is_stale = False
        self._binder = Binder(self.policies.values(), self.namespaces, networks)
        for pod_id in list(self._loose):
            self.settle(pod_id, pods[pod_id], dirty)

    def nodes_wanting(self, network: str) -> frozenset[str]:
        return frozenset(self.wanted.get(network, ()))

    def networks_on(self, node: str) -> Iterator[str]:
        return (network for network, counts in self.wanted.items() if node in counts)

    def network_of(self, namespace: str, labels: Labels) -> str | None:
        return self._binder.network_of(namespace, labels)


class _Homes:
    """The endpoints of one network: on which nodes, and in which blocks their addresses lie."""

    def __init__(self, cut: Cut) -> None:
        self.ids: set[str] = set()
        self.nodes: dict[str, set[tuple[int, int]]] = {}
        self._cut = cut
        self._tally = Tally()

    def __bool__(self) -> bool:
        return bool(self.ids)

    def add(self, endpoint: EndpointFact) -> bool:
        """Whether the network is there on a node, or in a block, where it was not."""
        self.ids.add(endpoint.id)
        is_new = self._tally.add(endpoint.node)
        numbers = self.nodes.setdefault(endpoint.node, set())
        for number in self._numbers(endpoint):
            if self._tally.add((endpoint.node, number)):
                numbers.add(number)
                is_new = True
        return is_new

    def remove(self, endpoint: EndpointFact) -> bool:
        self.ids.discard(endpoint.id)
        is_gone = False
        for number in self._numbers(endpoint):
            if self._tally.remove((endpoint.node, number)):
                self.nodes[endpoint.node].discard(number)
                is_gone = True
        if self._tally.remove(endpoint.node):
            del self.nodes[endpoint.node]
            is_gone = True
        return is_gone

    def held(self) -> dict[str, frozenset[tuple[int, int]]]:
        return {node: frozenset(numbers) for node, numbers in self.nodes.items()}

    def _numbers(self, endpoint: EndpointFact) -> Iterator[tuple[int, int]]:
        for address in endpoint.addresses:
            index = self._cut.index_of(address)
            if index is not None:
                yield address.version, index


def _replace(table: dict[K, T], name: K, new: T | None) -> None:
    if new is None:
        table.pop(name, None)
    else:
        table[name] = new
