"""Manifests and the allocations made so far -> the ClusterState, the allocations now, and what is wrong between objects.

Pure. An object that cannot be part of the state is left out and reported; the others stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from lace_sdn.kube import decode
from lace_sdn.kube.decode import in_order
from lace_sdn.kube.endpoint_report import some
from lace_sdn.kube.hosts import external_hosts_of, host_pods_of, nodes_of, report_apart, report_contests
from lace_sdn.kube.manifests import Identity, Manifest, Manifests
from lace_sdn.kube.probes import report_hidden, report_unknown_ports
from lace_sdn.kube.problems import Finding, one_of, quoted
from lace_sdn.kube.report import Report
from lace_sdn.kube.services import build_services
from lace_sdn.model.cluster import ClusterState, Condition
from lace_sdn.model.labels import labels
from lace_sdn.model.objects import NetworkType
from lace_sdn.policy.allocation import Bound, allocate, current_lease
from lace_sdn.policy.binding import Binder
from lace_sdn.policy.keys import assign_keys
from lace_sdn.policy.ledger import Ledger, ledger
from lace_sdn.policy.refusal import Reason, Refusal
from lace_sdn.policy.selection import selects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.kube.problems import Problem
    from lace_sdn.model.labels import NetworkSelector
    from lace_sdn.model.objects import Allocation, Namespace, Network, Pod, RoutingPolicy, ServicePolicy


@dataclass(frozen=True)
class Built:
    """``problems`` are those of the manifests and of the build, in order of place; ``conditions`` in order of object."""

    state: ClusterState
    ledger: Ledger
    problems: tuple[Problem, ...]
    conditions: tuple[Condition, ...]


def build(manifests: Manifests, known: Ledger) -> Built:
    """The state that the manifests ask for, given the allocations made so far."""
    report = Report(manifests)
    nodes = nodes_of(manifests, report)
    report_apart(nodes, report)
    names = {node.name for node in nodes}
    pods = tuple(filter(None, in_order(manifests, "Pod", decode.pod)))
    on_host = tuple(filter(None, in_order(manifests, "Pod", decode.pod_on_host)))
    pinned = tuple(_pinned(manifests, names, report))
    living = _living(manifests, pods, known)
    networks, keyed = _networks(manifests, living, report)
    report_contests(networks, report)
    namespaces = _namespaces(manifests, (*pods, *on_host))
    binder = Binder(
        in_order(manifests, "NetworkBindingPolicy", decode.binding_policy),
        {namespace.name: namespace.labels for namespace in namespaces},
        [network.name for network in networks],
    )
    placed = _placed(pods, names, report)
    allocated = allocate(networks, _bound(placed, networks, (binder, keyed), report), pinned, keyed)
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
        host_pods=host_pods_of(_placed(on_host, names, report)),
        external_hosts=external_hosts_of(manifests, nodes, report),
    )
    network_of = partial(_network_of_service, binder, without_services, report)
    services = build_services(manifests, without_services, pods, network_of, report)
    state = replace(without_services, services=services)
    _report_missing_networks(state, report)
    _report_only_external(state, report)
    return Built(state, allocated.ledger, report.all_problems(), report.all_conditions())


_SOME_LEFT_OUT = "pods on the nodes without a block are refused"


def _pinned(manifests: Manifests, nodes: set[str], report: Report) -> Iterator[Allocation]:
    """The blocks of Allocation objects on nodes that exist."""
    for manifest in sorted(manifests.of_kind("Allocation"), key=lambda each: each.identity):
        node = manifest.data["spec"]["node"]
        if node in nodes:
            yield from decode.allocations(manifest)
            continue
        finding = Finding(("spec", "node"), f"{quoted(node)} is no Node", one_of(nodes))
        report.problem(manifest.identity, finding, "the Allocation is left out")


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


def _namespaces(manifests: Manifests, pods: Iterable[Pod]) -> tuple[Namespace, ...]:
    """Those written, and those that pods and Services name: a namespace without manifest has no labels of its own."""
    named = {pod.namespace for pod in pods} | {
        each.identity.namespace for each in manifests.of_kind("Service")
    }
    found = {name: decode.namespace_of(name, {}) for name in named}
    found |= {each.name: each for each in in_order(manifests, "Namespace", decode.namespace)}
    return tuple(found[name] for name in sorted(found))


def _placed(pods: Iterable[Pod], nodes: set[str], report: Report) -> Iterator[Pod]:
    """Pods on a node that exists."""
    for pod in pods:
        identity = Identity("Pod", pod.namespace, pod.name)
        if pod.node in nodes:
            yield pod
        elif not pod.node:
            message = (
                "spec.nodeName is not set; expected the name of a Node; the Pod waits until it is scheduled"
            )
            report.not_ready(identity, "NotScheduled", message)
        else:
            finding = Finding(("spec", "nodeName"), f"{quoted(pod.node)} is no Node", one_of(nodes))
            report.problem(identity, finding, "the Pod is left out")


def _bound(
    pods: Iterable[Pod], networks: Iterable[Network], binding: tuple[Binder, Ledger], report: Report
) -> Iterator[Bound]:
    """Each pod with its network, where it has one that can take it."""
    by_name = {network.name: network for network in networks}
    for pod in pods:
        name = _network_of(pod, *binding, report)
        refusal = _unfit("Pod", pod.id, name, by_name)
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


def _network_of_service(
    binder: Binder, state: ClusterState, report: Report, service: Manifest
) -> Network | None:
    """The network that bindings name now; a Service moves at once."""
    identity = service.identity
    name = binder.network_of(identity.namespace, labels(service.data["metadata"].get("labels")))
    refusal = _unfit("Service", identity.full_name, name, state.network_by_name)
    if refusal:
        report.refused(refusal)
    return None if refusal or name is None else state.network_by_name[name]


def _unfit(kind: str, which: str, name: str | None, networks: Mapping[str, Network]) -> Refusal | None:
    """Why a pod or Service cannot be in the network of this name; None if it can."""
    if name is None:
        found = 'no NetworkBindingPolicy matches, and there is no Network "default"'
        return Refusal(kind, which, Reason.NO_NETWORK, found, "expected a binding to a Network")
    if name not in networks:
        found = f'is bound to Network "{name}", which does not exist or was left out'
        return Refusal(kind, which, Reason.NETWORK_MISSING, found, one_of(networks))
    if networks[name].is_external and kind == "Pod":
        found = f'is bound to Network "{name}", which is external'
        return Refusal(kind, which, Reason.NETWORK_EXTERNAL, found, "expected a network of type l3")
    if networks[name].type is NetworkType.L2:
        found = f'is bound to Network "{name}" of type l2, which this version does not program'
        return Refusal(kind, which, Reason.NETWORK_NOT_SUPPORTED, found, "expected a network of type l3")
    return None


def _report_missing_networks(state: ClusterState, report: Report) -> None:
    """Policies that name a network which does not exist relate nothing."""
    expected = one_of(state.network_by_name)
    for identity, field, name in _named_networks(state):
        if name not in state.network_by_name:
            refused = identity.kind == "NetworkBindingPolicy"
            now = (
                "the pods that it binds are refused, its services have no VIP"
                if refused
                else "it relates nothing until that exists"
            )
            report.not_ready(
                identity, Reason.NETWORK_MISSING, f"{field} {quoted(name)} is no Network; {expected}; {now}"
            )


def _report_only_external(state: ClusterState, report: Report) -> None:
    """Policies that select external networks on both sides, and no others, relate nothing."""
    for identity, policy in _relating(state):
        sources = _only_external(state, policy.source)
        destinations = _only_external(state, policy.destination) if sources else []
        if sources and destinations:
            message = (
                f"spec.srcSelector selects {some(sources)}, spec.destSelector selects {some(destinations)}, which are external; "
                "expected a network of type l3 on one side at least; it relates nothing, for two external Networks never are related"
            )
            report.not_ready(identity, Reason.ONLY_EXTERNAL, message)


def _only_external(state: ClusterState, selector: NetworkSelector) -> list[str]:
    """The networks that are selected, quoted, if they are external; none if one is not."""
    named = state.network_by_name.get(selector.name or "")
    found = []
    for each in state.networks if selector.name is None else filter(None, [named]):
        if selects(selector, each):
            if not each.is_external:
                return []
            found.append(quoted(each.name))
    return found


def _relating(state: ClusterState) -> Iterator[tuple[Identity, RoutingPolicy | ServicePolicy]]:
    """The policies that relate networks."""
    for routing in state.routing_policies:
        yield Identity("NetworkRoutingPolicy", "", routing.name), routing
    for service in state.service_policies:
        yield Identity("ServiceRoutingPolicy", "", service.name), service


def _named_networks(state: ClusterState) -> Iterator[tuple[Identity, str, str]]:
    """Every network that a policy names: the policy, the field, the name."""
    for identity, policy in _relating(state):
        for field, selector in (("srcSelector", policy.source), ("destSelector", policy.destination)):
            if selector.name is not None:
                yield identity, f"spec.{field}.name", selector.name
    for binding in state.binding_policies:
        yield Identity("NetworkBindingPolicy", "", binding.name), "spec.network", binding.network
