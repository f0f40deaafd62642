"""Promises of the compiler about nodes: one that is gone costs its routes, and nothing else."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Allocation, Endpoint, Network, NetworkType, Node, Subnet
from lace_sdn.openflow.fields import TUN_DST
from lace_sdn.pipeline import compile_node, offline_ports

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
