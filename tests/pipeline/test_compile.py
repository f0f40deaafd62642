"""Promises of the compiler about nodes: one that is gone costs its routes, and nothing else; each pair has its own tunnel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import (
    Address,
    Allocation,
    Endpoint,
    Network,
    NetworkType,
    Node,
    Protocol,
    RoutingPolicy,
    Subnet,
)
from lace_sdn.openflow.actions import SetField
from lace_sdn.openflow.fields import TUN_DST, TUN_IPV6_DST, TUN_IPV6_SRC, TUN_SRC
from lace_sdn.openflow.simulator import defects
from lace_sdn.pipeline import compile_node, offline_ports
from lace_sdn.pipeline.rehearsal import Stage
from lace_sdn.pipeline.tables import TABLES
from lace_sdn.policy.oracle import Connection, verdict

BLUE = Network("blue", NetworkType.L3, 7, (Subnet(ip_network("10.0.0.0/16"), 24),))
POD = Endpoint("shop", "web", "node-1", "blue", (ip_address("10.0.0.2"),), "02:00:0a:00:00:02")
NEAR = Node("node-1", (ip_address("192.0.2.1"),))
BLOCKS = tuple(Allocation("blue", f"node-{i}", ip_network(f"10.0.{i}.0/24")) for i in (1, 2))


def state(*nodes: Node) -> ClusterState:
    return ClusterState(nodes=nodes, networks=(BLUE,), endpoints=(POD,), allocations=BLOCKS)


def tunnels(cluster: ClusterState) -> list[int]:
    program = compile_node(cluster, "node-1", offline_ports(cluster, "node-1"))
    return [
        action.value
        for flow in program.flows
        for action in flow.actions
        if getattr(action, "field", None) is TUN_DST
    ]


def test_blocks_of_other_nodes_are_routed_into_tunnels() -> None:
    assert tunnels(state(NEAR, Node("node-2", (ip_address("192.0.2.2"),)))) == [int(ip_address("192.0.2.2"))]


def test_a_block_of_a_node_that_is_gone_is_not_routed() -> None:
    assert tunnels(state(NEAR)) == []


def test_a_node_that_is_unknown_gets_tables_that_let_nothing_pass() -> None:
    program = compile_node(state(NEAR), "node-9", {})
    assert {flow.table for flow in program.flows} & {0, 1, 2, 103} == set()


FOURS, SIXES = ("192.0.2.{}", "198.51.100.{}"), ("2001:db8::{}", "2001:db8:1::{}")
OTHERS = {
    "ipv4": (FOURS, {"node-1": 4, "node-2": 4, "node-3": None}),
    "ipv6": (SIXES, {"node-1": 6, "node-2": 6, "node-3": 6}),
    "both": ((*SIXES, *FOURS), {"node-1": 4, "node-2": 4, "node-3": 6}),
}
"""What a fourth node has, beside node-1 and node-2 with both families and node-3 with IPv6 alone; the family of its tunnels."""
JUMPS = {table.number: table.next for table in TABLES}
WORLD = Network("world", NetworkType.EXTERNAL, 9, external_prefixes=(ip_network("0.0.0.0/0"),))
INWARD = RoutingPolicy("in", NetworkSelector("world"), NetworkSelector("blue"))


def mixed(fourth: tuple[str, ...], *, is_entered: bool) -> ClusterState:
    """Four nodes with two addresses of each of their families and a pod each; ``is_entered``: by the world outside."""
    texts = (FOURS + SIXES, SIXES + FOURS, SIXES, fourth)
    numbers = range(1, 5)
    nodes = (
        Node(f"node-{i}", tuple(ip_address(text.format(i)) for text in its))
        for i, its in zip(numbers, texts, strict=True)
    )
    pods = tuple(replace(POD, name=f"web-{i}", node=f"node-{i}", addresses=(at(i),)) for i in numbers)
    found = replace(
        state(*nodes),
        endpoints=pods,
        allocations=tuple(Allocation("blue", f"node-{i}", ip_network(f"10.0.{i}.0/24")) for i in numbers),
    )
    return replace(found, networks=(BLUE, WORLD), routing_policies=(INWARD,)) if is_entered else found


def at(number: int) -> Address:
    return ip_address(f"10.0.{number}.2")


def ends(cluster: ClusterState, node: str) -> tuple[set[Address], set[Address]]:
    """Where the node sends tunnel packets to, and where it takes them from."""
    program = compile_node(cluster, node, offline_ports(cluster, node))
    kinds = {TUN_DST: IPv4Address, TUN_IPV6_DST: IPv6Address}
    sent = {
        kinds[action.field](action.value)
        for flow in program.flows
        for action in flow.actions
        if isinstance(action, SetField) and action.field in kinds
    }
    taken: set[Address] = set()
    for flow in program.flows:
        for field, kind in ((TUN_SRC, IPv4Address), (TUN_IPV6_SRC, IPv6Address)):
            found = flow.match.get(field)
            if found is not None:
                taken.add(kind(found.value))
    return sent, taken


@pytest.mark.parametrize("is_entered", [False, True])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_pair_of_nodes_has_its_tunnel_at_the_first_addresses_of_a_family_that_both_have(
    kind: str, *, is_entered: bool
) -> None:
    """IPv4 where both have it, whichever stands first; packets are taken from where the other node has its end."""
    fourth, families = OTHERS[kind]
    cluster = mixed(fourth, is_entered=is_entered)
    pairs = {("node-1", "node-2"): 4, ("node-1", "node-3"): 6, ("node-2", "node-3"): 6}
    pairs |= {(name, "node-4"): family for name, family in families.items() if family}
    for name, node in cluster.node_by_name.items():
        expected = set()
        for pair, family in pairs.items():
            if node.name in pair:
                other = cluster.node_by_name[pair[pair[0] == name]]
                expected.add(next(each for each in other.addresses if each.version == family))
        assert ends(cluster, name) == (expected, expected)
        assert list(defects(compile_node(cluster, name, offline_ports(cluster, name)), JUMPS)) == []


@pytest.mark.parametrize("kind", OTHERS)
def test_pods_reach_each_other_wherever_their_nodes_have_a_tunnel(kind: str) -> None:
    """By simulated bridges; without a tunnel the oracle says no, and says why."""
    fourth, families = OTHERS[kind]
    cluster = mixed(fourth, is_entered=False)
    stage = Stage.of(cluster)
    for one in range(1, 5):
        for other in {1, 2, 3, 4} - {one}:
            asked = Connection(f"shop/web-{one}", f"shop/web-{other}", Protocol.TCP, 80, 4)
            said, found = verdict(cluster, asked), stage.rehearse(asked)
            is_apart = {one, other} == {3, 4} and families["node-3"] is None
            assert said.allowed is found.is_answered is not is_apart
            assert found.agrees_with(asked, said)
            if is_apart:
                assert "no address family in common" in said.reason
