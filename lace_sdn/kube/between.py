"""What objects say about each other, whatever allocates: namespaces, places of pods, networks of Services, policies without effect. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.kube import decode
from lace_sdn.kube.decode import in_order
from lace_sdn.kube.endpoint_report import some
from lace_sdn.kube.manifests import Identity, Manifest, Manifests
from lace_sdn.kube.problems import Finding, one_of, quoted
from lace_sdn.model.labels import labels
from lace_sdn.model.objects import NetworkType
from lace_sdn.policy.recorded import not_recorded
from lace_sdn.policy.refusal import Reason, Refusal
from lace_sdn.policy.selection import selects

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from lace_sdn.kube.report import Report
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.labels import NetworkSelector
    from lace_sdn.model.objects import Namespace, Network, Pod, RoutingPolicy, ServicePolicy
    from lace_sdn.policy.binding import Binder


def namespaces_of(manifests: Manifests, pods: Iterable[Pod]) -> tuple[Namespace, ...]:
    """Those written, and those that pods and Services name: a namespace without manifest has no labels of its own."""
    named = {pod.namespace for pod in pods} | {
        each.identity.namespace for each in manifests.of_kind("Service")
    }
    found = {name: decode.namespace_of(name, {}) for name in named}
    found |= {each.name: each for each in in_order(manifests, "Namespace", decode.namespace)}
    return tuple(found[name] for name in sorted(found))


def placed(pods: Iterable[Pod], nodes: set[str], report: Report) -> Iterator[Pod]:
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


def network_of_service(
    binder: Binder, state: ClusterState, report: Report, service: Manifest
) -> Network | None:
    """The network that bindings name now; a Service moves at once."""
    identity = service.identity
    name = binder.network_of(identity.namespace, labels(service.data["metadata"].get("labels")))
    refusal = unfit("Service", identity.full_name, name, state.network_by_name)
    if refusal:
        report.refused(refusal)
    return None if refusal or name is None else state.network_by_name[name]


def unfit(kind: str, which: str, name: str | None, networks: Mapping[str, Network]) -> Refusal | None:
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
    if not networks[name].key:
        return not_recorded(kind, which, f'the key of its Network "{name}"')
    return None


def belongs(allocation: Manifest, nodes: Collection[str], networks: Collection[str], report: Report) -> bool:
    """Whether the node and the network of an Allocation exist. Reported if not: it has no effect."""
    spec = allocation.data["spec"]
    for field, kind, names in (("node", "Node", nodes), ("network", "Network", networks)):
        if spec[field] not in names:
            finding = Finding(("spec", field), f"{quoted(spec[field])} is no {kind}", one_of(names))
            report.problem(allocation.identity, finding, "the Allocation is left out")
            return False
    return True


def report_missing_networks(state: ClusterState, report: Report) -> None:
    """Policies that name a network which does not exist relate nothing."""
    expected = one_of(state.network_by_name)
    for identity, field, name in named_networks(state):
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


def report_only_external(state: ClusterState, report: Report) -> None:
    """Policies that select external networks on both sides, and no others, relate nothing."""
    for identity, policy in relating(state):
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


def relating(state: ClusterState) -> Iterator[tuple[Identity, RoutingPolicy | ServicePolicy]]:
    """The policies that relate networks."""
    for routing in state.routing_policies:
        yield Identity("NetworkRoutingPolicy", "", routing.name), routing
    for service in state.service_policies:
        yield Identity("ServiceRoutingPolicy", "", service.name), service


def named_networks(state: ClusterState) -> Iterator[tuple[Identity, str, str]]:
    """Every network that a policy names: the policy, the field, the name."""
    for identity, policy in relating(state):
        for field, selector in (("srcSelector", policy.source), ("destSelector", policy.destination)):
            if selector.name is not None:
                yield identity, f"spec.{field}.name", selector.name
    for binding in state.binding_policies:
        yield Identity("NetworkBindingPolicy", "", binding.name), "spec.network", binding.network
