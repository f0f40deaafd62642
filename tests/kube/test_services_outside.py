"""Services in external Networks: their endpoints are addresses of the underlay."""

from __future__ import annotations

import pytest
from service_texts import (
    at,
    binding,
    endpoint_slice,
    endpoints,
    in_world,
    network,
    of_pod,
    only,
    pod,
    said,
    served,
    service,
    state_of,
)

OUTSIDE = (
    network("outside", "type: external, externalPrefixes: [192.0.2.0/24, 203.0.113.0/24, '2001:db8::/32']")
    + network("corp", "type: external, externalPrefixes: [203.0.113.128/25]")
    + binding("outside", "network: outside, priority: 1, selector: {matchLabels: {where: outside}}")
)
SELECTING = "selector: {app: web}"


def out(spec: str = "", **more: str) -> str:
    """A Service that is bound to ``outside``."""
    return OUTSIDE + service(spec, more=", labels: {where: outside}", **more)


def on_host(name: str, node: str = "node-2", *, ports: str = "", status: str = "") -> str:
    return pod(name, node, ports=ports, status=status).replace("nodeName", "hostNetwork: true, nodeName")


def test_endpoints_of_slices_are_addresses_that_belong_to_the_network() -> None:
    """Of nodes, which are named, and of others; no pod is behind them for us."""
    found = served(out(), endpoint_slice(at("203.0.113.7"), at("192.0.2.2")))
    assert found.network == "outside"
    assert endpoints(found) == ["192.0.2.2:8080 node-2 -", "203.0.113.7:8080 - -"]


def test_a_node_is_named_by_its_address_whatever_the_slice_says() -> None:
    found = served(
        out(), endpoint_slice(at("203.0.113.7", "nodeName: node-1"), at("192.0.2.2", "nodeName: node-1"))
    )
    assert endpoints(found) == ["192.0.2.2:8080 node-2 -", "203.0.113.7:8080 - -"]


def test_a_pod_on_its_node_that_a_slice_names_is_an_address_too() -> None:
    found = served(out(), on_host("a"), endpoint_slice(at("192.0.2.2", of_pod("a"))))
    assert endpoints(found) == ["192.0.2.2:8080 node-2 -"]


def test_addresses_of_others_are_left_out_and_said_with_whose_they_are() -> None:
    """The longest prefix decides; a pod of a network is where it is, whatever its address."""
    result = in_world(
        out(),
        pod("a"),
        endpoint_slice(
            at("203.0.113.200"),
            at("198.51.100.1"),
            at("10.0.0.2", of_pod("a")),
            at("10.0.0.2"),
            at("192.0.2.3"),
        ),
    )
    assert endpoints(result) == ["192.0.2.3:8080 node-3 -"]
    assert said(result) == ["shop/web EndpointsReady False ForeignEndpoints"]
    assert result.conditions[0].message == (
        'has endpoints elsewhere: 203.0.113.200 that belongs to Network "corp", '
        '198.51.100.1 that belongs to no external Network, Pod "shop/a" in Network "red", '
        "10.0.0.2 that belongs to no external Network; "
        'expected endpoints in the Service\'s own Network "outside"; these are left out'
    )


def test_both_families_have_endpoints_outside() -> None:
    found = served(
        out("clusterIPs: [10.96.0.1, 'fd00:96::1']"),
        endpoint_slice(at("203.0.113.7")),
        endpoint_slice(at("2001:db8::7"), family="IPv6", name="web-6"),
    )
    assert endpoints(found) == ["203.0.113.7:8080 - -", "2001:db8::7:8080 - -"]


def test_what_a_slice_says_of_an_endpoint_outside_counts() -> None:
    entry = at(
        "203.0.113.7",
        "conditions: {ready: false, serving: true, terminating: true}, hints: {forZones: [{name: a}]}",
    )
    found = served(out(), endpoint_slice(entry))
    assert (state_of(found), only(found).for_zones) == ((False, True, True), ("a",))


def test_endpoints_outside_are_distributed_by_the_zone_of_their_node_or_slice() -> None:
    near = out("trafficDistribution: PreferSameNode")
    found = served(near, endpoint_slice(at("192.0.2.2"), at("203.0.113.7", "zone: far"), at("203.0.113.8")))
    assert [(each.for_zones, each.for_nodes) for each in found.ports[0].backends] == [
        (("west",), ("node-2",)),
        (("far",), ()),
        ((), ()),
    ]


def test_without_slices_the_selected_pods_on_their_nodes_are_endpoints() -> None:
    """At the addresses of their nodes, with ports by number or name."""
    found = served(
        out(f"{SELECTING}, ports: [{{name: a, port: 80, targetPort: web}}, {{name: b, port: 81}}]"),
        on_host("a", "node-1", ports="{name: web, containerPort: 8080}"),
        on_host("b", "node-2"),
        on_host("c", "node-3", status="phase: Pending"),
        on_host("d", "node-3").replace("app: web", "app: db"),
    )
    assert endpoints(found, 0) == ["192.0.2.1:8080 node-1 -"]
    assert endpoints(found, 1) == ["192.0.2.1:81 node-1 -", "192.0.2.2:81 node-2 -"]


def test_a_pod_on_its_node_is_ready_as_other_pods_are() -> None:
    found = served(out(SELECTING), on_host("a", status="conditions: [{type: Ready, status: 'False'}]"))
    assert state_of(found) == (False, False, False)


@pytest.mark.parametrize("address", ["192.0.2.2", "203.0.113.9"])
def test_a_pod_on_its_node_that_says_its_address_is_there(address: str) -> None:
    found = served(out(SELECTING), on_host("a", status=f"podIPs: [{{ip: {address}}}]"))
    assert str(only(found).address) == address


def test_a_selected_pod_whose_node_is_not_of_the_network_is_left_out() -> None:
    far = network("corp", "type: external, externalPrefixes: [203.0.113.128/25, 192.0.2.2/32]")
    text = out(SELECTING).replace(
        network("corp", "type: external, externalPrefixes: [203.0.113.128/25]"), far
    )
    result = in_world(text, on_host("a"), on_host("b", "node-1"), pod("c"))
    assert endpoints(result) == ["192.0.2.1:80 node-1 -"]
    assert said(result) == ["shop/web EndpointsReady False ForeignEndpoints"]
    assert (
        'Pod "shop/c" in Network "red", 192.0.2.2 that belongs to Network "corp"'
        in result.conditions[0].message
    )


def test_a_target_port_that_no_selected_pod_on_a_node_has_is_said() -> None:
    result = in_world(out(f"{SELECTING}, ports: [{{port: 80, targetPort: web}}]"), on_host("a"))
    assert said(result) == ["shop/web EndpointsReady False TargetPortMissing"]
    assert 'Pod "shop/a" (none)' in result.conditions[0].message


def test_a_cluster_ip_may_lie_in_the_prefixes_of_its_network() -> None:
    """It wins over them."""
    found = served(out(vip="203.0.113.77"), endpoint_slice(at("203.0.113.7")))
    assert endpoints(found) == ["203.0.113.7:8080 - -"]


def test_in_a_pod_network_addresses_outside_are_left_out() -> None:
    result = in_world(OUTSIDE, service(), on_host("a"), endpoint_slice(at("192.0.2.2", of_pod("a"))))
    assert endpoints(result) == []
    assert "192.0.2.2 in no pod network" in result.conditions[0].message
