"""Strategies: small cluster states, drawn as model values, and connections in them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import LabelSelector, NetworkSelector, Operator, Requirement, labels
from lace_sdn.model.objects import (
    Allocation,
    Endpoint,
    Namespace,
    Network,
    NetworkType,
    Node,
    Port,
    Protocol,
    RoutingPolicy,
    Subnet,
)
from lace_sdn.policy.oracle import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn

    from lace_sdn.model.objects import Address

KEYS = ("tier", "env")
VALUES = ("a", "b", "c")
AGES = ("", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
TCP_PORT, UDP_PORT = 8080, 5353
PORTS = (Port(Protocol.TCP, TCP_PORT), Port(Protocol.UDP, UDP_PORT))

# Few /16s for many networks: they are often equal, and one contains others.
IPV4_PREFIXES = [ip_network(f"10.{number}.0.0/16") for number in range(8)] + [ip_network("10.0.0.0/14")]
IPV6_PREFIXES = [ip_network(f"fd00:{number:x}::/48") for number in range(8)] + [ip_network("fd00::/29")]
EXTERNAL_PREFIXES = [
    ip_network(text) for text in ("172.16.0.0/12", "0.0.0.0/0", "10.1.7.0/24", "2001:db8::/32")
]


@dataclass(frozen=True)
class Shape:
    """How large states are."""

    nodes: int = 5
    networks: int = 8
    policies: int = 6
    pods: int = 10


SMALL = Shape(nodes=3, networks=5, policies=4, pods=8)


network_labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)).map(labels)
values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True).map(sorted).map(tuple)
requirements = st.one_of(
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from((Operator.IN, Operator.NOT_IN)), values),
    st.builds(
        Requirement, st.sampled_from(KEYS), st.sampled_from((Operator.EXISTS, Operator.DOES_NOT_EXIST))
    ),
)


def selectors(names: Sequence[str]) -> st.SearchStrategy[NetworkSelector]:
    """Every form: name, labels, expressions, empty."""
    by_labels = st.lists(requirements, min_size=0, max_size=2).map(
        lambda terms: NetworkSelector(by_labels=LabelSelector(tuple(terms)))
    )
    return st.one_of(st.sampled_from(names).map(lambda name: NetworkSelector(name=name)), by_labels)


@st.composite
def networks(draw: DrawFn, shape: Shape) -> tuple[Network, ...]:
    count = draw(st.integers(1, shape.networks))
    keys = draw(st.lists(st.integers(1, 0xFFFFFF), min_size=count, max_size=count, unique=True))
    return tuple(draw(network(f"net{number}", key)) for number, key in enumerate(keys))


@st.composite
def network(draw: DrawFn, name: str, key: int) -> Network:
    own, created = draw(network_labels), draw(st.sampled_from(AGES))
    if draw(st.integers(0, 9)) == 0:
        prefix = draw(st.sampled_from(EXTERNAL_PREFIXES))
        return Network(name, NetworkType.EXTERNAL, key, (), (prefix,), own, created)
    families = draw(st.sampled_from(("4", "4", "6", "46", "46")))
    subnets = []
    if "4" in families:
        subnets.append(Subnet(draw(st.sampled_from(IPV4_PREFIXES)), 24))
    if "6" in families:
        subnets.append(Subnet(draw(st.sampled_from(IPV6_PREFIXES)), 64))
    return Network(name, NetworkType.L3, key, tuple(subnets), (), own, created)


def block(network: Network, subnet: Subnet, node_index: int) -> Allocation:
    """The block of the node: the same of every network with that prefix, so that overlaps are complete."""
    step = 1 << (subnet.prefix.max_prefixlen - subnet.host_local_length)
    first = subnet.prefix.network_address + (node_index + 1) * step
    return Allocation(network.name, f"node{node_index}", ip_network((first, subnet.host_local_length)))


def pod(number: int, network: Network, node_index: int, host: int) -> Endpoint:
    """A pod with one address a family; ``host`` in its block."""
    addresses: list[Address] = [
        block(network, subnet, node_index).block.network_address + host for subnet in network.subnets
    ]
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    return Endpoint("pods", f"pod{number}", f"node{node_index}", network.name, tuple(addresses), mac, PORTS)


@st.composite
def states(draw: DrawFn, shape: Shape = Shape()) -> ClusterState:
    """A valid, complete ClusterState."""
    count = draw(st.integers(2, shape.nodes))
    nodes = tuple(Node(f"node{i}", (IPv4Address(f"192.168.50.{i + 1}"),)) for i in range(count))
    nets = draw(networks(shape))
    names = [each.name for each in nets]
    policies = tuple(
        draw(
            st.builds(
                RoutingPolicy,
                st.just(f"policy{i}"),
                selectors(names),
                selectors(names),
                st.sampled_from(AGES),
            )
        )
        for i in range(draw(st.integers(0, shape.policies)))
    )
    inside = [each for each in nets if each.subnets]
    pods: list[Endpoint] = []
    if inside:
        drawn = draw(
            st.lists(
                st.tuples(st.integers(0, len(inside) - 1), st.integers(0, count - 1)),
                min_size=2,
                max_size=shape.pods,
            )
        )
        used: dict[tuple[int, int], int] = {}
        for number, place in enumerate(drawn):
            used[place] = used.get(place, 0) + 1
            pods.append(pod(number, inside[place[0]], place[1], host=used[place] + 4))
    return assemble(nodes, nets, policies, tuple(pods))


def assemble(
    nodes: tuple[Node, ...],
    nets: tuple[Network, ...],
    policies: tuple[RoutingPolicy, ...],
    pods: tuple[Endpoint, ...],
) -> ClusterState:
    """A state with the blocks that its pods need."""
    by_name = {each.name: each for each in nets}
    blocks = {
        block(by_name[each.network], subnet, int(each.node.removeprefix("node")))
        for each in pods
        for subnet in by_name[each.network].subnets
    }
    return ClusterState(
        nodes=nodes,
        namespaces=(Namespace("pods"),),
        networks=tuple(sorted(nets, key=lambda each: each.name)),
        routing_policies=tuple(sorted(policies, key=lambda each: each.name)),
        endpoints=tuple(sorted(pods, key=lambda each: each.id)),
        allocations=tuple(sorted(blocks, key=lambda each: (each.network, each.node, str(each.block)))),
    )


def connections(state: ClusterState) -> list[Connection]:
    """Every ordered pair of different pods, each protocol, each family that both have."""
    found = []
    for source in state.endpoints:
        for destination in state.endpoints:
            if source is destination:
                continue
            shared = families(source) & families(destination)
            found.extend(
                Connection(source.id, destination.id, protocol, number, family)
                for family in sorted(shared)
                for protocol, number in (
                    (Protocol.TCP, TCP_PORT),
                    (Protocol.UDP, UDP_PORT),
                    (Protocol.ICMP, 0),
                )
            )
    return found


def some_connections(state: ClusterState, most: int) -> list[Connection]:
    """At most ``most`` of them, spread evenly over pods, protocols and families."""
    every = connections(state)
    # A stride that shares no factor with protocols and families keeps all of them in.
    stride = max(1, len(every) // most) | 1
    return every[::stride][:most]


def families(endpoint: Endpoint) -> set[int]:
    return {address.version for address in endpoint.addresses}


__all__ = ["SMALL", "Shape", "assemble", "connections", "some_connections", "states"]
