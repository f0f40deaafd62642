"""From Service manifests to VIPs with ports, in one Network each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from service_texts import (
    BINDINGS,
    BLUE,
    NODES,
    RED,
    WORLD,
    binding,
    built,
    endpoint_slice,
    in_world,
    names,
    network,
    of_namespace,
    pod,
    said,
    served,
    service,
)

from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import keep_last_good, parse, read
from lace_sdn.kube.services import unsupported_protocols
from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Protocol, ServicePort
from lace_sdn.policy.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.model.objects import Service


def vips(found: Service) -> list[str]:
    return [str(each) for each in found.vips]


def older(created: str) -> str:
    return f", creationTimestamp: 2026-01-0{created}T00:00:00Z"


def test_a_service_is_its_cluster_ip_with_ports() -> None:
    """The protocol is TCP where none is said."""
    found = served(service("ports: [{port: 80}]"))
    assert (found.id, found.network, vips(found)) == ("shop/web", "red", ["10.96.0.1"])
    assert found.ports == (ServicePort(Protocol.TCP, 80),)
    assert (found.affinity_seconds, found.is_local) == (0, False)


def test_a_service_has_a_cluster_ip_of_each_family() -> None:
    """IPv4 first, whichever is the primary one."""
    found = served(service("clusterIPs: ['fd00:96::1', 10.96.0.1]", vip="'fd00:96::1'"))
    assert vips(found) == ["10.96.0.1", "fd00:96::1"]


def test_one_number_may_be_a_port_of_each_protocol() -> None:
    """Ports stand in order of number and protocol."""
    text = "ports: [{name: b, port: 53, protocol: UDP}, {name: c, port: 53, protocol: SCTP}, {name: d, port: 9}, {name: a, port: 53}]"
    assert [(each.number, each.protocol, each.name) for each in served(service(text)).ports] == [
        (9, Protocol.TCP, "d"),
        (53, Protocol.SCTP, "c"),
        (53, Protocol.TCP, "a"),
        (53, Protocol.UDP, "b"),
    ]


@pytest.mark.parametrize("spec", ["clusterIPs: [None]", "clusterIPs: [None], ports: []"])
def test_a_headless_service_is_none_of_ours(spec: str) -> None:
    result = in_world(service(spec, vip="None"))
    assert (names(result), said(result)) == ([], [])


def test_an_external_name_is_none_of_ours() -> None:
    result = in_world(service("type: ExternalName, externalName: example.com, ports: []", vip=""))
    assert (names(result), said(result)) == ([], [])


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("type: LoadBalancer", "LoadBalancerNotEnforced"),
        ("externalIPs: [192.0.2.80]", "ExternalIPsNotEnforced"),
    ],
)
def test_addresses_that_others_announce_are_not_served_yet_and_that_is_said(spec: str, reason: str) -> None:
    result = in_world(service(spec))
    assert (names(result), said(result)) == (["shop/web"], [f"shop/web Enforced False {reason}"])


@pytest.mark.parametrize("spec", ["", "clusterIP: ''", "clusterIPs: []"])
def test_a_service_without_a_cluster_ip_says_what_is_missing(spec: str) -> None:
    """A folder has no API server that would assign one."""
    result = in_world(service(spec, vip=""))
    assert (names(result), said(result)) == ([], ["shop/web Ready False NoClusterIP"])
    assert "spec.clusterIP is missing; expected" in result.conditions[0].message


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ("sessionAffinity: None", 0),
        ("sessionAffinity: ClientIP", 10_800),
        ("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: null}}", 10_800),
        ("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}", 1),
        ("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 65535}}", 65_535),
    ],
)
def test_clients_are_remembered_for_as_long_as_the_service_says(spec: str, seconds: int) -> None:
    assert served(service(spec)).affinity_seconds == seconds


def test_what_is_too_long_for_a_switch_is_cut_and_said() -> None:
    """Open vSwitch counts to 65,535."""
    result = in_world(
        service("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}")
    )
    assert result.state.services[0].affinity_seconds == 65_535
    assert said(result) == ["shop/web AffinityTimeout False TimeoutTooLong"]
    assert "timeoutSeconds 86400" in result.conditions[0].message
    assert "65535 s after its last new connection" in result.conditions[0].message


def test_a_service_may_be_for_the_node_of_its_client() -> None:
    assert served(service("internalTrafficPolicy: Local")).is_local
    assert not served(service("internalTrafficPolicy: Cluster")).is_local


def test_a_service_is_bound_by_its_own_labels_as_a_pod_is() -> None:
    """The binding of higher priority wins."""
    special = binding("special", "network: blue, priority: 1, selector: {matchLabels: {team: lab}}")
    result = in_world(special, service(more=", labels: {team: lab}"), service(name="other", vip="10.96.0.2"))
    assert [(each.id, each.network) for each in result.state.services] == [
        ("shop/other", "red"),
        ("shop/web", "blue"),
    ]


def test_an_unbound_service_belongs_to_default() -> None:
    default = network("default", "type: l3, ipv4Subnet: {prefix: 10.2.0.0/16}")
    (found,) = built(NODES, default, service()).state.services
    assert found.network == "default"


def test_a_service_whose_binding_changes_moves_at_once() -> None:
    """Unlike a pod, which stays where it runs, and is then an endpoint in another Network."""
    spec = service("selector: {app: web}")
    before = in_world(pod("a"), spec)
    to_blue = binding("shop", f"network: blue, {of_namespace('shop')}")
    after = built(NODES, RED, BLUE, to_blue, pod("a"), spec, known=before.ledger)
    assert [each.network for each in (*before.state.services, *after.state.services)] == ["red", "blue"]
    assert [each.network for each in after.state.endpoints] == ["red"]
    assert "shop/web EndpointsReady False ForeignEndpoints" in said(after)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ("", "NoNetwork"),
        (binding("b", "network: none"), "NetworkMissing"),
        (
            binding("b", "network: flat") + network("flat", "type: l2, ipv4Subnet: {prefix: 10.3.0.0/24}"),
            "NetworkNotSupported",
        ),
    ],
)
def test_a_service_that_can_be_in_no_network_has_no_vip(texts: str, reason: str) -> None:
    result = built(NODES, RED, texts, service())
    (condition,) = (each for each in result.conditions if each.kind == "Service")
    assert names(result) == []
    assert (condition.name, condition.type, condition.status, condition.reason) == (
        "shop/web",
        "Ready",
        False,
        reason,
    )
    assert condition.message.endswith("; the Service has no VIP")


def test_of_two_services_with_one_cluster_ip_the_older_keeps_it() -> None:
    """The other is told which one has it, and where that stands."""
    result = in_world(service(name="a", more=older("2")), service(name="b", more=older("1")))
    (problem,) = result.problems
    assert names(result) == ["shop/b"]
    assert (problem.subject, problem.field) == ('Service "shop/a"', "spec.clusterIP")
    assert problem.found.startswith('"10.96.0.1" is the address of Service "shop/b" (x.yaml:')


@pytest.mark.parametrize("age", ["", older("1")])
def test_of_two_services_of_one_age_the_first_by_name_keeps_the_cluster_ip(age: str) -> None:
    """In whatever order they are written."""
    assert names(in_world(service(name="b", more=age), service(name="a", more=age))) == ["shop/a"]


@pytest.mark.parametrize(
    ("ages", "why"),
    [
        ((older("1"), older("2")), "it is older, by creationTimestamp"),
        (("", older("1")), "it is older, for it has no creationTimestamp"),
        ((older("1"), older("1")), "both have one creationTimestamp, and its name sorts first"),
        (("", ""), "neither has a creationTimestamp, and its name sorts first"),
    ],
)
def test_who_loses_a_cluster_ip_is_told_why_the_other_keeps_it(ages: tuple[str, str], why: str) -> None:
    (problem,) = in_world(service(name="a", more=ages[0]), service(name="b", more=ages[1])).problems
    assert problem.subject == 'Service "shop/b"'
    assert problem.found.endswith(f", which keeps it: {why}")


def test_who_keeps_a_cluster_ip_is_told_who_else_claims_it() -> None:
    """It is served as it was without them."""
    texts = (service(name="a"), service(name="b"), service(name="c"))
    result = in_world(*texts)
    first = WORLD.count("\n") + 3
    second, third = (first + step * texts[0].count("\n") for step in (1, 2))
    (condition,) = result.conditions
    assert (condition.name, condition.status, condition.reason) == ("shop/a", False, "ClusterIPClaimed")
    assert condition.message == (
        f'its cluster IP is claimed too: 10.96.0.1 by Service "shop/b" (x.yaml:{second}), '
        f'10.96.0.1 by Service "shop/c" (x.yaml:{third}); '
        "expected an address of its own for each; this Service keeps it and is served as before"
    )
    assert result.state == in_world(texts[0]).state


def test_who_claims_the_address_of_a_node_or_pod_is_told_alone() -> None:
    assert in_world(service(vip="192.0.2.2"), service(name="b", vip="10.0.0.77")).conditions == ()


@pytest.mark.parametrize("value", ["envoy", "''"])
def test_a_service_that_another_proxy_serves_is_left_to_it(value: str) -> None:
    """kube-proxy does the same; its address is free, its slices are its own."""
    label = f", labels: {{service.kubernetes.io/service-proxy-name: {value}}}"
    entry = endpoint_slice("{addresses: [172.16.0.1]}", of="a")
    result = in_world(service(name="a", more=label), entry, service(name="b"))
    assert (names(result), said(result)) == (["shop/b"], [])


def test_a_service_that_loses_one_cluster_ip_holds_none() -> None:
    """Its other one is free for the next."""
    both = service("clusterIPs: [10.96.0.1, 'fd00:96::1']", name="b", more=older("2"))
    result = in_world(
        service(name="a", more=older("1")),
        both,
        service(name="c", vip="'fd00:96::1'", more=older("3")),
    )
    assert names(result) == ["shop/a", "shop/c"]
    assert [each.field for each in result.problems] == ["spec.clusterIPs[0]"]


def test_a_service_that_is_not_served_holds_no_cluster_ip() -> None:
    nowhere = binding("nowhere", "network: none, priority: 1, selector: {matchLabels: {lost: very}}")
    result = in_world(
        nowhere,
        service(name="a", more=f", labels: {{lost: very}}{older('1')}"),
        service(name="b", more=older("2")),
    )
    assert names(result) == ["shop/b"]


@pytest.mark.parametrize("kind", ["l3", "l2"])
@pytest.mark.parametrize(
    ("vip", "subnet", "prefix"),
    [
        ("10.5.200.1", "ipv4Subnet: {prefix: 10.5.128.0/17}", "10.5.128.0/17"),
        ("fd00:5::a", "ipv6Subnet: {prefix: 'fd00:5::/48'}", "fd00:5::/48"),
    ],
)
def test_a_cluster_ip_lies_in_no_pod_network(kind: str, vip: str, subnet: str, prefix: str) -> None:
    """Whether or not a pod has the address now."""
    result = in_world(network("other", f"type: {kind}, {subnet}"), service(vip=f"'{vip}'"))
    (problem,) = result.problems
    assert names(result) == []
    assert (problem.field, problem.found) == (
        "spec.clusterIP",
        f'"{vip}" lies in {prefix} of Network "other"',
    )


def test_a_cluster_ip_may_lie_in_an_external_network() -> None:
    result = in_world(network("world", "type: external, externalPrefixes: [0.0.0.0/0]"), service())
    assert (names(result), said(result)) == (["shop/web"], [])


def test_a_cluster_ip_is_no_address_of_a_node() -> None:
    (problem,) = in_world(service(vip="192.0.2.2")).problems
    assert (problem.field, problem.found) == (
        "spec.clusterIP",
        '"192.0.2.2" is the address of Node "node-2"',
    )


@pytest.mark.parametrize(
    ("spec", "field", "found"),
    [
        ("clusterIP: ten", "spec.clusterIP", '"ten" is not an IP address'),
        ("clusterIP: 'fd00::1%eth0'", "spec.clusterIP", '"fd00::1%eth0" is not an IP address'),
        ("clusterIP: 127.0.0.1", "spec.clusterIP", '"127.0.0.1" lies in 127.0.0.0/8 (loopback)'),
        (
            "clusterIPs: [10.96.0.1, 10.96.0.2]",
            "spec.clusterIPs[1]",
            '"10.96.0.2" is a second IPv4 address',
        ),
        (
            "clusterIPs: [10.96.0.1, 10.96.0.1]",
            "spec.clusterIPs[1]",
            '"10.96.0.1" is a second IPv4 address',
        ),
        (
            "clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2]",
            "spec.clusterIP",
            '"10.96.0.1" is not the first of clusterIPs',
        ),
        ("ports: []", "spec.ports", "is missing or empty"),
        ("ports: [{port: 0}]", "spec.ports[0].port", "0 is too small"),
        ("ports: [{port: 65536}]", "spec.ports[0].port", "65536 is too large"),
        ("ports: [{port: 80, protocol: ICMP}]", "spec.ports[0].protocol", '"ICMP" is unknown'),
        ("ports: [{port: 80, targetPort: 0}]", "spec.ports[0].targetPort", "0 is no port"),
        ("ports: [{port: 80, targetPort: 70000}]", "spec.ports[0].targetPort", "70000 is no port"),
        ("ports: [{port: 80, targetPort: '80'}]", "spec.ports[0].targetPort", '"80" is no name of a port'),
        ("ports: [{port: 80, targetPort: Web}]", "spec.ports[0].targetPort", '"Web" is no name of a port'),
        ("ports: [{port: 80, name: a}, {port: 80, name: b}]", "spec.ports[1]", "port TCP 80 is there twice"),
        ("ports: [{port: 80, name: a}, {port: 81, name: a}]", "spec.ports[1].name", '"a" is used twice'),
        ("ports: [{port: 80, name: a}, {port: 81}]", "spec.ports[1].name", "is missing"),
        (
            "sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            "0 is too small",
        ),
        ("trafficDistribution: PreferFar", "spec.trafficDistribution", '"PreferFar" is unknown'),
    ],
)
def test_what_is_wrong_with_a_service_is_said_by_its_field(spec: str, field: str, found: str) -> None:
    vip = "" if "clusterIP" in spec else "10.96.0.1"
    (problem,) = parse(service(spec, vip=vip), "x.yaml").problems
    assert (problem.field, problem.found) == (field, found)


def test_a_namespace_that_only_a_service_names_exists() -> None:
    """ServiceRoutingPolicies select Services by the labels of their Namespaces."""
    (found,) = built(WORLD, service()).state.namespaces
    assert (found.name, found.labels) == ("shop", (("kubernetes.io/metadata.name", "shop"),))


def test_ports_of_sctp_are_not_served_by_userspace_datapaths_and_that_is_said() -> None:
    """One condition a Service that has such ports; the pure function says it, who knows the datapath asks it."""
    ports = "ports: [{name: a, port: 80}, {name: b, port: 81, protocol: SCTP}, {name: c, port: 82, protocol: SCTP}]"
    state = in_world(service(ports), service(name="other", vip="10.96.0.2")).state
    (condition,) = unsupported_protocols(state)
    assert (condition.name, condition.type, condition.status, condition.reason) == (
        "shop/web",
        "UnsupportedProtocol",
        False,
        "UnsupportedProtocol",
    )
    assert "SCTP 81, 82 is not served" in condition.message
    assert unsupported_protocols(ClusterState()) == ()
    assert unsupported_protocols(in_world(service()).state) == ()


def test_a_service_and_a_slice_that_became_bad_stay_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WORLD + service() + endpoint_slice("{addresses: [10.0.0.9]}"))
    before = read(tmp_path)
    bad = service("ports: [{port: 0}]") + endpoint_slice("{addresses: [ten]}")
    (tmp_path / "a.yaml").write_text(WORLD + bad)
    after = keep_last_good(before, read(tmp_path))
    assert build(after, Ledger()).state == build(before, Ledger()).state
    assert {each.consequence for each in after.problems} == {"its last good state stays in force"}


def test_services_do_not_depend_on_the_order_of_manifests() -> None:
    texts = [
        NODES,
        RED,
        BLUE,
        BINDINGS,
        pod("a"),
        pod("b", "node-2"),
        service("selector: {app: web}"),
        service(name="same-vip"),
        service(name="other", vip="10.96.0.2"),
        endpoint_slice("{addresses: [10.0.0.7]}", "{addresses: [10.0.0.8]}", of="other", name="other-1"),
        endpoint_slice("{addresses: [10.0.0.8]}", "{addresses: [10.0.0.6]}", of="other", name="other-2"),
    ]
    forward, backward = built(*texts), built(*reversed(texts))
    assert forward.state == backward.state
    assert [each.subject for each in (*forward.problems, *backward.problems)] == ['Service "shop/web"'] * 2
