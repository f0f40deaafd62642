"""ServiceRoutingPolicies resolved: which Networks may use which Services' VIPs, and which share a service class."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.model.cluster import NO_DOUBT
from lace_sdn.policy.numbers import numbers
from lace_sdn.policy.overlap import conflicts
from lace_sdn.policy.relations import resolve
from lace_sdn.policy.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.labels import Labels
    from lace_sdn.model.objects import Network, Service, ServicePolicy, ServicePort
    from lace_sdn.policy.relations import Relations


class Admission(NamedTuple):
    """The services of a network: all of them, or (``namespace`` not "") those of one Namespace."""

    network: str
    namespace: str = ""


@dataclass(frozen=True)
class ServiceClass:
    """Networks that ServiceRoutingPolicies admit to the same services. ``number``: the smallest network key among them."""

    number: int
    members: tuple[str, ...]
    admitted: Mapping[Admission, str]
    """-> the oldest policy that says so for the smallest-keyed member."""

    def admits(self, service: Service) -> bool:
        """Whether members may use the VIPs of ``service`` by these policies alone."""
        own = Admission(service.network)
        return own in self.admitted or own._replace(namespace=service.namespace) in self.admitted


@dataclass(frozen=True)
class ServiceAccess:
    """Who may use which VIPs. ``port_ids``: (service, protocol, port) -> its number, the same on every node.

    ``namespace_ids``: Namespace -> number, of those that have services. ``overlaps``: network -> those that share addresses with it.
    """

    relations: Relations
    classes: tuple[ServiceClass, ...]
    port_ids: Mapping[str, int]
    namespace_ids: Mapping[str, int]
    overlaps: Mapping[str, Collection[str]]

    @cached_property
    def class_of(self) -> Mapping[str, ServiceClass]:
        """By network; networks that no ServiceRoutingPolicy admits anywhere have none."""
        return {name: each for each in self.classes for name in each.members}

    def may_use(self, network: str, service: Service) -> bool:
        """By being its network, by a NetworkRoutingPolicy to that, or by a ServiceRoutingPolicy."""
        if self.relations.is_related(network, service.network):
            return True
        its = self.class_of.get(network)
        return its is not None and its.admits(service)

    def port_id(self, service: Service, port: ServicePort) -> int:
        return self.port_ids[port_name(service, port)]


def port_name(service: Service, port: ServicePort) -> str:
    """What names a Service's port in a cluster: ``NAMESPACE/NAME TCP 80``."""
    return f"{service.id} {port.protocol} {port.number}"


def resolve_services(state: ClusterState, relations: Relations) -> ServiceAccess:
    """A pure function of ``state``, whose relations are ``relations``."""
    return ServiceAccess(
        relations,
        _classes(state),
        numbers(port_name(service, port) for service in state.services for port in service.ports),
        numbers(service.namespace for service in state.services),
        conflicts(state.networks),
    )


def _classes(state: ClusterState) -> tuple[ServiceClass, ...]:
    admitted = _admitted(state)
    groups: dict[frozenset[Admission], list[str]] = defaultdict(list)
    for name, its in admitted.items():
        if its:
            groups[frozenset(its)].append(name)
    networks = state.network_by_name
    found = []
    for members in groups.values():
        first = min(members, key=lambda name: networks[name].key)
        found.append(ServiceClass(networks[first].key, tuple(sorted(members)), admitted[first]))
    return tuple(sorted(found, key=lambda each: each.number))


def _admitted(state: ClusterState) -> dict[str, dict[Admission, str]]:
    """Client network -> what it is admitted to -> the oldest policy; nothing twice."""
    namespaces_of: dict[str, set[str]] = defaultdict(set)
    for service in state.services:
        namespaces_of[service.network].add(service.namespace)
    found: dict[str, dict[Admission, str]] = defaultdict(dict)
    networks, selection = state.network_by_name, Selection(state.networks)
    labels = {each.name: each.labels for each in state.namespaces}
    for policy in sorted(state.service_policies, key=lambda each: (each.created, each.name)):
        destinations = selection.of(policy.destination)
        admissions = tuple(_admissions(policy, destinations, namespaces_of, labels))
        for source in selection.of(policy.source) if admissions else ():
            # Of a network without a key no packet can be told.
            for admission in admissions if source.key else ():
                # Two external networks are never related.
                if not (source.is_external and networks[admission.network].is_external):
                    found[source.name].setdefault(admission, policy.name)
    return {name: _without_parts(its) for name, its in _without_doubt(state, found, namespaces_of).items()}


def _without_doubt(
    state: ClusterState, found: Mapping[str, dict[Admission, str]], namespaces_of: Mapping[str, set[str]]
) -> Mapping[str, dict[Admission, str]]:
    """Without what something unread may forbid, and was not there before, by whatever policy."""
    if state.doubt == NO_DOUBT:
        return found
    networks, former = state.network_by_name, state.doubt.former
    reach = resolve(former).reach if former else {}
    admitted = _admitted(replace(former, services=state.services)) if former else {}
    kept: dict[str, dict[Admission, str]] = defaultdict(dict)
    for name, its in found.items():
        for each, policy in its.items():
            if not state.doubt.is_about(networks[name], networks[each.network], by_services=True):
                kept[name][each] = policy
                continue
            known = each.network in reach.get(name, {}) or Admission(each.network) in admitted.get(name, {})
            for namespace in (each.namespace,) if each.namespace else sorted(namespaces_of[each.network]):
                part = Admission(each.network, namespace)
                is_old = former is not None and namespace in former.namespace_by_name
                if is_old and (known or part in admitted.get(name, {})):
                    kept[name].setdefault(part, policy)
    return kept


def _admissions(
    policy: ServicePolicy,
    destinations: Iterable[Network],
    namespaces_of: Mapping[str, set[str]],
    labels: Mapping[str, Labels],
) -> Iterator[Admission]:
    """What the policy admits its sources to, as far as there are services. ``labels``: of Namespaces."""
    for network in destinations:
        there = sorted(namespaces_of.get(network.name, ()))
        if there and not policy.namespaces.requirements:
            yield Admission(network.name)
            continue
        for namespace in there:
            if policy.namespaces.matches(labels.get(namespace, ())):
                yield Admission(network.name, namespace)


def _without_parts(admitted: Mapping[Admission, str]) -> dict[Admission, str]:
    """Without single namespaces of networks whose services are admitted as a whole."""
    whole = {each.network for each in admitted if not each.namespace}
    return {
        each: policy for each, policy in admitted.items() if not each.namespace or each.network not in whole
    }
