"""What is on the underlay beside the nodes: hosts of the lab, and pods on the network of their node."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from service_texts import NODES, built, in_world, names, pod, said, service

from lace_sdn.model.objects import ExternalHost, HostPod, Port, Protocol


def host(name: str, spec: str) -> str:
    return (
        f"apiVersion: lab.lace-cni.io/v1alpha1\nkind: ExternalHost\nmetadata: {{name: {name}}}\n"
        f"spec: {{{spec}}}\n---\n"
    )


def test_a_host_has_addresses_listeners_and_a_gateway() -> None:
    """A listener is of TCP where none is said."""
    spec = "addresses: [198.51.100.7, 'fd00:99::7'], ports: [{port: 80}, {protocol: UDP, port: 53}], gateway: node-2"
    result = in_world(host("web", spec))
    assert result.state.external_hosts == (
        ExternalHost(
            "web",
            (ip_address("198.51.100.7"), ip_address("fd00:99::7")),
            (Port(Protocol.TCP, 80), Port(Protocol.UDP, 53)),
            "node-2",
        ),
    )
    assert said(result) == []


def test_a_host_without_a_gateway_sends_to_the_first_node() -> None:
    (found,) = in_world(host("client", "addresses: [198.51.100.7]")).state.external_hosts
    assert (found.ports, found.gateway) == ((), "node-1")
    (alone,) = built(host("client", "addresses: [198.51.100.7]")).state.external_hosts
    assert alone.gateway == ""


def test_a_host_may_have_several_addresses_of_a_family_and_one_of_metadata_services() -> None:
    (found,) = in_world(
        host("cloud", "addresses: [198.51.100.7, 198.51.100.8, 169.254.169.254]")
    ).state.external_hosts
    assert len(found.addresses) == 3


def test_hosts_stand_in_order_of_name_whatever_order_they_are_written_in() -> None:
    texts = [host("b", "addresses: [198.51.100.8]"), host("a", "addresses: [198.51.100.7]"), NODES]
    forward, backward = built(*texts), built(*reversed(texts))
    assert [each.name for each in forward.state.external_hosts] == ["a", "b"]
    assert forward.state == backward.state


def test_of_two_hosts_with_one_address_the_first_by_name_keeps_it() -> None:
    result = in_world(host("b", "addresses: [198.51.100.7]"), host("a", "addresses: [198.51.100.7]"))
    assert [each.name for each in result.state.external_hosts] == ["a"]
    (problem,) = result.problems
    assert (problem.subject, problem.field) == ('ExternalHost "b"', "spec.addresses[0]")


def test_a_cluster_ip_is_no_address_of_a_host() -> None:
    result = in_world(host("web", "addresses: [10.96.0.1]"), service())
    assert names(result) == []
    assert result.problems[0].found == '"10.96.0.1" is the address of ExternalHost "web"'


def on_host(name: str, status: str = "") -> str:
    """A pod of shop on the network of node-2."""
    text = pod(name, "node-2", ports="{name: web, containerPort: 80}", status=status)
    return text.replace("nodeName", "hostNetwork: true, nodeName")


def test_a_pod_on_the_network_of_its_node_is_a_host_pod_and_no_endpoint() -> None:
    """With the ports that it declares; its Namespace exists."""
    result = in_world(on_host("b"), on_host("a"), pod("c"))
    ports = (Port(Protocol.TCP, 80, "web"),)
    assert result.state.host_pods == (
        HostPod("shop", "a", "node-2", ports),
        HostPod("shop", "b", "node-2", ports),
    )
    assert [each.name for each in result.state.endpoints] == ["c"]
    assert said(result) == []


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_host_pod_that_has_ended_is_none(phase: str) -> None:
    assert in_world(on_host("a", status=f"phase: {phase}")).state.host_pods == ()


def test_a_host_pod_is_on_a_node_that_exists() -> None:
    lost, waiting = (
        on_host(name).replace("nodeName: node-2", f"nodeName: {node}")
        for name, node in (("lost", "node-9"), ("new", "''"))
    )
    result = in_world(lost, waiting)
    assert result.state.host_pods == ()
    assert [(each.subject, each.field) for each in result.problems] == [('Pod "shop/lost"', "spec.nodeName")]
    assert [(each.name, each.reason) for each in result.conditions] == [("shop/new", "NotScheduled")]


def test_what_is_called_in_a_host_pod_is_the_business_of_its_node() -> None:
    """Nothing has to be opened there, and nothing is missed."""
    probed = on_host("a").replace("{name: c,", "{name: c, livenessProbe: {httpGet: {port: none}},")
    assert said(in_world(probed)) == []


def with_addresses(name: str, *addresses: str) -> str:
    listed = ", ".join(f"{{type: InternalIP, address: '{address}'}}" for address in addresses)
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nstatus: {{addresses: [{listed}]}}\n---\n"


def test_nodes_without_a_common_family_are_told_of_the_later_one() -> None:
    """Both stay in the cluster. A node with both families has a tunnel with everyone."""
    four, both, six = ("b", ["192.0.2.1"]), ("a", ["2001:db8::2", "192.0.2.2"]), ("c", ["2001:db8::3"])
    result = built(*(with_addresses(name, *addresses) for name, addresses in (six, both, four)))
    assert [each.name for each in result.state.nodes] == ["a", "b", "c"]
    (found,) = result.conditions
    assert (found.kind, found.name, found.type, found.status) == ("Node", "c", "TunnelsReady", False)
    assert found.reason == "NoCommonFamily"
    assert found.message == (
        'has InternalIPs of IPv6 only (2001:db8::3), of IPv4 only: Node "b" (192.0.2.1); '
        "expected a family that both nodes have; there is no tunnel between them, and their pods do not reach each other"
    )
    assert result.problems == ()


def test_a_node_apart_from_many_says_so_once() -> None:
    """The first few by name, and how many more."""
    many = [with_addresses(f"a{number}", f"2001:db8::{number}") for number in range(1, 8)]
    result = built(*many, with_addresses("b", "192.0.2.1", "192.0.2.2"), with_addresses("c", "192.0.2.3"))
    first, second = result.conditions
    assert (first.name, second.name) == ("b", "c")
    assert first.message.startswith(
        "has InternalIPs of IPv4 only (192.0.2.1, 192.0.2.2), of IPv6 only: "
        'Node "a1" (2001:db8::1), Node "a2" (2001:db8::2), '
    )
    assert 'Node "a5" (2001:db8::5) and 2 more; ' in first.message


@pytest.mark.parametrize("addresses", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
def test_nodes_of_one_family_have_nothing_to_say(addresses: tuple[str, ...]) -> None:
    result = built(*(with_addresses(f"n{number}", each) for number, each in enumerate(addresses)))
    assert said(result) == []
