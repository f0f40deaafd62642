"""The ports of all nodes by which a Service is reached from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from service_texts import BINDINGS, BLUE, RED, built, endpoints, in_world, node, pod, said, served, service

from lace_sdn.kube.manifests import parse

if TYPE_CHECKING:
    from lace_sdn.kube.build import Built

OPEN = "type: NodePort, ports: [{port: 80, nodePort: 30080}]"


def node_ports(result: Built) -> dict[str, list[int]]:
    """Of each Service, in the order of its ports."""
    return {each.name: [port.node_port for port in each.ports] for each in result.state.services}


def older(day: int) -> str:
    return f", creationTimestamp: 2026-01-0{day}T00:00:00Z"


def test_a_service_of_type_node_port_is_reached_by_it() -> None:
    """Where no number is assigned yet there is none; each port has its own."""
    ports = (
        "ports: [{name: c, port: 82}, {name: b, port: 81, nodePort: 30081}, {name: a, port: 80, nodePort: 0}]"
    )
    found = served(service(f"type: NodePort, {ports}"))
    assert [(each.number, each.node_port) for each in found.ports] == [(80, 0), (81, 30081), (82, 0)]
    assert not found.is_local_by_node_port


def test_a_load_balancer_has_node_ports_too() -> None:
    """Its own addresses are said to be not served."""
    result = in_world(service(OPEN.replace("NodePort,", "LoadBalancer,")))
    assert node_ports(result) == {"web": [30080]}
    assert said(result) == ["shop/web Enforced False LoadBalancerNotEnforced"]
    assert result.conditions[0].message == (
        "type is LoadBalancer; expected NodePort or ClusterIP; addresses of load balancers are not served by this version, "
        "cluster IPs and NodePorts are"
    )


def test_a_node_port_leads_to_the_endpoints_of_its_port() -> None:
    found = served(pod("a"), service(f"selector: {{app: web}}, {OPEN}"))
    assert endpoints(found) == ["10.0.0.2:80 node-1 shop/a"]


@pytest.mark.parametrize(("policy", "is_local"), [("Local", True), ("Cluster", False), ("''", False)])
def test_node_ports_may_be_for_the_endpoints_of_their_node(policy: str, is_local: bool) -> None:
    found = served(service(f"externalTrafficPolicy: {policy}, {OPEN}"))
    assert (found.is_local_by_node_port, found.is_local) == (is_local, False)


@pytest.mark.parametrize("number", [1, 80, 30000, 32767, 65535])
def test_every_port_may_be_a_node_port(number: int) -> None:
    """The range is a choice of the cluster's API server."""
    assert node_ports(in_world(service(OPEN.replace("30080", str(number))))) == {"web": [number]}


def test_one_number_may_be_a_node_port_of_each_protocol() -> None:
    """The tunnels between nodes are of UDP, so TCP has that one too."""
    ports = "{name: a, port: 80, nodePort: 6081}, {name: b, port: 80, nodePort: 30080}, {name: c, port: 80, nodePort: 30080, protocol: UDP}"
    texts = service(f"type: NodePort, ports: [{ports.replace('name: b, port: 80', 'name: b, port: 81')}]")
    assert node_ports(in_world(texts)) == {"web": [6081, 30080, 30080]}


@pytest.mark.parametrize(
    ("spec", "field", "found"),
    [
        ("ports: [{port: 80, nodePort: 30080}]", "spec.ports[0].nodePort", "30080 is set"),
        (
            "type: NodePort, ports: [{port: 80, nodePort: 6081, protocol: UDP}]",
            "spec.ports[0].nodePort",
            "UDP 6081 is where tunnels between nodes end",
        ),
        (
            "type: NodePort, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30080}]",
            "spec.ports[1].nodePort",
            "TCP 30080 is there twice",
        ),
        ("type: NodePort, ports: [{port: 80, nodePort: -1}]", "spec.ports[0].nodePort", "-1 is too small"),
        (
            "type: NodePort, ports: [{port: 80, nodePort: 65536}]",
            "spec.ports[0].nodePort",
            "65536 is too large",
        ),
        ("externalTrafficPolicy: Local", "spec.externalTrafficPolicy", '"Local" is set'),
        ("type: NodePort, healthCheckNodePort: 32000", "spec.healthCheckNodePort", "32000 is set"),
        ("type: LoadBalancer, healthCheckNodePort: 32000", "spec.healthCheckNodePort", "32000 is set"),
    ],
)
def test_what_is_wrong_with_a_node_port_is_said_by_its_field(spec: str, field: str, found: str) -> None:
    (problem,) = parse(service(spec), "x.yaml").problems
    assert (problem.field, problem.found) == (field, found)


def test_external_ips_may_have_a_traffic_policy() -> None:
    """Kubernetes takes it; it says nothing of NodePorts."""
    result = in_world(service("externalIPs: [192.0.2.80], externalTrafficPolicy: Local"))
    assert [each.is_local_by_node_port for each in result.state.services] == [False]
    assert said(result) == ["shop/web Enforced False ExternalIPsNotEnforced"]


def test_of_two_services_with_one_node_port_the_older_keeps_it() -> None:
    """The other one's cluster IP goes on, and its other ports have theirs."""
    two = (
        "type: NodePort, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30081}]"
    )
    result = in_world(service(two, "a", more=older(2)), service(OPEN, "b", vip="10.96.0.2", more=older(1)))
    assert node_ports(result) == {"a": [0, 30081], "b": [30080]}
    assert said(result) == ["shop/a OwnNodePort False NodePortInUse"]
    assert result.conditions[0].message.startswith(
        'spec.ports[0].nodePort TCP 30080 is the NodePort of Service "shop/b" (x.yaml:'
    )


def test_of_two_services_of_one_age_the_first_by_name_keeps_the_node_port() -> None:
    texts = (service(OPEN, "b"), service(OPEN, "a", vip="10.96.0.2"))
    assert node_ports(in_world(*texts)) == node_ports(in_world(*reversed(texts))) == {"a": [30080], "b": [0]}


def test_a_service_that_is_not_served_holds_no_node_port() -> None:
    """It lost its cluster IP to an older one."""
    result = in_world(
        service("", "a", more=older(1)),
        service(OPEN, "b", more=older(2)),
        service(OPEN, "c", vip="10.96.0.2", more=older(3)),
    )
    assert node_ports(result) == {"a": [0], "c": [30080]}


@pytest.mark.parametrize(
    ("vips", "reasons"),
    [("10.96.0.1", ["NodePortFamily"]), ("'fd00:96::1'", []), ("10.96.0.1, 'fd00:96::1'", [])],
)
def test_a_node_port_of_a_family_that_no_node_has_is_said(vips: str, reasons: list[str]) -> None:
    """The nodes have IPv6 addresses here."""
    result = built(
        node("node-1", "'2001:db8::1'"), RED, BLUE, BINDINGS, service(f"clusterIPs: [{vips}], {OPEN}", vip="")
    )
    assert [each.reason for each in result.conditions] == reasons


def test_without_node_ports_the_family_of_nodes_does_not_matter() -> None:
    result = built(node("node-1", "'2001:db8::1'"), RED, BLUE, BINDINGS, service("type: NodePort"))
    assert said(result) == []
