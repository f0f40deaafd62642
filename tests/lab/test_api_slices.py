"""The lab's EndpointSlices are those that the EndpointSlice controller of Kubernetes would make."""

from __future__ import annotations

from typing import Any

from lace_sdn.lab.api.slices import MOST, slices_of


def _pod(name: str, *addresses: str, ready: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": f"uid-{name}", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "node1",
            "containers": [{"name": "main", "ports": [{"containerPort": 8080, "name": "http"}]}],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    } | more


def _service(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "web", "uid": "uid-service"},
        "spec": {
            "selector": {"app": "web"},
            "clusterIPs": ["10.96.0.10"],
            "ports": [{"port": 80, "targetPort": "http", "name": "http"}],
            **spec,
        },
    }


def _addresses(slices: tuple[dict[str, Any], ...]) -> list[str]:
    return [entry["addresses"][0] for each in slices for entry in each["endpoints"]]


def test_one_slice_with_the_pods_of_the_selector_in_order_of_name() -> None:
    other = _pod("c", "10.0.0.4")
    other["metadata"]["labels"] = {"app": "db"}
    (found,) = slices_of(_service(), [_pod("b", "10.0.0.3"), _pod("a", "10.0.0.2"), other])
    assert found["addressType"] == "IPv4"
    assert found["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert _addresses((found,)) == ["10.0.0.2", "10.0.0.3"]
    assert found["endpoints"][0]["targetRef"]["uid"] == "uid-a"
    assert found["metadata"]["ownerReferences"][0]["uid"] == "uid-service"


def test_a_slice_for_each_family_of_the_service() -> None:
    service = _service(clusterIPs=["10.96.0.10", "fd00:96::10"], ipFamilies=["IPv4", "IPv6"])
    four, six = slices_of(service, [_pod("a", "10.0.0.2", "fd00::2")])
    assert (four["addressType"], six["addressType"]) == ("IPv4", "IPv6")
    assert _addresses((four, six)) == ["10.0.0.2", "fd00::2"]


def test_pods_that_are_not_ready_are_there_and_said_to_be() -> None:
    (found,) = slices_of(_service(), [_pod("a", "10.0.0.2", ready=False)])
    assert found["endpoints"][0]["conditions"] == {"ready": False, "serving": False, "terminating": False}
    (found,) = slices_of(_service(publishNotReadyAddresses=True), [_pod("a", "10.0.0.2", ready=False)])
    assert found["endpoints"][0]["conditions"]["ready"]


def test_a_pod_that_leaves_serves_and_takes_nothing_new() -> None:
    pod = _pod("a", "10.0.0.2")
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (found,) = slices_of(_service(), [pod])
    assert found["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_a_pod_without_addresses_or_that_has_ended_is_no_endpoint() -> None:
    ended = _pod("b", "10.0.0.3")
    ended["status"]["phase"] = "Succeeded"
    assert _addresses(slices_of(_service(), [_pod("a"), ended])) == []


def test_pods_with_other_numbers_behind_a_named_port_have_slices_of_their_own() -> None:
    other = _pod("b", "10.0.0.3")
    other["spec"]["containers"][0]["ports"] = [{"containerPort": 9090, "name": "http"}]
    found = slices_of(_service(), [_pod("a", "10.0.0.2"), other])
    assert [each["ports"][0]["port"] for each in found] == [8080, 9090]
    assert len({each["metadata"]["name"] for each in found}) == 2


def test_a_slice_has_a_hundred_endpoints_at_most() -> None:
    pods = [_pod(f"pod-{number:04}", f"10.0.{number // 250}.{number % 250 + 2}") for number in range(250)]
    assert [len(each["endpoints"]) for each in slices_of(_service(), pods)] == [MOST, MOST, 50]


def test_services_without_selector_have_none() -> None:
    assert slices_of(_service(selector=None), [_pod("a", "10.0.0.2")]) == ()
    assert slices_of(_service(type="ExternalName"), [_pod("a", "10.0.0.2")]) == ()
