"""``compile_node``: which units a node needs, and their flows as one program.

A node gets what it hosts and what that may reach or be reached by; networks that concern none of its pods cost nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network
from itertools import chain
from typing import TYPE_CHECKING

from lace_sdn.openflow.flow import BridgeProgram, Flow, Group, Meter, program
from lace_sdn.pipeline.constants import DEFAULT_MTU
from lace_sdn.pipeline.cookies import Category, cookie, name_id
from lace_sdn.pipeline.endpoints import LocalEndpoint
from lace_sdn.pipeline.equal_tuples import (
    ContestedInitiator,
    OtherConnections,
    OutsideEntries,
    SameEntry,
    SharedPod,
)
from lace_sdn.pipeline.fixed import Fixed
from lace_sdn.pipeline.host import inward, node_ports
from lace_sdn.pipeline.outside_units import OutsideScope, outside_units
from lace_sdn.pipeline.relation_rows import (
    ClassDestination,
    ClassMember,
    ClassPermit,
    EstablishedInitiator,
    EstablishedResponder,
    OwnNetwork,
)
from lace_sdn.pipeline.service_units import ServiceScope, backends_by_node, service_units
from lace_sdn.pipeline.tunnels import EntryReturn, Peer, RemoteRoute, TunnelArrival
from lace_sdn.pipeline.unit import GroupUnit, MeterUnit, Owner
from lace_sdn.policy.external import Outside, outside
from lace_sdn.policy.numbers import numbers
from lace_sdn.policy.relations import Relations, resolve
from lace_sdn.policy.services import ServiceAccess, resolve_services
from lace_sdn.policy.tunnel_ends import TunnelEnds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Endpoint, Network, Prefix
    from lace_sdn.pipeline.host import NodePort
    from lace_sdn.pipeline.service_units import Backed
    from lace_sdn.pipeline.unit import Unit
    from lace_sdn.policy.relations import PolicyClass


@dataclass(frozen=True)
class Cluster:
    """A state with what all its nodes share: relations, access to Services, and where the addresses of each network lie."""

    state: ClusterState
    relations: Relations
    access: ServiceAccess
    endpoints_of: Mapping[str, tuple[Endpoint, ...]]
    """By node."""
    homes_of: Mapping[str, tuple[tuple[Prefix, str], ...]]
    """By network: (block or single address, node)."""
    backed_on: Mapping[str, tuple[Backed, ...]]
    """By node: endpoints of Services that are pods there."""
    outside: Outside
    node_numbers: Mapping[str, int]

    @cached_property
    def inward(self) -> frozenset[Prefix]:
        """What the world outside may call: prefixes of pods, and VIPs."""
        return inward(self)

    @cached_property
    def node_ports(self) -> tuple[NodePort, ...]:
        """Of all Services, sorted."""
        return node_ports(self)

    @cached_property
    def tunnel_ends(self) -> Mapping[str, TunnelEnds]:
        """By node."""
        return {node.name: TunnelEnds.of(node.addresses) for node in self.state.nodes}

    def peers_of(self, node: str) -> Mapping[str, Address]:
        """The nodes that ``node`` has a tunnel with: where it ends there, which is also where their packets come from."""
        own = self.tunnel_ends.get(node)
        if own is None:
            return {}
        ends = ((name, its.towards(own)) for name, its in self.tunnel_ends.items() if name != node)
        return {name: address for name, address in ends if address is not None}

    @classmethod
    def of(cls, state: ClusterState, former: Cluster | None = None) -> Cluster:
        """``former``: of an earlier state, from which is taken what did not change."""
        by_node: dict[str, list[Endpoint]] = defaultdict(list)
        homes: dict[str, list[tuple[Prefix, str]]] = defaultdict(list)
        blocks: dict[tuple[str, str], list[Prefix]] = defaultdict(list)
        for allocation in state.allocations:
            homes[allocation.network].append((allocation.block, allocation.node))
            blocks[allocation.network, allocation.node].append(allocation.block)
        for endpoint in state.endpoints:
            by_node[endpoint.node].append(endpoint)
            own = blocks[endpoint.network, endpoint.node]
            homes[endpoint.network].extend(
                (ip_network(address), endpoint.node)
                for address in endpoint.addresses
                if not any(address in block for block in own)
            )
        relations = former.relations if former and _same_relations(former.state, state) else resolve(state)
        return cls(
            state,
            relations,
            resolve_services(state, relations),
            {node: tuple(each) for node, each in by_node.items()},
            {network: tuple(each) for network, each in homes.items()},
            backends_by_node(state),
            outside(state.networks),
            numbers(node.name for node in state.nodes),
        )


def _same_relations(former: ClusterState, state: ClusterState) -> bool:
    return (former.networks, former.routing_policies, former.doubt) == (
        state.networks,
        state.routing_policies,
        state.doubt,
    )


def offline_ports(state: ClusterState, node: str) -> dict[str, int]:
    """Port numbers of a bridge that nobody has asked: 1, 2, ... in order of the endpoints' ids."""
    ids = sorted(endpoint.id for endpoint in state.endpoints if endpoint.node == node)
    return {endpoint_id: number for number, endpoint_id in enumerate(ids, start=1)}


def compile_node(state: ClusterState, node: str, ports: Mapping[str, int]) -> BridgeProgram:
    """The program of ``node``'s bridge, whose pods hang on ``ports`` (endpoint id -> ofport).

    Endpoints without a port there get no flow yet. A node that is not in ``state`` has no endpoints: its bridge lets
    nothing pass.
    """
    return NodeCompiler(node).compile(Cluster.of(state), ports)


class NodeCompiler:
    """Compiles one node again and again; a unit whose inputs did not change keeps its flows and groups.

    ``sctp``: whether the datapath tracks SCTP by its ports; without, Services of SCTP are left out.
    ``mtu``: octets of the largest IP packet of a pod.
    """

    def __init__(self, node: str, *, sctp: bool = True, mtu: int = DEFAULT_MTU) -> None:
        self.node = node
        self._sctp = sctp
        self._fixed = Fixed(mtu)
        self._parts: dict[Unit, _Parts] = {}

    def compile(self, cluster: Cluster, ports: Mapping[str, int]) -> BridgeProgram:
        """The program for the present state alone: what was compiled before only saves time."""
        known = self._parts
        needed = units(cluster, self.node, ports, sctp=self._sctp)
        self._parts = {unit: known.get(unit) or _parts(unit) for unit in (self._fixed, *needed)}
        parts = self._parts.values()
        return program(
            chain.from_iterable(flows for flows, _, _ in parts),
            chain.from_iterable(groups for _, groups, _ in parts),
            chain.from_iterable(meters for _, _, meters in parts),
        )


_Parts = tuple[tuple["Flow", ...], tuple["Group", ...], tuple["Meter", ...]]


def _parts(unit: Unit) -> _Parts:
    groups = tuple(unit.select_groups()) if isinstance(unit, GroupUnit) else ()
    return tuple(unit.flows()), groups, tuple(unit.meters()) if isinstance(unit, MeterUnit) else ()


def units(cluster: Cluster, node: str, ports: Mapping[str, int], *, sctp: bool) -> Iterator[Unit]:
    """The units that ``node`` needs beside what every node has; each once."""
    networks = cluster.state.network_by_name
    local = [endpoint for endpoint in cluster.endpoints_of.get(node, ()) if endpoint.id in ports]
    for each in local:
        network = networks[each.network]
        yield LocalEndpoint(each.id, network.name, network.key, ports[each.id], each.mac, each.addresses)
    scope = Scope.of(cluster, node, local)
    yield from _equal_tuples(scope, local, ports, networks)
    for name in sorted(scope.local):
        network = networks[name]
        if not network.is_external:
            yield OwnNetwork(name, network.key, network.prefixes)
        yield TunnelArrival(name, network.key)
    yield from _relations(scope, networks)
    yield from _remote(cluster, node, scope)
    place = cluster.state.node_by_name.get(node)
    if place is not None:
        hosted = {each.id: (each, ports[each.id]) for each in local}
        yield from service_units(scope.services, cluster.state, place, hosted, sctp=sctp)
        concerned = scope.initiators | scope.responders
        beyond = OutsideScope(
            cluster.state,
            cluster.outside,
            cluster.access,
            concerned,
            scope.services.usable,
            scope.outside,
            scope.outside if scope.is_entered_elsewhere else frozenset(),
        )
        yield from outside_units(beyond, place, hosted)


@dataclass(frozen=True)
class Scope:
    """The part of the relations that concerns a node: its networks, and who is at the other end of their relations."""

    local: frozenset[str]
    """Networks with pods here, and external ones that initiate: every node is one of their ways in."""
    outside: frozenset[str]
    """The external ones among them."""
    outbound: tuple[PolicyClass, ...]
    """Classes of local networks: all they reach counts."""
    inbound: tuple[PolicyClass, ...]
    """Classes that reach a local network: all their members count."""
    services: ServiceScope

    @classmethod
    def of(cls, cluster: Cluster, node: str, hosted: Sequence[Endpoint]) -> Scope:
        """``hosted``: the endpoints of ``node`` that have a port."""
        beyond = _initiating(cluster)
        local = beyond.union(endpoint.network for endpoint in hosted)
        ids = {endpoint.id for endpoint in hosted}
        backed = tuple(each for each in cluster.backed_on.get(node, ()) if each.backend.pod in ids)
        classes = cluster.relations.classes
        return cls(
            local,
            beyond,
            tuple(each for each in classes if not local.isdisjoint(each.members)),
            tuple(each for each in classes if not local.isdisjoint(each.reach)),
            ServiceScope.of(cluster.access, cluster.state, local, backed),
        )

    @cached_property
    def entered(self) -> frozenset[str]:
        """Networks with pods here that the world outside may start connections to; these then come in by any node."""
        inside = self.local - self.outside
        callers = [each for each in self.inbound if not self.outside.isdisjoint(each.members)]
        users = [each for each in self.services.inbound if not self.outside.isdisjoint(each.members)]
        served = {each.network for each in self.services.hosted if any(its.admits(each) for its in users)}
        return inside & served.union(*(each.reach for each in callers))

    @cached_property
    def callers(self) -> Mapping[str, frozenset[str]]:
        """Networks with pods here -> those that may start connections to them, themselves too."""
        found = {}
        for name in self.local - self.outside:
            services = [each for each in self.services.hosted if each.network == name]
            found[name] = frozenset({name}).union(
                *(each.members for each in self.inbound if name in each.reach),
                *(each.members for each in self.services.inbound if any(map(each.admits, services))),
            )
        return found

    @cached_property
    def contested(self) -> Mapping[str, frozenset[str]]:
        """Of the callers those that share addresses with another network that may call the same pods, or be called by them."""
        overlaps, found = self.services.access.overlaps, {}
        for name, callers in self.callers.items():
            others = callers.union(*(each.reach for each in self.outbound if name in each.members))
            several = frozenset(each for each in callers if not others.isdisjoint(overlaps.get(each, ())))
            if several:
                found[name] = several
        return found

    @property
    def is_entered_elsewhere(self) -> bool:
        return bool(self.entered)

    @property
    def initiators(self) -> frozenset[str]:
        return self.local.union(self.services.initiators, *(each.members for each in self.inbound))

    @property
    def responders(self) -> frozenset[str]:
        return self.local.union(self.services.responders, *(each.reach for each in self.outbound))


def _equal_tuples(
    scope: Scope, local: Sequence[Endpoint], ports: Mapping[str, int], networks: Mapping[str, Network]
) -> Iterator[Unit]:
    """Where a pod may be called from equal addresses and ports by several: by networks that overlap, or by several nodes."""
    shared = scope.entered | scope.contested.keys()
    if shared:
        yield OtherConnections()
    if scope.entered:
        yield OutsideEntries()
    for name in sorted(frozenset[str]().union(*scope.contested.values()) - scope.outside):
        yield ContestedInitiator(name, networks[name].key)
    for each in local:
        if each.network in shared:
            owner = Owner(
                cookie(Category.ENDPOINT, name_id(each.id)), f"Pod {each.id} (Network {each.network})"
            )
            for address in each.addresses:
                yield SharedPod(owner, ports[each.id], address)


def _initiating(cluster: Cluster) -> frozenset[str]:
    """External networks that may start connections by some policy, or use Services of their own."""
    by_policy = {name for each in cluster.relations.classes for name in each.members}
    by_service_policy = {name for each in cluster.access.classes for name in each.members}
    own = {service.network for service in cluster.state.services}
    members = by_policy | by_service_policy | own
    return frozenset(
        each.name for each in cluster.state.networks if each.is_external and each.name in members
    )


def _relations(scope: Scope, networks: Mapping[str, Network]) -> Iterator[Unit]:
    initiators, responders = scope.initiators, scope.responders
    # Also of what one of them may do no more: its connections are known as such.
    for name in sorted(initiators | responders):
        yield EstablishedInitiator(name, networks[name].key)
        yield EstablishedResponder(name, networks[name].key)
    yield from _class_members(scope, networks)
    for each in {each.number: each for each in scope.outbound + scope.inbound}.values():
        senders = scope.local.intersection(each.members)
        for name, policy in each.reach.items():
            network = networks[name]
            # A network's rows for itself come first: rows of its class for it serve the other members only.
            if senders - {name} and not network.is_external:
                yield ClassDestination(each.number, policy, name, network.key, network.prefixes)
            others = senders if name not in scope.local else set(each.members)
            if others - {name}:
                yield ClassPermit(each.number, policy, name, network.key)


def _class_members(scope: Scope, networks: Mapping[str, Network]) -> Iterator[Unit]:
    policy = {name: each.number for each in scope.outbound + scope.inbound for name in each.members}
    service = {name: each.number for each in scope.services.classes for name in each.members}
    for name in sorted(scope.initiators & (policy.keys() | service.keys())):
        yield ClassMember(name, networks[name].key, policy.get(name, 0), service.get(name, 0))


def _remote(cluster: Cluster, node: str, scope: Scope) -> Iterator[Unit]:
    networks = cluster.state.network_by_name
    ends = cluster.peers_of(node)
    peers: set[str] = set()
    for name in sorted(scope.initiators | scope.responders):
        for prefix, home in cluster.homes_of.get(name, ()):
            if home in ends:
                peers.add(home)
                yield RemoteRoute(name, networks[name].key, prefix, home, ends[home])
    if scope.is_entered_elsewhere:
        peers |= ends.keys()
    for home in sorted(peers):
        yield Peer(home, cluster.node_numbers[home], ends[home])
        if scope.is_entered_elsewhere:
            yield SameEntry(home, cluster.node_numbers[home])
            yield EntryReturn(home, cluster.node_numbers[home], ends[home])
