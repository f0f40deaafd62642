"""What is said of a Service whose endpoints cannot work, and of EndpointSlices that are nobody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lace_sdn.kube.backends import SERVICE_NAME_LABEL
from lace_sdn.kube.manifests import Identity
from lace_sdn.kube.problems import one_of, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lace_sdn.kube.backends import Found
    from lace_sdn.kube.manifests import Manifests
    from lace_sdn.kube.report import Report
    from lace_sdn.model.objects import Address, Network

_SHOWN: Final = 5
_IDLE: Final = "the EndpointSlice has no effect"


def report_endpoints(
    identity: Identity, network: Network, vips: tuple[Address, ...], found: Found, report: Report
) -> None:
    """All that was looked for and is not used, each with its reason."""

    def say(reason: str, message: str) -> None:
        report.condition(identity, "EndpointsReady", reason, message)

    if found.foreign:
        expected = f'expected endpoints in the Service\'s own Network "{network.name}"'
        say(
            "ForeignEndpoints",
            f"has endpoints elsewhere: {some(found.foreign)}; {expected}; these are left out",
        )
    if found.unknown:
        say(
            "MembershipUnknown",
            f"the Network of {some(found.unknown)} is not known: other Networks have these addresses too; expected a "
            "ServiceMembership of the operator that says it; until then these are left out",
        )
    if found.vacant:
        addresses = f'has addresses that no pod of Network "{network.name}" has: {some(found.vacant)}'
        say("EndpointWithoutPod", f"{addresses}; expected addresses of its pods; these are left out")
    for family in sorted(found.families):
        own = f"IPv{vips[0].version}"
        message = f"has endpoints of IPv{family} and only an {own} cluster IP ({vips[0]})"
        say("EndpointFamily", f"{message}; expected endpoints of {own}; the others are not used")
    if found.missing:
        missing = f"no selected pod has the targetPort {' or '.join(found.missing)}"
        expected = f"expected a number, or a name that they declare for the protocol: {some(found.declared)}"
        say("TargetPortMissing", f"{missing}; {expected}; until then the port has no endpoint")
    if found.unmatched:
        missing = f"no EndpointSlice has a port of the name and protocol of port {', '.join(found.unmatched)}"
        say(
            "SlicePortMissing",
            f"{missing}; expected one: {some(found.offered)}; until then the port has no endpoint",
        )
    if found.on_host:
        pods = f"all selected pods have hostNetwork: {some(found.on_host)}"
        expected = f'expected pods of Network "{network.name}"'
        say("HostNetwork", f"{pods}; {expected}; until then the Service has no endpoint")


def report_idle_slices(manifests: Manifests, report: Report) -> None:
    """Those of no Service. Nothing is said of one whose Service is only refused, or may stand in what could not be read."""
    services = {each.identity for each in manifests.of_kind("Service")}
    refused = {each for each in manifests.refused if each.kind == "Service"}
    for manifest in manifests.of_kind("EndpointSlice"):
        namespace = manifest.identity.namespace
        name = (manifest.data["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL)
        if name is None:
            found = f"has no label {SERVICE_NAME_LABEL}; expected the name of its Service there"
        elif manifests.unreadable or Identity("Service", namespace, name) in services | refused:
            continue
        else:
            known = one_of(each.name for each in services if each.namespace == namespace)
            found = f"label {SERVICE_NAME_LABEL} is {quoted(name)}, which is no Service of Namespace {quoted(namespace)}; {known}"
        report.condition(manifest.identity, "InUse", "NoService", f"{found}; {_IDLE}")


def some(items: Iterable[str]) -> str:
    """The first of them, each once, and how many more there are."""
    return some_of(list(dict.fromkeys(items)))


def some_of(different: Sequence[str]) -> str:
    """As ``some``, of items that differ anyway: takes the same time however many."""
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return ", ".join(different[:_SHOWN]) + more
