"""Objects of an API server -> the ClusterState that they say. Nothing is allocated here: keys, blocks and addresses stand in objects.

Pure. The operator and tools see the whole cluster, a node its own pods only: what its switch holds is the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from lace_sdn.kube import decode
from lace_sdn.kube.between import (
    belongs,
    namespaces_of,
    network_of_service,
    placed,
    report_missing_networks,
    report_only_external,
    unfit,
)
from lace_sdn.kube.build import Built
from lace_sdn.kube.decode import in_order
from lace_sdn.kube.gaps import gap_of, without_held
from lace_sdn.kube.hosts import external_hosts_of, host_pods_of, nodes_of, report_apart, report_contests
from lace_sdn.kube.manifests import Identity, Manifest, Manifests
from lace_sdn.kube.probes import report_hidden, report_unknown_ports
from lace_sdn.kube.problems import Finding, Path
from lace_sdn.kube.report import Report
from lace_sdn.kube.seen_backends import Memberships, SeenBackends, memberships_of
from lace_sdn.kube.services import build_services
from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Endpoint, NetworkType
from lace_sdn.policy.allocation import mac_of
from lace_sdn.policy.binding import Binder
from lace_sdn.policy.blocks import SubnetBook
from lace_sdn.policy.ledger import Ledger, ledger
from lace_sdn.policy.probes import reachable
from lace_sdn.policy.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.objects import Address, Allocation, Network, Pod

Data = dict[str, Any]

Books = dict[tuple[str, int], SubnetBook]
"""By network and IP version."""


def observe(manifests: Manifests, former: ClusterState | None = None) -> Built:
    """The state that the objects say. Its ledger is empty: there is nothing to remember. ``former``: as for ``build``."""
    report = Report(manifests)
    nodes = nodes_of(manifests, report)
    report_apart(nodes, report)
    names = {node.name for node in nodes}
    pods = tuple(filter(None, in_order(manifests, "Pod", decode.pod)))
    on_host = tuple(filter(None, in_order(manifests, "Pod", decode.pod_on_host)))
    networks = _networks(manifests, report)
    report_contests(networks, report)
    namespaces = namespaces_of(manifests, (*pods, *on_host))
    bindings = in_order(manifests, "NetworkBindingPolicy", decode.binding_policy)
    every = [each.identity.name for each in manifests.of_kind("Network")]
    binder = Binder(bindings, {each.name: each.labels for each in namespaces}, every)
    books = _books(networks)
    allocations = _allocations(manifests, names, books, report)
    present = tuple(placed(pods, names, report))
    endpoints = _endpoints(manifests, present, books, report)
    _report_pods(present, endpoints, (binder, networks), report)
    shown, hidden = reachable(endpoints.values(), {pod.id: pod.created for pod in present})
    report_unknown_ports(manifests, pods, report)
    report_hidden(hidden, report)
    without_services = ClusterState(
        nodes,
        namespaces,
        networks,
        in_order(manifests, "NetworkRoutingPolicy", decode.routing_policy),
        in_order(manifests, "ServiceRoutingPolicy", decode.service_policy),
        bindings,
        shown,
        allocations,
        host_pods=host_pods_of(placed(on_host, names, report)),
        external_hosts=external_hosts_of(manifests, nodes, report),
    )
    uids = {pod.id: pod.uid for pod in present}
    memberships: Memberships = memberships_of(manifests)
    finder = SeenBackends(manifests, without_services, uids, memberships)
    network_of = partial(network_of_service, binder, without_services, report)
    services = build_services(manifests, without_services, finder, network_of, report)
    gap = gap_of(manifests)
    services = tuple(without_held(services, gap, former, report))
    state = replace(without_services, services=services, doubt=gap.doubt(former))
    report_missing_networks(state, report)
    report_only_external(state, report)
    return Built(state, Ledger(), report.all_problems(), report.all_conditions(), gap.said())


def owner_uid(data: Mapping[str, Any]) -> str:
    """The uid of the pod that a NetworkEndpoint belongs to; "" if to none."""
    owners: Iterable[Data] = data["metadata"].get("ownerReferences") or ()
    return next((str(each["uid"]) for each in owners if each.get("kind") == "Pod"), "")


def _networks(manifests: Manifests, report: Report) -> tuple[Network, ...]:
    """Those that have a key. The operator gives no key twice; if somebody else did, the older Network keeps it."""
    keyed = [each for each in in_order(manifests, "Network", decode.network) if each.key]
    owners: dict[int, str] = {}
    for network in sorted(keyed, key=lambda each: (each.created, each.name)):
        owner = owners.setdefault(network.key, network.name)
        if owner != network.name:
            found = f'{network.key} is the key of Network "{owner}"'
            refusal = Refusal("Network", network.name, Reason.KEY_IN_USE, found, "expected a key of its own")
            report.refused(refusal)
    return tuple(each for each in keyed if owners[each.key] == each.name)


def _books(networks: Iterable[Network]) -> Books:
    return {
        (network.name, subnet.prefix.version): SubnetBook(subnet, network.type is NetworkType.L2)
        for network in networks
        for subnet in network.subnets
    }


def _allocations(
    manifests: Manifests, nodes: set[str], books: Books, report: Report
) -> tuple[Allocation, ...]:
    """Blocks of nodes that exist, each a block of its network and of one node."""
    found = []
    networks = {each.identity.name for each in manifests.of_kind("Network")}
    for manifest in sorted(manifests.of_kind("Allocation"), key=lambda each: each.identity.order):
        is_whole = belongs(manifest, nodes, networks, report)
        for each in manifest.decoded(_blocks):
            book = books.get((each.network, each.block.version))
            if book is None or book.is_flat or not _is_block(each, book):
                if any(network == each.network for network, _ in books):
                    _refuse(manifest, each, f'is no block of Network "{each.network}"', report)
                continue
            owner = book.claim(book.block_of(each.block.network_address), each.node)
            if owner != each.node:
                _refuse(manifest, each, f'is the block of Node "{owner}"', report)
            elif is_whole:
                found.append(each)
    return ledger({}, found, ()).blocks


def _blocks(manifest: Manifest) -> tuple[Allocation, ...]:
    return tuple(decode.allocations(manifest))


def _is_block(allocation: Allocation, book: SubnetBook) -> bool:
    block = allocation.block
    return block.prefixlen == book.length and block.network_address in book.subnet.prefix


def _refuse(manifest: Manifest, allocation: Allocation, what: str, report: Report) -> None:
    path = ("spec", f"ipv{allocation.block.version}Block")
    finding = Finding(path, f'"{allocation.block}" {what}', "expected a free block of its prefix")
    report.problem(manifest.identity, finding, "the block is left out")


def _endpoints(
    manifests: Manifests, pods: Iterable[Pod], books: Books, report: Report
) -> dict[str, Endpoint]:
    """Pods that have their NetworkEndpoint, by ``namespace/name``: this very pod's, with addresses of its node's blocks."""
    by_id = {pod.id: pod for pod in pods}
    found: dict[str, Endpoint] = {}
    for manifest in sorted(manifests.of_kind("NetworkEndpoint"), key=lambda each: each.identity.order):
        pod = by_id.get(manifest.identity.full_name)
        lease = manifest.decoded(decode.lease)
        if pod is None or not pod.uid or owner_uid(manifest.data) != pod.uid or lease.node != pod.node:
            continue
        wrong = next(filter(None, (_fault(pod, lease.network, each, books) for each in lease.addresses)), "")
        if wrong:
            finding = Finding(("spec", "addresses"), wrong, "expected addresses of its node's block")
            report.problem(manifest.identity, finding, "the pod reaches nothing")
            continue
        for address in lease.addresses:
            books[lease.network, address.version].use(address, pod.id)
        found[pod.id] = Endpoint(
            pod.namespace,
            pod.name,
            pod.node,
            lease.network,
            lease.addresses,
            mac_of(lease.addresses),
            pod.ports,
            pod.labels,
            pod.probes,
        )
    return found


def _fault(pod: Pod, network: str, address: Address, books: Books) -> str:
    book = books.get((network, address.version))
    if book is None or address not in book.subnet.prefix:
        return f'"{address}" lies outside Network "{network}"'
    if not book.is_flat and book.node_of(book.block_of(address)) != pod.node:
        return f'"{address}" lies in no block of Node "{pod.node}" in Network "{network}"'
    user = book.user_of(address)
    return f'"{address}" is the address of Pod "{user}"' if user not in (None, pod.id) else ""


def _report_pods(
    pods: Iterable[Pod],
    endpoints: Mapping[str, Endpoint],
    binding: tuple[Binder, Iterable[Network]],
    report: Report,
) -> None:
    """Pods that no Network takes, and those that bindings would put elsewhere now."""
    binder, networks = binding
    by_name = {network.name: network for network in networks}
    for pod in pods:
        wanted = binder.network_of(pod.namespace, pod.labels)
        its = endpoints.get(pod.id)
        if its is None:
            refusal = unfit("Pod", pod.id, wanted, by_name)
            if refusal:
                report.refused(refusal)
        elif its.network != wanted:
            now = f'Network "{wanted}"' if wanted else "no Network"
            message = f'runs in Network "{its.network}", bindings now say {now}; it stays there until it is created anew'
            report.binding_changed(pod.id, message)


_NO_LINES: Mapping[Path, int] = {}
"""Objects of an API server have no file; one for all, as they are many."""


def manifests_of(bodies: Iterable[Data]) -> Manifests:
    """Objects as an API server has them. It has validated them; one that cannot be read all the same is left out."""
    return Manifests(objects=tuple(filter(None, map(manifest_of, bodies))))


def manifest_of(body: Data) -> Manifest | None:
    """One object; None for a Node or Pod that says too little yet."""
    metadata = body["metadata"]
    identity = Identity(body["kind"], metadata.get("namespace") or "", metadata["name"])
    return Manifest(identity, body, "", _NO_LINES) if _is_readable(body) else None


def _is_readable(body: Data) -> bool:
    """What core kinds may lack for a time: a Node that its kubelet has not described, a Pod's broken addresses."""
    if body["kind"] == "Node":
        entries = (body.get("status") or {}).get("addresses") or ()
        texts = [entry["address"] for entry in entries if entry.get("type") == "InternalIP"]
        return bool(texts) and all(map(_is_address, texts))
    if body["kind"] == "Pod":
        entries = (body.get("status") or {}).get("podIPs") or ()
        return all(_is_address(entry.get("ip", "")) for entry in entries)
    return True


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
