"""Manifests and the allocations made so far -> the ClusterState, the allocations now, and what is wrong between objects.

Pure. An object that cannot be part of the state is left out and reported; the others stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from lace_sdn.kube import decode
from lace_sdn.kube.backends import BackendFinder
from lace_sdn.kube.between import (
    belongs,
    namespaces_of,
    network_of_service,
    placed,
    report_missing_networks,
    report_only_external,
    unfit,
)
from lace_sdn.kube.decode import in_order
from lace_sdn.kube.gaps import Gap, gap_of, not_read, without_held
from lace_sdn.kube.hosts import external_hosts_of, host_pods_of, nodes_of, report_apart, report_contests
from lace_sdn.kube.probes import report_hidden, report_unknown_ports
from lace_sdn.kube.report import Report
from lace_sdn.kube.services import build_services
from lace_sdn.model.cluster import ClusterState, Condition
from lace_sdn.policy.allocation import Bound, allocate, current_lease
from lace_sdn.policy.binding import Binder
from lace_sdn.policy.keys import assign_keys
from lace_sdn.policy.ledger import Ledger, ledger
from lace_sdn.policy.recorded import only_recorded, with_recorded_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.kube.manifests import Manifests
    from lace_sdn.kube.problems import Problem
    from lace_sdn.model.objects import Allocation, Network, Pod


@dataclass(frozen=True)
class Built:
    """``problems`` are those of the manifests and of the build, in order of place; ``conditions`` in order of object."""

    state: ClusterState
    ledger: Ledger
    problems: tuple[Problem, ...]
    conditions: tuple[Condition, ...]
    held: str = ""
    """What waits until everything can be read, in words; "" for nothing."""


def build(
    manifests: Manifests, known: Ledger, *, is_frozen: bool = False, former: ClusterState | None = None
) -> Built:
    """The state that the manifests ask for, given the allocations made so far.

    ``former``: the last one of which everything could be read; what is not known now opens nothing that it did not (``lace_sdn.kube.gaps``).
    ``is_frozen``: nothing that ``known`` does not hold is in the state (``lace_sdn.policy.recorded``); the ledger of the answer holds it.
    """
    report = Report(manifests)
    nodes = nodes_of(manifests, report)
    report_apart(nodes, report)
    names = {node.name for node in nodes}
    pods = tuple(filter(None, in_order(manifests, "Pod", decode.pod)))
    on_host = tuple(filter(None, in_order(manifests, "Pod", decode.pod_on_host)))
    pinned = tuple(_pinned(manifests, names, report))
    living = _living(manifests, pods, known)
    networks, keyed = _networks(manifests, living, report)
    if is_frozen:
        networks = with_recorded_keys(networks, known.key_by_network)
    report_contests(networks, report)
    namespaces = namespaces_of(manifests, (*pods, *on_host))
    binder = Binder(
        in_order(manifests, "NetworkBindingPolicy", decode.binding_policy),
        {namespace.name: namespace.labels for namespace in namespaces},
        [network.name for network in networks],
    )
    gap = gap_of(manifests)
    bound = _bound(
        _not_held(placed(pods, names, report), gap, manifests, keyed, report),
        networks,
        (binder, keyed),
        report,
    )
    allocated = allocate(networks, bound, pinned, keyed)
    if is_frozen:
        allocated = only_recorded(allocated, known)
    report_unknown_ports(manifests, pods, report)
    report_hidden(allocated.hidden, report)
    for refusal in allocated.refusals:
        report.refused(refusal, _SOME_LEFT_OUT if refusal.kind == "Network" else "")
    without_services = ClusterState(
        nodes,
        namespaces,
        networks,
        in_order(manifests, "NetworkRoutingPolicy", decode.routing_policy),
        in_order(manifests, "ServiceRoutingPolicy", decode.service_policy),
        in_order(manifests, "NetworkBindingPolicy", decode.binding_policy),
        allocated.endpoints,
        tuple(block for block in allocated.blocks if block.node in names),
        host_pods=host_pods_of(placed(on_host, names, report)),
        external_hosts=external_hosts_of(manifests, nodes, report),
    )
    network_of = partial(network_of_service, binder, without_services, report)
    services = build_services(
        manifests, without_services, BackendFinder(manifests, pods, without_services), network_of, report
    )
    services = tuple(without_held(services, gap, former, report))
    state = replace(without_services, services=services, doubt=gap.doubt(former))
    report_missing_networks(state, report)
    report_only_external(state, report)
    return Built(state, allocated.ledger, report.all_problems(), report.all_conditions(), gap.said())


def _not_held(
    pods: Iterable[Pod], gap: Gap, manifests: Manifests, known: Ledger, report: Report
) -> Iterator[Pod]:
    """Those that have a network, or whose network does not hang on what cannot be read."""
    written = {each.identity.name for each in manifests.of_kind("Namespace")}
    for pod in pods:
        if current_lease(pod, known) is None and gap.holds_pod(pod, written):
            report.refused(not_read("Pod", pod.id))
        else:
            yield pod


_SOME_LEFT_OUT = "pods on the nodes without a block are refused"


def _pinned(manifests: Manifests, nodes: set[str], report: Report) -> Iterator[Allocation]:
    """The blocks of Allocation objects on nodes and of networks that exist."""
    networks = {each.identity.name for each in manifests.of_kind("Network")}
    for manifest in sorted(manifests.of_kind("Allocation"), key=lambda each: each.identity):
        if belongs(manifest, nodes, networks, report):
            yield from decode.allocations(manifest)


def _living(manifests: Manifests, pods: Iterable[Pod], known: Ledger) -> Ledger:
    """The allocations of pods that exist, or may exist in what could not be read, with what NetworkEndpoints say."""
    leases = {lease.pod: lease for lease in in_order(manifests, "NetworkEndpoint", decode.lease)}
    leases |= known.lease_by_pod
    everything = Ledger(known.keys, known.blocks, tuple(leases.values()))
    same = {pod.id: current_lease(pod, everything) is not None for pod in pods}
    unread = {each.full_name for each in manifests.refused if each.kind == "Pod"}
    is_unread = bool(manifests.unreadable)
    kept = [lease for name, lease in leases.items() if same.get(name, is_unread or name in unread)]
    return ledger(known.key_by_network, known.blocks, kept)


def _networks(manifests: Manifests, living: Ledger, report: Report) -> tuple[tuple[Network, ...], Ledger]:
    """The networks with their keys, and the ledger with these."""
    wanted = in_order(manifests, "Network", decode.network)
    keys, refusals = assign_keys(wanted, living.key_by_network, _carried(manifests, living))
    for refusal in refusals:
        kept = keys.get(refusal.name)
        report.refused(refusal, f"the Network keeps the key {kept}" if kept else "")
    networks = tuple(replace(each, key=keys[each.name]) for each in wanted if each.name in keys)
    return networks, ledger(keys, living.blocks, living.leases)


def _carried(manifests: Manifests, living: Ledger) -> set[str]:
    """Networks whose keys may not be given to others."""
    if manifests.unreadable:
        return set(living.key_by_network)
    refused = {each.name for each in manifests.refused if each.kind == "Network"}
    written = {str(each.data["spec"]["network"]) for each in manifests.of_kind("Allocation")}
    return refused | written | {lease.network for lease in living.leases}


def _bound(
    pods: Iterable[Pod], networks: Iterable[Network], binding: tuple[Binder, Ledger], report: Report
) -> Iterator[Bound]:
    """Each pod with its network, where it has one that can take it."""
    by_name = {network.name: network for network in networks}
    for pod in pods:
        name = _network_of(pod, *binding, report)
        refusal = unfit("Pod", pod.id, name, by_name)
        if refusal:
            report.refused(refusal)
        elif name:
            yield Bound(pod, name)


def _network_of(pod: Pod, binder: Binder, known: Ledger, report: Report) -> str | None:
    """The network that the pod runs in, else the one that bindings name now."""
    wanted = binder.network_of(pod.namespace, pod.labels)
    lease = current_lease(pod, known)
    if lease is None or lease.network == wanted:
        return wanted
    now = f'Network "{wanted}"' if wanted else "no Network"
    message = (
        f'runs in Network "{lease.network}", bindings now say {now}; it stays there until it is created anew'
    )
    report.binding_changed(pod.id, message)
    return lease.network
