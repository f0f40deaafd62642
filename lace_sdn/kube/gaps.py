"""What could not be read, and what it may have narrowed. Pure.

An object that is not there can open something: an address belongs to a shorter prefix, a pod to the binding of a lower priority. So
what is not known is taken to be what narrows most; docs/policy-semantics.md has the table of all kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from lace_sdn.kube.kinds import EVERY
from lace_sdn.model.cluster import NO_DOUBT, Doubt
from lace_sdn.policy.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from lace_sdn.kube.manifests import Identity, Manifests
    from lace_sdn.kube.report import Report
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Pod, Service

INSIDE: Final = frozenset({"Network", "NetworkRoutingPolicy"})
"""Decide which of two overlapping destinations a network reaches."""
OUTSIDE: Final = INSIDE | {"NetworkBindingPolicy", "Namespace", "Node", "Service", "ExternalHost"}
"""Decide what an address of the world outside means."""
PODS: Final = frozenset({"NetworkBindingPolicy", "Namespace", "Allocation", "NetworkEndpoint", "Pod"})
"""Decide which network and address a pod gets."""
SERVICES: Final = frozenset(
    {"Network", "NetworkBindingPolicy", "Namespace", "Node", "Service", "EndpointSlice", "ExternalHost"}
)
"""Decide which network a Service is in, whose a VIP or NodePort is, and what is behind it."""
_OF_TENANTS: Final = frozenset({"Pod", "Service", "EndpointSlice"})
"""One that is refused by name narrows nothing: a tenant's mistake stays its own."""


@dataclass(frozen=True, slots=True)
class Gap:
    """``kinds`` of which objects may be missing; ``namespaces``: those whose labels may be, None for all that are not written."""

    kinds: frozenset[str] = frozenset()
    namespaces: frozenset[str] | None = frozenset()

    def holds_pod(self, pod: Pod, written: Collection[str]) -> bool:
        """Whether a pod that has no network yet waits. ``written``: the Namespaces that are known."""
        is_meant = self.namespaces is None or pod.namespace in self.namespaces
        if "Namespace" in self.kinds and pod.namespace not in written and is_meant:
            return True
        kinds = self.kinds & (PODS - {"Namespace"})
        return bool(kinds - {"Pod"}) or ("Pod" in kinds and bool(pod.addresses))

    def holds_service(self, service: Service, former: ClusterState | None) -> bool:
        """Whether a Service waits: one that was not served before as it is now."""
        if not self.kinds & SERVICES:
            return False
        known = former.service_by_id.get(service.id) if former else None
        return known is None or _claims(known) != _claims(service)

    def doubt(self, former: ClusterState | None) -> Doubt:
        """``former``: the last state without a doubt."""
        inside, outside = bool(self.kinds & INSIDE), bool(self.kinds & OUTSIDE)
        if not outside:
            return NO_DOUBT
        return Doubt(inside, outside, _relating(former) if former else None)

    def said(self) -> str:
        """For the operator: what waits, "" if nothing."""
        waits = [
            what
            for what, kinds in (
                ("relations of Networks", INSIDE),
                ("access to and from external Networks", OUTSIDE),
                ("networks of new pods", PODS),
                ("new or changed Services", SERVICES),
            )
            if self.kinds & kinds
        ]
        if not waits:
            return ""
        names = ", ".join(sorted(self.kinds & (OUTSIDE | PODS | SERVICES)))
        return (
            f"{names}: of these kinds there may be objects that cannot be read now (see the problems); expected to read all of them; "
            f"what was in force stays, what they could forbid is not opened anew: {', '.join(waits)}"
        )


def gap_of(manifests: Manifests) -> Gap:
    """What may be missing from ``manifests``, into which last good states were put already."""
    present = {each.identity for each in manifests.objects}
    refused = [each for each in manifests.refused if each not in present]
    kinds = {kind for each in refused for kind in _meant(each)} - _OF_TENANTS
    names = frozenset(each.name for each in refused if "Namespace" in _meant(each))
    return Gap(manifests.hidden | kinds, None if "Namespace" in manifests.hidden else names)


def _meant(identity: Identity) -> tuple[str, ...]:
    if identity.kind in EVERY:
        return (identity.kind,)
    return tuple(get_close_matches(identity.kind[:64], sorted(EVERY), n=1, cutoff=0.75))


def _claims(service: Service) -> tuple[object, ...]:
    ports = frozenset((port.protocol, port.number, port.node_port) for port in service.ports)
    return (service.network, service.vips, ports)


def _relating(state: ClusterState) -> ClusterState:
    """As much of it as says who may call whom."""
    return type(state)(
        namespaces=state.namespaces,
        networks=state.networks,
        routing_policies=state.routing_policies,
        service_policies=state.service_policies,
    )


def not_read(kind: str, name: str) -> Refusal:
    """Why a pod or a Service waits."""
    found = "what cannot be read now may give it another network or address, or forbid it"
    return Refusal(kind, name, Reason.NOT_READ, found, "expected to read everything (see the problems)")


def without_held(
    services: Iterable[Service], gap: Gap, former: ClusterState | None, report: Report
) -> Iterator[Service]:
    """Those that are served; the others are told that they wait."""
    for service in services:
        if gap.holds_service(service, former):
            report.refused(not_read("Service", service.id))
        else:
            yield service
