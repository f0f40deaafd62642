"""Promises about a node's own stack: what leads into its bridge, and which NodePorts it translates."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import (
    Endpoint,
    Namespace,
    Network,
    NetworkType,
    Node,
    Protocol,
    RoutingPolicy,
    Service,
    ServicePolicy,
    ServicePort,
    Subnet,
)
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.pipeline.host import HostProgram, NodePort, host_program

APPS = Network("apps", NetworkType.L3, 1, (Subnet(ip_network("10.1.0.0/16"), 24),))
WORLD = Network("world", NetworkType.EXTERNAL, 2, external_prefixes=(ip_network("0.0.0.0/0"),))
NODES = tuple(Node(f"node{i}", (ip_address(f"192.0.2.{i}"), ip_address(f"2001:db8::{i}"))) for i in (1, 2))
POD = Endpoint(
    "apps", "web", "node1", "apps", (ip_address("10.1.0.2"),), "02:00:00:00:00:01", probes=(8080, 9090)
)
SERVICE = Service(
    "apps",
    "web",
    "apps",
    (ip_address("10.96.0.1"), ip_address("fd00:96::1")),
    (ServicePort(Protocol.TCP, 80, "http", (), 30080), ServicePort(Protocol.UDP, 53, "dns")),
)
BASE = ClusterState(
    nodes=NODES,
    namespaces=(Namespace("apps"),),
    networks=(APPS, WORLD),
    endpoints=(POD,),
    services=(SERVICE,),
)
INWARD = RoutingPolicy("in", NetworkSelector("world"), NetworkSelector("apps"))
VIPS = (ip_network("10.96.0.1/32"), ip_network("fd00:96::1/128"))


def planned(state: ClusterState, node: str = "node2") -> HostProgram:
    return host_program(Cluster.of(state), node)


def test_without_a_policy_nothing_leads_inward_but_the_pods_that_are_probed_here() -> None:
    assert planned(BASE).routes == ()
    assert planned(BASE, "node1").routes == (ip_network("10.1.0.2/32"),)


def test_who_may_call_pods_finds_the_way_by_every_node() -> None:
    state = replace(BASE, routing_policies=(INWARD,))
    assert planned(state).routes == (ip_network("10.1.0.0/16"), *VIPS)


def test_who_may_use_services_finds_the_way_to_vips_alone() -> None:
    policy = ServicePolicy("in", NetworkSelector("world"), NetworkSelector("apps"))
    assert planned(replace(BASE, service_policies=(policy,))).routes == VIPS


def test_a_way_out_is_none_in() -> None:
    out = RoutingPolicy("out", NetworkSelector("apps"), NetworkSelector("world"))
    assert planned(replace(BASE, routing_policies=(out,))).routes == ()


def test_node_ports_are_those_of_the_families_that_the_service_has() -> None:
    assert planned(BASE).node_ports == (
        NodePort(4, Protocol.TCP, 30080),
        NodePort(6, Protocol.TCP, 30080),
    )
    assert planned(replace(BASE, services=(replace(SERVICE, vips=SERVICE.vips[:1]),))).node_ports == (
        NodePort(4, Protocol.TCP, 30080),
    )


def test_a_node_that_is_unknown_does_nothing() -> None:
    assert planned(BASE, "node9") == HostProgram()


def test_a_plan_is_read_as_it_was_written() -> None:
    state = replace(BASE, routing_policies=(INWARD,))
    assert HostProgram.from_json(planned(state, "node1").as_json()) == planned(state, "node1")
