"""The endpoints of Services without EndpointSlices: pods, as the EndpointSlice controller would make them."""

from __future__ import annotations

import pytest
from service_texts import (
    WORLD,
    binding,
    built,
    endpoints,
    in_lab,
    in_world,
    pod,
    said,
    served,
    service,
    state_of,
)

SELECTING = "selector: {app: web}"


def test_a_service_without_slices_has_the_pods_that_it_selects() -> None:
    """Those of its Namespace with all labels of its selector."""
    other = pod("c").replace("app: web", "app: db")
    found = served(pod("a"), pod("b", "node-2"), other, in_lab(pod("d")), service(SELECTING))
    assert endpoints(found) == ["10.0.0.2:80 node-1 shop/a", "10.0.1.2:80 node-2 shop/b"]


def test_all_terms_of_a_selector_must_be_met() -> None:
    texts = [pod("a"), pod("b").replace("app: web", "app: web, tier: front"), pod("c").replace("app", "tier")]
    found = served(*texts, service("selector: {tier: front, app: web}"))
    assert endpoints(found) == ["10.0.0.3:80 node-1 shop/b"]


@pytest.mark.parametrize("selector", ["", "selector: {}", "selector: null", "selector: {app: none}"])
def test_who_selects_nothing_has_no_endpoints(selector: str) -> None:
    assert endpoints(served(pod("a"), service(selector))) == []


def test_pods_have_the_families_of_the_cluster_ips() -> None:
    both = served(pod("a"), service(f"{SELECTING}, clusterIPs: [10.96.0.1, 'fd00:96::1']"))
    assert endpoints(both) == ["10.0.0.2:80 node-1 shop/a", "fd00:10::2:80 node-1 shop/a"]
    assert endpoints(served(pod("a"), service(SELECTING, vip="'fd00:96::1'"))) == endpoints(both)[1:]


def test_a_target_port_is_a_number() -> None:
    """That no container needs to declare."""
    found = served(pod("a"), service(f"{SELECTING}, ports: [{{port: 80, targetPort: 8080}}]"))
    assert endpoints(found) == ["10.0.0.2:8080 node-1 shop/a"]


def test_a_target_port_is_looked_up_in_each_pod_by_name_and_protocol() -> None:
    """Pods without it are endpoints of other ports only."""
    texts = [
        pod("a", ports="{name: http, containerPort: 8080}"),
        pod("b", ports="{name: http, containerPort: 9090}, {name: http, containerPort: 9, protocol: UDP}"),
        pod("c", ports="{name: http, containerPort: 7070, protocol: SCTP}"),
    ]
    spec = "ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 80, targetPort: http, protocol: SCTP}]"
    found = served(*texts, service(f"{SELECTING}, {spec}"))
    assert endpoints(found, 0) == ["10.0.0.4:7070 node-1 shop/c"]
    assert endpoints(found, 1) == ["10.0.0.2:8080 node-1 shop/a", "10.0.0.3:9090 node-1 shop/b"]


def test_a_sidecar_may_have_the_target_port() -> None:
    """An init container that is restarted always runs beside the others; another one has ended."""
    sidecar = (
        "initContainers: [{name: s, restartPolicy: Always, ports: [{name: proxy, containerPort: 15001}]}, "
    )
    ended = "{name: e, ports: [{name: setup, containerPort: 1}]}], containers: [{name: c"
    text = pod("a").replace("containers: [{name: c", sidecar + ended)
    spec = "ports: [{name: a, port: 80, targetPort: proxy}, {name: b, port: 81, targetPort: setup}]"
    result = in_world(text, service(f"{SELECTING}, {spec}"))
    assert endpoints(result) == ["10.0.0.2:15001 node-1 shop/a"]
    assert 'targetPort "setup" of port TCP 81;' in result.conditions[0].message


def test_a_target_port_that_no_selected_pod_has_is_said() -> None:
    """With what the pods have; the other ports are served."""
    result = in_world(
        pod("a", ports="{name: web, containerPort: 8080}, {containerPort: 9}"),
        pod("b"),
        service(f"{SELECTING}, ports: [{{name: a, port: 80, targetPort: http}}, {{name: b, port: 81}}]"),
    )
    assert (endpoints(result, 0), len(endpoints(result, 1))) == ([], 2)
    assert said(result) == ["shop/web EndpointsReady False TargetPortMissing"]
    assert result.conditions[0].message == (
        'no selected pod has the targetPort "http" of port TCP 80; '
        'expected a number, or a name that they declare for the protocol: Pod "shop/a" (TCP 8080 web, TCP 9), Pod "shop/b" (none); until then the port has no endpoint'
    )


def test_where_no_pod_is_selected_no_target_port_is_missed() -> None:
    assert endpoints(served(service(f"{SELECTING}, ports: [{{port: 80, targetPort: http}}]"))) == []


@pytest.mark.parametrize(
    ("status", "more", "spec", "expected"),
    [
        ("", "", "", (True, True, False)),
        ("conditions: [{type: Ready, status: 'True'}]", "", "", (True, True, False)),
        ("conditions: [{type: Ready, status: 'False'}]", "", "", (False, False, False)),
        ("conditions: [{type: Ready, status: Unknown}]", "", "", (False, False, False)),
        ("conditions: [{type: PodScheduled, status: 'False'}]", "", "", (True, True, False)),
        ("", ", deletionTimestamp: 2026-01-01T00:00:00Z", "", (False, True, True)),
        (
            "conditions: [{type: Ready, status: 'False'}]",
            ", deletionTimestamp: 2026-01-01T00:00:00Z",
            "",
            (False, False, True),
        ),
        (
            "conditions: [{type: Ready, status: 'False'}]",
            "",
            "publishNotReadyAddresses: true",
            (True, False, False),
        ),
        (
            "",
            ", deletionTimestamp: 2026-01-01T00:00:00Z",
            "publishNotReadyAddresses: true",
            (True, True, True),
        ),
    ],
)
def test_pods_are_ready_serving_and_terminating_as_the_endpoint_slice_controller_says(
    status: str, more: str, spec: str, expected: tuple[bool, bool, bool]
) -> None:
    """A pod that says nothing of it is taken to be ready: a folder has no kubelet."""
    found = served(pod("a", status=status, more=more), service(f"{SELECTING}, {spec}"))
    assert state_of(found) == expected


@pytest.mark.parametrize("status", ["phase: Succeeded", "phase: Failed"])
def test_pods_that_have_ended_are_no_endpoints(status: str) -> None:
    assert endpoints(served(pod("a", status=status), service(SELECTING))) == []


def test_a_refused_pod_is_no_endpoint() -> None:
    """It has no address of its own."""
    result = in_world(
        pod("a", status="podIP: 10.0.0.2"), pod("b", status="podIP: 10.0.0.2"), service(SELECTING)
    )
    assert len(endpoints(result)) == 1


def test_a_selected_pod_in_another_network_is_left_out_and_named() -> None:
    to_blue = binding("to-blue", "network: blue, priority: 1, selector: {matchLabels: {tier: back}}")
    result = in_world(
        to_blue, pod("a"), pod("b").replace("app: web", "app: web, tier: back"), service(SELECTING)
    )
    assert endpoints(result) == ["10.0.0.2:80 node-1 shop/a"]
    assert said(result) == ["shop/web EndpointsReady False ForeignEndpoints"]
    assert 'Pod "shop/b" in Network "blue"' in result.conditions[0].message


def on_host(name: str, status: str = "") -> str:
    return pod(name, status=status).replace("nodeName", "hostNetwork: true, nodeName")


def test_a_service_that_selects_only_pods_on_the_network_of_their_node_says_so() -> None:
    result = in_world(on_host("b", "phase: Running"), on_host("a"), service(SELECTING))
    assert endpoints(result) == []
    assert said(result) == ["shop/web EndpointsReady False HostNetwork"]
    assert result.conditions[0].message == (
        'all selected pods have hostNetwork: Pod "shop/a", Pod "shop/b"; expected pods of Network "red"; '
        "until then the Service has no endpoint"
    )


@pytest.mark.parametrize(
    "others",
    [
        (on_host("b"), pod("a")),
        (on_host("b", "phase: Succeeded"), on_host("a", "phase: Pending")),
        (on_host("b").replace("app: web", "app: db"),),
    ],
)
def test_pods_on_the_network_of_their_node_are_else_no_matter(others: tuple[str, ...]) -> None:
    """Beside other pods, ended or not yet running, or not selected."""
    served(*others, service(SELECTING))


def test_pods_that_come_and_go_change_nothing_else() -> None:
    """The endpoints that stay are the same."""
    before = built(WORLD, pod("a"), pod("b"), service(SELECTING))
    after = built(WORLD, pod("b"), service(SELECTING), known=before.ledger)
    assert endpoints(after) == endpoints(before)[1:]
