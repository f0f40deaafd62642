"""From manifests and the allocations made so far to the state, and what is wrong between objects."""

from __future__ import annotations

from ipaddress import ip_address

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.manifests import Manifests, parse
from lace_sdn.model.labels import LabelSelector, NetworkSelector, Operator, Requirement
from lace_sdn.model.objects import Port, Protocol
from lace_sdn.policy.ledger import Ledger

NODE = """
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: Hostname, address: n}, {type: InternalIP, address: 192.0.2.1}]}
---
"""
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: shop}}\n---\n"


def network(name: str, prefix: str = "10.0.0.0/16") -> str:
    return (
        f"apiVersion: lace-cni.io/v1alpha1\nkind: Network\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: l3, ipv4Subnet: {{prefix: {prefix}}}}}\n---\n"
    )


def binding(name: str) -> str:
    return f"apiVersion: lace-cni.io/v1alpha1\nkind: NetworkBindingPolicy\nmetadata: {{name: {name}}}\nspec: {{network: {name}}}\n---\n"


def pod(name: str, extra: str = "", node: str = "node-1") -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop{extra}}}\n"
        f"spec: {{nodeName: {node}, containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}\n---\n"
    )


def manifests(*texts: str) -> Manifests:
    return parse("".join(texts), "x.yaml")


def built(*texts: str, known: Ledger | None = None) -> Built:
    return build(manifests(*texts), known or Ledger())


def networks_of(result: Built) -> dict[str, str]:
    return {endpoint.name: endpoint.network for endpoint in result.state.endpoints}


def conditions(result: Built) -> list[str]:
    return [f"{each.kind} {each.name} {each.type}={each.status} {each.reason}" for each in result.conditions]


def test_a_pod_becomes_an_endpoint_of_the_network_that_binds_it() -> None:
    result = built(NODE, NAMESPACE, network("red"), binding("red"), pod("a", ", labels: {tier: web}"))
    (endpoint,) = result.state.endpoints
    assert (endpoint.id, endpoint.node, endpoint.network) == ("shop/a", "node-1", "red")
    assert (endpoint.addresses, endpoint.mac) == ((ip_address("10.0.0.2"),), "02:00:0a:00:00:02")
    assert (endpoint.ports, endpoint.labels) == ((Port(Protocol.TCP, 80),), (("tier", "web"),))
    assert (result.problems, result.conditions) == ((), ())


def test_an_unbound_pod_belongs_to_default_or_is_refused() -> None:
    assert networks_of(built(NODE, network("default"), pod("a"))) == {"a": "default"}
    refused = built(NODE, network("red"), pod("a"))
    assert networks_of(refused) == {}
    assert [each.message for each in refused.conditions] == [
        (
            'no NetworkBindingPolicy matches, and there is no Network "default"; expected a binding to a Network; '
            "the Pod is refused: it gets no address and reaches nothing"
        )
    ]


def test_a_binding_to_a_missing_network_refuses_its_pods() -> None:
    """They do not fall into the default network."""
    result = built(NODE, network("default"), binding("blu"), pod("a"))
    assert networks_of(result) == {}
    assert conditions(result) == [
        "NetworkBindingPolicy blu Ready=False NetworkMissing",
        "Pod shop/a Ready=False NetworkMissing",
    ]


def test_a_pod_cannot_live_in_an_external_network() -> None:
    external = (
        "apiVersion: lace-cni.io/v1alpha1\nkind: Network\nmetadata: {name: world}\n"
        "spec: {type: external, externalPrefixes: [192.0.2.0/24]}\n---\n"
    )
    assert conditions(built(NODE, external, binding("world"), pod("a"))) == [
        "Pod shop/a Ready=False NetworkExternal"
    ]


def test_a_running_pod_keeps_its_network_when_bindings_change() -> None:
    before = built(NODE, network("red"), network("blue"), binding("red"), pod("a"))
    after = built(
        NODE, network("red"), network("blue"), binding("blue"), pod("a"), pod("b"), known=before.ledger
    )
    assert networks_of(after) == {"a": "red", "b": "blue"}
    assert [(each.type, each.status, each.message) for each in after.conditions] == [
        (
            "BindingChanged",
            True,
            'runs in Network "red", bindings now say Network "blue"; it stays there until it is created anew',
        )
    ]


def test_a_pod_created_anew_goes_where_bindings_say_now() -> None:
    before = built(NODE, network("red"), network("blue"), binding("red"), pod("a", ", uid: '1'"))
    changed = (NODE, network("red"), network("blue"), binding("blue"))
    by_uid = built(*changed, pod("a", ", uid: '2'"), known=before.ledger)
    by_ledger = built(*changed, pod("a", ", uid: '1'"), known=before.ledger.without_pods(["shop/a"]))
    assert networks_of(by_uid) == networks_of(by_ledger) == {"a": "blue"}
    assert by_uid.conditions == ()


def test_a_network_that_vanished_keeps_its_key_while_a_pod_runs_in_it() -> None:
    before = built(NODE, network("red"), binding("red"), pod("a"))
    gone = built(NODE, network("blue"), binding("red"), pod("a"), known=before.ledger)
    assert gone.ledger.key_by_network == {"red": 1, "blue": 2}
    assert networks_of(gone) == {}
    back = built(NODE, network("blue"), network("red"), binding("red"), pod("a"), known=gone.ledger)
    assert back.state.endpoints == before.state.endpoints
    forgotten = built(NODE, network("blue"), binding("red"), known=gone.ledger)
    assert forgotten.ledger == Ledger(keys=(("blue", 2),))


def test_nothing_is_released_while_a_file_cannot_be_read() -> None:
    """What the file holds is not known, so its pods may still run."""
    before = built(NODE, network("red"), binding("red"), pod("a"), pod("b"))
    broken = build(manifests(NODE, network("blue"), binding("red"), pod("b"), "}"), before.ledger)
    assert broken.ledger.lease_by_pod == before.ledger.lease_by_pod
    assert broken.ledger.key_by_network == {"red": 1, "blue": 2}


def test_a_bad_pod_keeps_its_address() -> None:
    before = built(NODE, network("red"), binding("red"), pod("a"))
    bad = pod("a").replace("nodeName: node-1", "nodeName: [x]")
    during = built(NODE, network("red"), binding("red"), bad, pod("b"), known=before.ledger)
    after = built(NODE, network("red"), binding("red"), pod("a"), pod("b"), known=during.ledger)
    assert [str(each.addresses[0]) for each in after.state.endpoints] == ["10.0.0.2", "10.0.0.3"]


def test_a_node_that_vanished_finds_its_pods_as_they_were() -> None:
    before = built(NODE, network("red"), binding("red"), pod("a"))
    without = built(network("red"), binding("red"), pod("a"), known=before.ledger)
    assert [str(problem) for problem in without.problems] == [
        (
            'x.yaml:14: Pod "shop/a": spec.nodeName "node-1" is no Node; expected one that exists; there is none; '
            "the Pod is left out"
        )
    ]
    assert built(NODE, network("red"), binding("red"), pod("a"), known=without.ledger).state == before.state


def test_a_network_endpoint_says_what_its_pod_was_given() -> None:
    """Where there is no ledger, as on a fresh machine of a running cluster."""
    endpoint = (
        "apiVersion: lace-cni.io/v1alpha1\nkind: NetworkEndpoint\nmetadata: {name: b, namespace: shop}\n"
        "spec: {network: red, node: node-1, addresses: [10.0.0.9]}\n---\n"
    )
    result = built(NODE, network("red"), network("blue"), binding("blue"), pod("a"), pod("b"), endpoint)
    assert networks_of(result) == {"a": "blue", "b": "red"}
    assert str(result.state.endpoint_by_id["shop/b"].addresses[0]) == "10.0.0.9"


def test_pods_of_the_host_and_ended_ones_are_none_of_ours() -> None:
    host = pod("a").replace("containers:", "hostNetwork: true, containers:")
    ended = pod("b").replace("\n---", "\nstatus: {phase: Succeeded, podIPs: [{ip: 10.0.0.2}]}\n---")
    assert built(NODE, network("red"), binding("red"), host, ended).state.endpoints == ()


def test_a_pod_without_a_node_waits() -> None:
    assert conditions(built(NODE, network("red"), binding("red"), pod("a", node="''"))) == [
        "Pod shop/a Ready=False NotScheduled"
    ]


def test_namespaces_have_the_label_of_their_name() -> None:
    """As in Kubernetes; one that only a pod names exists too."""
    result = built(NODE, NAMESPACE, network("red"), binding("red"), pod("a"), pod("b").replace("shop", "lab"))
    assert [(each.name, each.labels) for each in result.state.namespaces] == [
        ("lab", (("kubernetes.io/metadata.name", "lab"),)),
        ("shop", (("kubernetes.io/metadata.name", "shop"), ("team", "shop"))),
    ]


def test_selectors_are_decoded_with_all_their_terms() -> None:
    text = """
apiVersion: lace-cni.io/v1alpha1
kind: NetworkRoutingPolicy
metadata: {name: p, creationTimestamp: 2026-01-01T00:00:00Z}
spec:
  srcSelector:
    matchLabels: {a: "1"}
    matchExpressions: [{key: b, operator: NotIn, values: [x, y]}, {key: c, operator: Exists}]
  destSelector: {name: red}
---
"""
    (policy,) = built(network("red"), text).state.routing_policies
    assert policy.source.by_labels.requirements == (
        Requirement("a", Operator.IN, ("1",)),
        Requirement("b", Operator.NOT_IN, ("x", "y")),
        Requirement("c", Operator.EXISTS),
    )
    assert policy.destination == NetworkSelector("red", LabelSelector())
    assert policy.created == "2026-01-01T00:00:00Z"


def test_a_policy_that_names_a_missing_network_says_so() -> None:
    text = (
        "apiVersion: lace-cni.io/v1alpha1\nkind: NetworkRoutingPolicy\nmetadata: {name: p}\n"
        "spec: {srcSelector: {name: red}, destSelector: {name: rde}}\n"
    )
    assert [each.message for each in built(network("red"), text).conditions] == [
        'spec.destSelector.name "rde" is no Network; expected "red"; it relates nothing until that exists'
    ]


def test_the_order_of_manifests_does_not_matter() -> None:
    texts = [NODE, NAMESPACE, network("red"), network("blue"), binding("red"), pod("b"), pod("a")]
    assert built(*texts).state == built(*reversed(texts)).state


def test_building_again_changes_nothing() -> None:
    texts = [NODE, network("red"), binding("red"), pod("b"), pod("a")]
    first = built(*texts)
    assert built(*texts, known=Ledger.from_json(first.ledger.to_json())) == first


def test_a_pod_may_carry_one_address_in_its_older_field() -> None:
    """``status.podIP`` is what ``status.podIPs`` was before dual stack."""
    carried = pod("a").replace("\n---", "\nstatus: {podIP: 10.0.3.9}\n---")
    (endpoint,) = built(NODE, network("red"), binding("red"), carried).state.endpoints
    assert [str(address) for address in endpoint.addresses] == ["10.0.3.9"]
    outside = carried.replace("10.0.3.9", "10.9.3.9")
    (problem,) = built(NODE, network("red"), binding("red"), outside).problems
    assert (problem.field, problem.found) == ("status.podIP", '"10.9.3.9" lies outside Network "red"')


def test_a_service_policy_is_decoded() -> None:
    text = (
        "apiVersion: lace-cni.io/v1alpha1\nkind: ServiceRoutingPolicy\nmetadata: {name: p}\n"
        "spec: {srcSelector: {name: red}, destSelector: {}, namespaceSelector: {matchLabels: {team: shop}}}\n"
    )
    (policy,) = built(network("red"), text).state.service_policies
    assert (policy.source.name, policy.destination) == ("red", NetworkSelector())
    assert policy.namespaces.requirements == (Requirement("team", Operator.IN, ("shop",)),)


def test_ports_of_every_protocol_are_known() -> None:
    """Services may name those of SCTP too; nothing probes them."""
    sctp = pod("a").replace(
        "{containerPort: 80}", "{containerPort: 80, protocol: UDP}, {containerPort: 9, protocol: SCTP}"
    )
    (endpoint,) = built(NODE, network("red"), binding("red"), sctp).state.endpoints
    assert endpoint.ports == (Port(Protocol.UDP, 80), Port(Protocol.SCTP, 9))
