"""The endpoints of Services that have EndpointSlices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from service_texts import (
    NINE,
    WORLD,
    at,
    binding,
    endpoint_slice,
    endpoints,
    in_lab,
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

from lace_sdn.kube.manifests import parse

if TYPE_CHECKING:
    from lace_sdn.model.objects import Service

SELECTING = "selector: {app: web}"
NEAR = "trafficDistribution: PreferClose"


def hints_of(found: Service) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(zones, nodes)."""
    backend = only(found)
    return backend.for_zones, backend.for_nodes


def message(*texts: str) -> str:
    """Of the only condition."""
    (condition,) = in_world(*texts).conditions
    return condition.message


def test_an_endpoint_of_a_slice_is_the_pod_with_its_address() -> None:
    """It has the port that the slice says."""
    found = served(pod("a"), pod("b", "node-2"), service(), endpoint_slice(at("10.0.1.2"), at("10.0.0.2")))
    assert endpoints(found) == ["10.0.0.2:8080 node-1 shop/a", "10.0.1.2:8080 node-2 shop/b"]


def test_addresses_that_no_pod_has_are_left_out_and_named_with_their_place() -> None:
    """Nobody answers there, whatever the slice says of a node or of a pod that is gone or refused."""
    result = in_world(
        pod("a"),
        service(),
        endpoint_slice(
            at("10.0.0.2"), at("10.0.9.9"), at("10.0.9.8", "nodeName: node-3"), at("10.0.0.7", of_pod("gone"))
        ),
    )
    assert endpoints(result) == ["10.0.0.2:8080 node-1 shop/a"]
    assert said(result) == ["shop/web EndpointsReady False EndpointWithoutPod"]
    line = "".join((WORLD, pod("a"), service())).count("\n") + 6
    place = f"(x.yaml:{line})"
    assert result.conditions[0].message == (
        f'has addresses that no pod of Network "red" has: 10.0.9.9 {place}, 10.0.9.8 {place}, 10.0.0.7 {place}; '
        "expected addresses of its pods; these are left out"
    )


def test_of_an_address_without_a_pod_that_is_not_in_use_nothing_is_said() -> None:
    """So a slice looks between the end of a pod and its own next state."""
    entry = at("10.0.0.7", "conditions: {ready: false}")
    assert endpoints(served(pod("a"), service(), endpoint_slice(entry, at("10.0.0.2")))) == [
        "10.0.0.2:8080 node-1 shop/a"
    ]


def test_the_node_of_a_pod_is_where_it_runs() -> None:
    """Whatever the slice says."""
    found = served(pod("a"), service(), endpoint_slice(at("10.0.0.2", "nodeName: node-3")))
    assert endpoints(found) == ["10.0.0.2:8080 node-1 shop/a"]


def test_of_several_addresses_the_first_is_used() -> None:
    """EndpointSlice v1: they are fungible."""
    found = served(NINE, service(), endpoint_slice("{addresses: [10.0.0.9, 10.0.0.8]}"))
    assert endpoints(found) == ["10.0.0.9:8080 node-1 shop/nine"]


def test_a_slice_counts_by_its_label_and_namespace() -> None:
    ours = endpoint_slice(at("10.0.0.9"))
    others = [
        endpoint_slice(at("10.0.0.8"), of="other", name="web-2"),
        in_lab(endpoint_slice(at("10.0.0.7"))),
        endpoint_slice(at("10.0.0.6"), name="web").replace("kubernetes.io/service-name", "app"),
    ]
    assert endpoints(in_world(NINE, service(), ours, *others)) == ["10.0.0.9:8080 node-1 shop/nine"]


def test_slices_of_both_families_are_endpoints_of_one_port() -> None:
    found = served(
        NINE,
        service("clusterIPs: [10.96.0.1, 'fd00:96::1']"),
        endpoint_slice(at("fd00:10::9"), family="IPv6", name="web-6"),
        endpoint_slice(at("10.0.0.9"), name="web-4"),
    )
    assert endpoints(found) == ["10.0.0.9:8080 node-1 shop/nine", "fd00:10::9:8080 node-1 shop/nine"]


def test_slices_of_names_are_passed_over() -> None:
    """kube-proxy has no use for FQDN either; the pods are no substitute."""
    found = served(pod("a"), service(SELECTING), endpoint_slice(at("www.example.com"), family="FQDN"))
    assert endpoints(found) == []


def test_where_there_are_slices_pods_are_not_selected() -> None:
    found = served(pod("a"), pod("b"), service(SELECTING), endpoint_slice(at("10.0.0.2")))
    assert endpoints(found) == ["10.0.0.2:8080 node-1 shop/a"]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("{name: web, port: 8080}, {name: dns, port: 5353, protocol: UDP}", (["10.0.0.9:5353"], ["10.0.0.9:8080"])),
        ("{name: web, port: 8080}, {name: dns, port: 5353}", ([], ["10.0.0.9:8080"])),
        ("{port: 8080}", ([], [])),
        ("{name: web, port: null}", ([], [])),
        ("{name: web}, {name: dns, port: 53, protocol: UDP}", (["10.0.0.9:53"], [])),
        ("", ([], [])),
    ],
)  # fmt: skip
def test_ports_belong_together_by_name_and_protocol(ports: str, expected: tuple[list[str], ...]) -> None:
    """Their numbers do not matter; one without number is no port."""
    spec = "ports: [{name: dns, port: 53, protocol: UDP}, {name: web, port: 80}]"
    result = in_world(NINE, service(spec), endpoint_slice(at("10.0.0.9"), ports=ports))
    lines = tuple([line.partition(" ")[0] for line in endpoints(result, place)] for place in (0, 1))
    assert lines == expected
    reported = ["shop/web EndpointsReady False SlicePortMissing"]
    assert said(result) == (reported if [] in lines else [])


def test_a_port_that_no_slice_with_endpoints_has_is_said_with_what_they_have() -> None:
    """Kubernetes joins them by name and protocol, not by number."""
    spec = "ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}, {name: web, port: 8080}]"
    ports = "{port: 80}, {name: http, port: 80, protocol: UDP}, {name: web, port: 8080}, {name: dns}"
    texts = (NINE, service(spec))
    line = "".join((WORLD, *texts)).count("\n") + 1
    assert message(*texts, endpoint_slice(at("10.0.0.9"), ports=ports)) == (
        'no EndpointSlice has a port of the name and protocol of port UDP 53 "dns", TCP 80 "http"; expected one: '
        f'EndpointSlice "shop/web-1" (x.yaml:{line}) has TCP 80 without a name, UDP 80 "http", TCP 8080 "web", '
        'TCP without a number "dns"; until then the port has no endpoint'
    )


@pytest.mark.parametrize(
    "slices",
    [
        (endpoint_slice(ports="{name: other, port: 80}"),),
        (
            endpoint_slice(at("10.0.0.9"), ports="{name: http, port: 80}"),
            endpoint_slice(at("10.0.0.9"), name="web-2", ports=""),
        ),
        (
            endpoint_slice(name="web-2", ports="{name: http, port: 80}"),
            endpoint_slice(at("10.0.0.9"), ports=""),
        ),
    ],
)
def test_a_port_that_only_waits_for_endpoints_is_not_spoken_of(slices: tuple[str, ...]) -> None:
    """No slice with endpoints, or one that has the port."""
    served(NINE, service("ports: [{name: http, port: 80}]"), *slices)


def test_a_slice_of_no_service_is_said() -> None:
    """With the Services that there are in its Namespace."""
    typo = endpoint_slice(at("10.0.0.9"), of="wep")
    nameless = endpoint_slice(at("10.0.0.9"), name="web-2").replace("kubernetes.io/service-name", "app")
    result = in_world(NINE, service(), service(name="other", vip="10.96.0.2"), typo, in_lab(typo), nameless)
    assert [(each.name, each.type, each.reason) for each in result.conditions] == [
        (name, "InUse", "NoService") for name in ("lab/web-1", "shop/web-1", "shop/web-2")
    ]
    label, end = "kubernetes.io/service-name", "the EndpointSlice has no effect"
    unknown = f'label {label} is "wep", which is no Service of Namespace'
    assert [each.message for each in result.conditions] == [
        f'{unknown} "lab"; expected one that exists; there is none; {end}',
        f'{unknown} "shop"; expected "other" or "web"; {end}',
        f"has no label {label}; expected the name of its Service there; {end}",
    ]


def test_a_slice_of_a_service_that_is_only_not_served_is_not_spoken_of() -> None:
    """Headless ones have slices too; what is wrong with a refused one is said there."""
    headless, refused = service(vip="None"), service("ports: [{port: 0}]")
    assert said(in_world(NINE, headless, endpoint_slice(at("10.0.0.9")))) == []
    assert len(said(in_world(NINE, refused, endpoint_slice(at("10.0.0.9"))))) == 1
    broken = in_world(NINE, endpoint_slice(at("10.0.0.9")), "}")
    assert [each for each in broken.conditions if each.kind != "Pod"] == []


def test_the_nameless_port_belongs_to_the_nameless_port() -> None:
    found = served(NINE, service(), endpoint_slice(at("10.0.0.9"), ports="{name: '', port: 8080}"))
    assert endpoints(found) == ["10.0.0.9:8080 node-1 shop/nine"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ("", (True, True, False)),
        ("ready: null, serving: null, terminating: null", (True, True, False)),
        ("ready: false", (False, False, False)),
        ("ready: false, serving: true, terminating: true", (False, True, True)),
        ("ready: true, serving: false", (True, False, False)),
    ],
)
def test_what_a_slice_does_not_say_of_an_endpoint_is_as_kubernetes_takes_it(
    conditions: str, expected: tuple[bool, bool, bool]
) -> None:
    """Ready, unless it says no; serving as it is ready; not terminating."""
    found = served(NINE, service(), endpoint_slice(at("10.0.0.9", f"conditions: {{{conditions}}}")))
    assert state_of(found) == expected


@pytest.mark.parametrize("order", ["12", "21"])
def test_an_endpoint_that_is_listed_twice_is_one(order: str) -> None:
    """The ready one counts, in whichever slice it stands."""
    first, second = order
    found = served(
        NINE,
        service(),
        endpoint_slice(at("10.0.0.9", "conditions: {ready: false}"), name=f"web-{first}"),
        endpoint_slice(at("10.0.0.9"), name=f"web-{second}"),
    )
    assert state_of(found) == (True, True, False)


def test_hints_of_a_slice_are_kept() -> None:
    hints = "hints: {forZones: [{name: a}, {name: b}], forNodes: [{name: c}]}"
    found = served(NINE, service(), endpoint_slice(at("10.0.0.9", hints)))
    assert hints_of(found) == (("a", "b"), ("c",))


def test_a_slice_with_hints_gets_no_more() -> None:
    """Where ``trafficDistribution`` asks for them, whoever made the slice has seen to it."""
    hints = "nodeName: node-1, hints: {forZones: [{name: a}]}"
    found = served(
        NINE, pod("a"), service(NEAR), endpoint_slice(at("10.0.0.9", hints), at("10.0.0.2", "zone: b"))
    )
    assert [each.for_zones for each in found.ports[0].backends] == [(), ("a",)]


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("PreferClose", (("east",), ())),
        ("PreferSameZone", (("east",), ())),
        ("PreferSameNode", (("east",), ("node-1",))),
    ],
)
def test_traffic_distribution_gives_the_hints_that_kubernetes_would(
    distribution: str, expected: tuple[tuple[str, ...], ...]
) -> None:
    """From slices without hints as from pods."""
    spec = f"trafficDistribution: {distribution}, {SELECTING}"
    assert hints_of(served(pod("a"), service(spec))) == expected
    assert hints_of(served(pod("a"), service(spec), endpoint_slice(at("10.0.0.2")))) == expected


def test_without_traffic_distribution_there_are_no_hints() -> None:
    assert hints_of(served(pod("a"), service(SELECTING))) == ((), ())


def test_the_zone_that_a_slice_says_counts() -> None:
    """More than that of the node."""
    found = served(NINE, service(NEAR), endpoint_slice(at("10.0.0.9", "nodeName: node-1, zone: south")))
    assert hints_of(found) == (("south",), ())


@pytest.mark.parametrize(("distribution", "nodes"), [("PreferClose", ()), ("PreferSameNode", ("node-3",))])
def test_without_a_zone_there_is_none_to_hint_at(distribution: str, nodes: tuple[str, ...]) -> None:
    found = served(
        pod("a", "node-3"), service(f"trafficDistribution: {distribution}"), endpoint_slice(at("10.0.0.2"))
    )
    assert hints_of(found) == ((), nodes)


def test_a_pod_that_a_slice_names_is_the_endpoint() -> None:
    found = served(pod("a"), service(), endpoint_slice(at("10.0.0.2", of_pod("a"))))
    assert endpoints(found) == ["10.0.0.2:8080 node-1 shop/a"]


def test_a_pod_that_is_not_known_leaves_its_address() -> None:
    """Whoever has it now is the endpoint."""
    found = served(NINE, service(), endpoint_slice(at("10.0.0.9", of_pod("gone"))))
    assert endpoints(found) == ["10.0.0.9:8080 node-1 shop/nine"]


def test_an_address_that_its_pod_does_not_have_is_left_out() -> None:
    result = in_world(pod("a"), service(), endpoint_slice(at("10.0.0.9", of_pod("a")), at("10.0.0.2")))
    assert endpoints(result) == ["10.0.0.2:8080 node-1 shop/a"]
    assert (
        'has endpoints elsewhere: 10.0.0.9 that Pod "shop/a" does not have; expected'
        in result.conditions[0].message
    )


def test_endpoints_in_another_network_are_left_out_and_named_with_it() -> None:
    """By the pod that the slice names, else by their addresses."""
    to_blue = binding("to-blue", "network: blue, priority: 1, selector: {matchLabels: {app: web}}")
    result = in_world(
        to_blue,
        pod("a"),
        NINE.replace("app: web", "app: db"),
        service(),
        endpoint_slice(at("10.1.0.2", of_pod("a")), at("10.1.0.7"), at("172.16.0.1"), at("10.0.0.9")),
    )
    assert endpoints(result) == ["10.0.0.9:8080 node-1 shop/nine"]
    assert said(result) == ["shop/web EndpointsReady False ForeignEndpoints"]
    assert result.conditions[0].message == (
        'has endpoints elsewhere: Pod "shop/a" in Network "blue", 10.1.0.7 in Network "blue", 172.16.0.1 in no pod network; '
        'expected endpoints in the Service\'s own Network "red"; these are left out'
    )


def test_a_pod_of_another_network_with_an_address_of_this_one_is_foreign() -> None:
    """Where prefixes overlap, an address alone says too little."""
    overlapping = network("green", "type: l3, ipv4Subnet: {prefix: 10.0.0.0/16}")
    to_green = binding("to-green", "network: green, priority: 1, selector: {matchLabels: {app: web}}")
    result = in_world(overlapping, to_green, pod("a"), service(), endpoint_slice(at("10.0.0.2", of_pod("a"))))
    assert (endpoints(result), said(result)) == ([], ["shop/web EndpointsReady False ForeignEndpoints"])


def test_of_many_foreign_endpoints_a_few_are_named() -> None:
    """Each once, though it stands in two slices."""
    entries = [at(f"172.16.0.{number}") for number in range(1, 8)]
    text = message(service(), endpoint_slice(*entries), endpoint_slice(*entries, name="web-2"))
    assert text.count("in no pod network") == 5
    assert "172.16.0.5 in no pod network and 2 more; expected" in text


def test_endpoints_of_a_family_without_a_cluster_ip_are_not_used_and_that_is_said() -> None:
    result = in_world(
        NINE,
        service(),
        endpoint_slice(at("10.0.0.9")),
        endpoint_slice(at("fd00:10::9"), family="IPv6", name="web-6"),
    )
    assert endpoints(result) == ["10.0.0.9:8080 node-1 shop/nine"]
    assert said(result) == ["shop/web EndpointsReady False EndpointFamily"]
    assert result.conditions[0].message == (
        "has endpoints of IPv6 and only an IPv4 cluster IP (10.96.0.1); expected endpoints of IPv4; "
        "the others are not used"
    )


def test_an_empty_slice_of_another_family_is_nothing_to_speak_of() -> None:
    assert endpoints(served(service(), endpoint_slice(family="IPv6"))) == []


@pytest.mark.parametrize(
    ("text", "field", "found"),
    [
        (endpoint_slice(at("ten")), "endpoints[0].addresses[0]", '"ten" is not an IP address'),
        (endpoint_slice(at("fd00:10::9")), "endpoints[0].addresses[0]", '"fd00:10::9" is an IPv6 address'),
        (
            endpoint_slice(at("fe80::9%eth0"), family="IPv6"),
            "endpoints[0].addresses[0]",
            '"fe80::9%eth0" is not an IP address',
        ),
        (
            endpoint_slice(at("fd00:10::9"), at("10.0.0.9"), family="IPv6"),
            "endpoints[1].addresses[0]",
            '"10.0.0.9" is an IPv4 address',
        ),
        (endpoint_slice("{addresses: []}"), "endpoints[0].addresses", "[] has too few items"),
        (endpoint_slice("{nodeName: n}"), "endpoints[0].addresses", "is missing"),
        (endpoint_slice(ports="{port: 0}"), "ports[0].port", "0 is too small"),
        (endpoint_slice(ports="{port: 65536}"), "ports[0].port", "65536 is too large"),
    ],
)
def test_what_is_wrong_with_a_slice_is_said_by_its_field(text: str, field: str, found: str) -> None:
    (problem,) = parse(text, "x.yaml").problems
    assert (problem.field, problem.found) == (field, found)


def test_a_bad_slice_does_not_spoil_the_others() -> None:
    result = in_world(
        NINE, service(), endpoint_slice(at("ten")), endpoint_slice(at("10.0.0.9"), name="web-2")
    )
    assert endpoints(result) == ["10.0.0.9:8080 node-1 shop/nine"]
    assert [each.consequence for each in result.problems] == ["the object is left out"]
