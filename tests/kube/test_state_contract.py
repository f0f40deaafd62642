"""Whatever comes and goes in whatever order, the state keeps its promises: compilers look names up without asking."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from state_contract import check_state

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.manifests import parse
from lace_sdn.policy.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable

LACE = "apiVersion: lace-cni.io/v1alpha1\n"


def node(name: str, address: str) -> str:
    return (
        f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n"
        f"status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n---\n"
    )


def network(name: str, spec: str) -> str:
    return f"{LACE}kind: Network\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"


def binding(namespace: str, name: str) -> str:
    return (
        f"{LACE}kind: NetworkBindingPolicy\nmetadata: {{name: of-{namespace}}}\nspec: {{network: {name}, "
        f"namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}\n---\n"
    )


def pod(namespace: str, name: str, node: str, uid: str = "", address: str = "") -> str:
    status = f"status: {{podIPs: [{{ip: {address}}}]}}\n" if address else ""
    return (
        f"apiVersion: v1\nkind: Pod\n"
        f"metadata: {{name: {name}, namespace: {namespace}, uid: '{uid}', labels: {{app: web}}}}\n"
        f"spec: {{nodeName: {node}, containers: [{{livenessProbe: {{tcpSocket: {{port: 80}}}}}}]}}\n{status}---\n"
    )


def host(name: str, address: str, gateway: str) -> str:
    return (
        f"apiVersion: lab.lace-cni.io/v1alpha1\nkind: ExternalHost\nmetadata: {{name: {name}}}\n"
        f"spec: {{addresses: ['{address}']{gateway}}}\n---\n"
    )


def on_host(name: str, node: str) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: web}}}}\n"
        f"spec: {{hostNetwork: true, nodeName: {node}}}\n---\n"
    )


def namespace(name: str) -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n"


def allocation(name: str, node: str, block: str) -> str:
    return (
        f"{LACE}kind: Allocation\nmetadata: {{name: {name}-{node}}}\n"
        f"spec: {{network: {name}, node: {node}, ipv4Block: {block}}}\n---\n"
    )


def service(name: str, namespace: str, vips: str, more: str) -> str:
    port = ", nodePort: 30080" if "NodePort" in more else ""
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {{clusterIPs: [{vips}], ports: [{{port: 80{port}}}], {more}}}\n---\n"
    )


def endpoint_slice(name: str, namespace: str, address: str, reference: str) -> str:
    return (
        f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: {'IPv6' if ':' in address else 'IPv4'}\n"
        f"metadata: {{name: {name}, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}\n"
        f"ports: [{{port: 80}}]\nendpoints: [{{addresses: ['{address}'], targetRef: {{kind: Pod, name: {reference}}}}}]\n---\n"
    )


def built(texts: Iterable[str], known: Ledger) -> Built:
    return build(parse("".join(texts), "x.yaml"), known)


NODES = ("node-1", "node-2", "node-3")
FLAT = "type: l3, ipv4Subnet: {prefix: 10.0.0.0/23}"
WORLD = (
    *(node(name, f"192.0.2.{number}") for number, name in enumerate(NODES)),
    network("red", "type: l3, ipv4Subnet: {prefix: 10.0.0.0/22}, ipv6Subnet: {prefix: 'fd00::/62'}"),
    binding("shop", "red"),
    *(pod("shop", f"{name}-{number}", name) for name in NODES for number in range(2)),
    service("web", "shop", "10.96.0.1, 'fd00:96::1'", "selector: {app: web}"),
    service("picked", "shop", "10.96.0.2", ""),
    endpoint_slice("picked", "shop", "10.0.0.2", "node-1-0"),
)

SPECS = st.sampled_from(
    [
        FLAT,
        "type: l3, ipv4Subnet: {prefix: 10.0.0.0/22}, ipv6Subnet: {prefix: 'fd00::/62'}",
        "type: l3, ipv4Subnet: {prefix: 10.0.0.0/24, hostLocalPrefixLength: 30}",
        "type: l2, ipv4Subnet: {prefix: 10.0.0.0/24}",
        "type: external, externalPrefixes: [10.0.0.0/8]",
        "type: external, externalPrefixes: [192.0.2.0/24, 10.0.0.0/24, '::/0']",
        "type: l3",
    ]
)
ADDRESSES = ["", "", "10.0.0.2", "10.0.1.5", "172.16.0.1"]


def a_node(name: str) -> st.SearchStrategy[str]:
    addresses = [f"192.0.2.{NODES.index(name)}"] * 3 + ["192.0.2.0", "none"]
    return st.builds(node, st.just(name), st.sampled_from(addresses))


def a_pod(name: str) -> st.SearchStrategy[str]:
    uids, addresses = st.sampled_from(["", "", "1", "2"]), st.sampled_from(ADDRESSES)
    return st.builds(
        pod, st.sampled_from(["shop", "lab"]), st.just(name), st.sampled_from(NODES), uids, addresses
    )


def an_allocation(name: str) -> st.SearchStrategy[str]:
    blocks = st.sampled_from(["10.0.0.0/24", "10.0.1.0/24"])
    return st.builds(allocation, st.sampled_from(["red", "blue"]), st.just(name), blocks)


VIPS = ["10.96.0.1", "10.96.0.1", "10.96.0.2, 'fd00:96::1'", "'fd00:96::1'", "10.0.0.77", "192.0.2.0"]
IN_SLICES = ["10.0.0.2", "10.0.1.5", "fd00::2", "172.16.0.1", "192.0.2.1"]


def a_service(name: str) -> st.SearchStrategy[str]:
    spec = st.sampled_from(
        [
            "selector: {app: web}",
            "selector: {app: web}, type: NodePort",
            "trafficDistribution: PreferSameNode",
            "type: ExternalName",
        ]
    )
    return st.builds(
        service, st.just(name), st.sampled_from(["shop", "lab", "void"]), st.sampled_from(VIPS), spec
    )


def a_slice(name: str) -> st.SearchStrategy[str]:
    pods = st.sampled_from(["a", "b", "none"])
    return st.builds(
        endpoint_slice, st.just(name), st.sampled_from(["shop", "lab"]), st.sampled_from(IN_SLICES), pods
    )


def a_host(name: str) -> st.SearchStrategy[str]:
    gateways = st.sampled_from(["", "", ", gateway: node-2"])
    return st.builds(host, st.just(name), st.sampled_from(["192.0.2.80", "192.0.2.1", "10.96.0.1"]), gateways)


def often(slot: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(slot, slot, slot, st.just(""))


OBJECTS = (
    *(often(a_node(name)) for name in NODES),
    *(often(st.builds(network, st.just(name), SPECS)) for name in ("red", "blue")),
    *(often(st.builds(binding, st.just(name), st.sampled_from(["red", "blue"]))) for name in ("shop", "lab")),
    *(often(st.just(namespace(name))) for name in ("shop", "lab")),
    *(often(a_pod(name)) for name in ("a", "b", "c", "d")),
    *(st.one_of(st.just(""), an_allocation(name)) for name in NODES[:2]),
    *(often(a_service(name)) for name in ("one", "two", "three")),
    *(st.one_of(st.just(""), a_slice(name)) for name in ("one", "two")),
    *(st.one_of(st.just(""), a_host(name)) for name in ("client", "server")),
    st.one_of(st.just(""), st.builds(on_host, st.just("proxy"), st.sampled_from(NODES))),
    st.sampled_from(["", "", "", "}"]),
)
WORLDS = st.tuples(*OBJECTS)
"""Every object is there or not, good or bad; "}" is a file that cannot be read to its end."""


@settings(deadline=None, max_examples=150)
@given(st.lists(WORLDS, min_size=1, max_size=4))
def test_every_state_of_every_history_keeps_the_contract(history: list[tuple[str, ...]]) -> None:
    known = Ledger()
    for texts in history:
        found = built(texts, known)
        assert check_state(found.state) == []
        known = found.ledger


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sets(st.sampled_from(WORLD), min_size=1), min_size=1, max_size=4))
def test_nodes_and_networks_that_return_find_their_pods_as_they_were(missing: list[set[str]]) -> None:
    """While the pods stay listed, everything around them may come and go, and nothing is renumbered."""
    pods = {text for text in WORLD if "kind: Pod" in text}
    before = built(WORLD, Ledger())
    known = before.ledger
    for gone in missing:
        found = built([text for text in WORLD if text in pods or text not in gone], known)
        assert check_state(found.state) == []
        known = found.ledger
    assert built(WORLD, known).state == before.state


def test_a_node_removed_before_its_pods_leaves_no_block_in_the_state() -> None:
    """The order of Kubernetes: the Node goes first, its pods are listed until they are evicted."""
    before = built(WORLD, Ledger())
    without = built(WORLD[1:], before.ledger)
    assert check_state(without.state) == []
    assert {each.node for each in without.state.allocations} == {"node-2", "node-3"}
    assert without.ledger.blocks == before.ledger.blocks


def test_a_refused_node_leaves_no_block_in_the_state() -> None:
    """It takes the address of another node while its pods stay."""
    before = built(WORLD, Ledger())
    refused = built([*WORLD[:2], node("node-3", "192.0.2.0"), *WORLD[3:]], before.ledger)
    assert check_state(refused.state) == []
    assert {each.node for each in refused.state.allocations} == {"node-1", "node-2"}
    assert built(WORLD, refused.ledger).state == before.state


def test_what_a_state_must_not_be_is_seen() -> None:
    """The judge of this file does judge."""
    state = built(WORLD, Ledger()).state
    assert any(
        "node-1, which does not exist" in fault
        for fault in check_state(replace(state, nodes=state.nodes[1:]))
    )
    assert any("no network for pods" in fault for fault in check_state(replace(state, networks=())))
    twice = replace(
        state, services=tuple(replace(each, vips=state.services[0].vips) for each in state.services)
    )
    assert any("VIP 10.96.0.2 stands 2 times" in fault for fault in check_state(twice))
    inside = replace(state.services[0], vips=(state.endpoints[0].addresses[0],))
    assert any("lies in 10.0.0.0/22" in fault for fault in check_state(replace(state, services=(inside,))))
    assert any("is no pod of red" in fault for fault in check_state(replace(state, endpoints=())))
    assert any(
        "overlaps" in fault for fault in check_state(replace(state, allocations=state.allocations * 2))
    )
