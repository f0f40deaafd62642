"""Services: manifests -> ``model.Service``, each in its Network, with VIPs of its own and the endpoints behind them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.backends import BackendFinder, Found, Wanted, WantedPort
from lace_sdn.kube.lookup import PrefixTable
from lace_sdn.kube.problems import Finding
from lace_sdn.kube.service_rules import cluster_ips, has_no_vip
from lace_sdn.model.cluster import Condition
from lace_sdn.model.objects import Protocol, Service, ServicePort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from lace_sdn.kube.manifests import Identity, Manifest, Manifests
    from lace_sdn.kube.problems import Path
    from lace_sdn.kube.report import Report
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Network, Pod

Data = dict[str, Any]

LONGEST_TIMEOUT: Final = 0xFFFF
"""Seconds: timeouts of Open vSwitch have 16 bits (ovs-ofctl(8), idle_timeout)."""
DEFAULT_AFFINITY: Final = 10_800
"""Seconds (Kubernetes API: ClientIPConfig)."""
_SHOWN: Final = 5
_NO_VIP: Final = "the Service has no VIP"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A Service whose network and VIPs are known. ``paths``: where each VIP is written."""

    identity: Identity
    spec: Data
    created: str
    network: Network
    vips: tuple[Address, ...]
    paths: tuple[Path, ...]


def build_services(
    manifests: Manifests,
    state: ClusterState,
    pods: Iterable[Pod],
    network_of: Callable[[Manifest], Network | None],
    report: Report,
) -> tuple[Service, ...]:
    """All that are to be served, in order of (namespace, name).

    ``state``: all but its services; ``network_of``: the network that a Service is bound to, None (reported by it) if it can
    be in none.
    """
    finder = BackendFinder(manifests, pods, state)
    asked = []
    for manifest in sorted(manifests.of_kind("Service"), key=lambda each: each.identity):
        if not has_no_vip(manifest.data["spec"]):
            network = network_of(manifest)
            if network is not None and (found := _asked(manifest, network, report)):
                asked.append(found)
    accepted = _with_own_vips(asked, state, report)
    return tuple(_service(each, finder, report) for each in sorted(accepted, key=lambda each: each.identity))


def unsupported_protocols(state: ClusterState) -> tuple[Condition, ...]:
    """What a userspace datapath cannot serve: its connection tracking knows no ports of SCTP (lib/conntrack.c)."""
    return tuple(
        Condition(
            "Service",
            service.id,
            "UnsupportedProtocol",
            status=False,
            reason="UnsupportedProtocol",
            message=f"SCTP {', '.join(map(str, numbers))} is not served: connection tracking of the userspace datapath knows "
            "no ports of SCTP; expected TCP or UDP, or the kernel datapath; the other ports are served",
        )
        for service in state.services
        if (numbers := [port.number for port in service.ports if port.protocol is Protocol.SCTP])
    )


def _report_unserved(asked: _Asked, report: Report) -> None:
    """What else than the cluster IPs the Service would be reached by."""

    def say(reason: str, found: str, unserved: str) -> None:
        message = f"{found}; {unserved} are not served by this version, cluster IPs are"
        report.condition(asked.identity, "Enforced", reason, message)

    kind, external = asked.spec.get("type"), asked.spec.get("externalIPs")
    if kind == "NodePort":
        say("NodePortNotEnforced", "type is NodePort; expected ClusterIP", "node ports")
    if kind == "LoadBalancer":
        found = "type is LoadBalancer; expected ClusterIP"
        say("LoadBalancerNotEnforced", found, "node ports and addresses of load balancers")
    if external:
        found = f"externalIPs has {_some(external)}; expected none"
        say("ExternalIPsNotEnforced", found, "external IPs")


def _asked(manifest: Manifest, network: Network, report: Report) -> _Asked | None:
    spec = manifest.data["spec"]
    written = cluster_ips(spec)
    if not written:
        message = f"spec.clusterIP is missing; expected an address that no pod network contains; {_NO_VIP}"
        report.not_ready(manifest.identity, "NoClusterIP", message)
        return None
    by_family = sorted((ip_address(text).version, ip_address(text), path) for path, text in written)
    return _Asked(
        manifest.identity,
        spec,
        str(manifest.data["metadata"].get("creationTimestamp") or ""),
        network,
        tuple(address for _, address, _ in by_family),
        tuple(path for _, _, path in by_family),
    )


def _with_own_vips(asked: Iterable[_Asked], state: ClusterState, report: Report) -> Iterator[_Asked]:
    """Those whose VIPs are nobody else's; of two with one VIP the older."""
    pods = PrefixTable(
        (prefix, f'{prefix} of Network "{each.name}"')
        for each in state.networks
        if not each.is_external
        for prefix in each.prefixes
    )
    owners: dict[Address, str] = {
        address: f'Node "{node.name}"' for node in state.nodes for address in node.addresses
    }
    for each in sorted(asked, key=lambda found: (found.created, found.identity)):
        findings = [
            finding
            for vip, path in zip(each.vips, each.paths, strict=True)
            if (finding := _fault(vip, path, pods, owners))
        ]
        for finding in findings:
            report.problem(each.identity, finding, _NO_VIP)
        if not findings:
            place = report.place(each.identity)
            name = f"{each.identity}" + (f" ({place})" if place else "")
            owners |= dict.fromkeys(each.vips, name)
            yield each


def _fault(vip: Address, path: Path, pods: PrefixTable[str], owners: Mapping[Address, str]) -> Finding | None:
    prefix = pods.find(vip)
    if prefix:
        return Finding(path, f'"{vip}" lies in {prefix}', "expected an address that no pod can have")
    if vip in owners:
        return Finding(path, f'"{vip}" is the address of {owners[vip]}', "expected an address of its own")
    return None


def _service(asked: _Asked, finder: BackendFinder, report: Report) -> Service:
    spec = asked.spec
    ports = tuple(sorted(map(_port, spec.get("ports") or ()), key=lambda port: (port.number, port.protocol)))
    found = finder.find(
        Wanted(
            asked.identity.namespace,
            asked.identity.name,
            asked.network,
            ports,
            spec.get("selector") or {},
            frozenset(vip.version for vip in asked.vips),
            bool(spec.get("publishNotReadyAddresses")),
            spec.get("trafficDistribution") or "",
        )
    )
    _report_unserved(asked, report)
    _report_endpoints(asked, found, report)
    return Service(
        asked.identity.namespace,
        asked.identity.name,
        asked.network.name,
        asked.vips,
        tuple(
            ServicePort(port.protocol, port.number, port.name, found.of_port(place))
            for place, port in enumerate(ports)
        ),
        _affinity(asked, report),
        spec.get("internalTrafficPolicy") == "Local",
        asked.created,
    )


def _port(data: Data) -> WantedPort:
    number = int(data["port"])
    target = data.get("targetPort")
    return WantedPort(
        Protocol(data.get("protocol", "TCP")),
        number,
        data.get("name") or "",
        target if isinstance(target, str) else int(target or number),
    )


def _affinity(asked: _Asked, report: Report) -> int:
    """Seconds; what cannot be kept is said."""
    if asked.spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (asked.spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    seconds = int(config.get("timeoutSeconds") or DEFAULT_AFFINITY)
    if seconds > LONGEST_TIMEOUT:
        message = (
            f"timeoutSeconds {seconds} is longer than a switch can keep; expected at most {LONGEST_TIMEOUT}; "
            f"a client is remembered for {LONGEST_TIMEOUT} s after its last new connection"
        )
        report.condition(asked.identity, "AffinityTimeout", "TimeoutTooLong", message)
    return min(seconds, LONGEST_TIMEOUT)


def _report_endpoints(asked: _Asked, found: Found, report: Report) -> None:
    def say(reason: str, message: str) -> None:
        report.condition(asked.identity, "EndpointsReady", reason, message)

    if found.foreign:
        expected = f'expected endpoints in the Service\'s own Network "{asked.network.name}"'
        say(
            "ForeignEndpoints",
            f"has endpoints elsewhere: {_some(found.foreign)}; {expected}; these are left out",
        )
    for family in sorted(found.families):
        own = f"IPv{asked.vips[0].version}"
        message = f"has endpoints of IPv{family} and only an {own} cluster IP ({asked.vips[0]})"
        say("EndpointFamily", f"{message}; expected endpoints of {own}; the others are not used")
    if found.missing:
        missing = f"no selected pod has the targetPort {' or '.join(found.missing)}"
        expected = f"expected a number, or a name that they declare for the protocol: {_some(found.declared)}"
        say("TargetPortMissing", f"{missing}; {expected}; until then the port has no endpoint")


def _some(items: Iterable[str]) -> str:
    """The first of them, each once, and how many more there are."""
    different = list(dict.fromkeys(items))
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return ", ".join(different[:_SHOWN]) + more
