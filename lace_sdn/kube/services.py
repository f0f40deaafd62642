"""Services: manifests -> ``model.Service``, each in its Network, with VIPs of its own and the endpoints behind them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.backends import BackendFinder, Wanted, WantedPort
from lace_sdn.kube.endpoint_report import report_endpoints, report_idle_slices, some
from lace_sdn.kube.lookup import PrefixTable
from lace_sdn.kube.problems import Finding
from lace_sdn.kube.service_rules import cluster_ips, has_no_vip
from lace_sdn.model.cluster import Condition
from lace_sdn.model.objects import Protocol, Service, ServicePort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
PROXY_NAME_LABEL: Final = "service.kubernetes.io/service-proxy-name"
"""Whoever is named by it serves the Service (Kubernetes: well-known labels)."""
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
        if not has_no_vip(manifest.data["spec"]) and not _is_left_to_others(manifest):
            network = network_of(manifest)
            if network is not None and (found := _asked(manifest, network, report)):
                asked.append(found)
    report_idle_slices(manifests, report)
    accepted = _with_own_vips(asked, state, report)
    return tuple(_service(each, finder, report) for each in sorted(accepted, key=lambda each: each.identity))


def _is_left_to_others(manifest: Manifest) -> bool:
    return PROXY_NAME_LABEL in (manifest.data["metadata"].get("labels") or {})


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
        found = f"externalIPs has {some(external)}; expected none"
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
    hosts = {address: f'Node "{node.name}"' for node in state.nodes for address in node.addresses}
    hosts |= {it: f'ExternalHost "{host.name}"' for host in state.external_hosts for it in host.addresses}
    keepers: dict[Address, _Asked] = {}
    claims: dict[Identity, list[str]] = defaultdict(list)
    for each in sorted(asked, key=lambda found: (found.created, found.identity)):
        findings = []
        for vip, path in zip(each.vips, each.paths, strict=True):
            keeper = keepers.get(vip)
            if prefix := pods.find(vip):
                finding = Finding(
                    path, f'"{vip}" lies in {prefix}', "expected an address that no pod can have"
                )
            elif keeper or vip in hosts:
                whose = f"{_named(keeper, report)}, {_why_kept(keeper, each)}" if keeper else hosts[vip]
                finding = Finding(
                    path, f'"{vip}" is the address of {whose}', "expected an address of its own"
                )
            else:
                continue
            findings.append(finding)
            if keeper:
                claims[keeper.identity].append(f"{vip} by {_named(each, report)}")
        for finding in findings:
            report.problem(each.identity, finding, _NO_VIP)
        if not findings:
            keepers |= dict.fromkeys(each.vips, each)
            yield each
    for identity, its in claims.items():
        message = f"its cluster IP is claimed too: {some(its)}; expected an address of its own for each"
        kept = "this Service keeps it and is served as before"
        report.condition(identity, "OwnClusterIP", "ClusterIPClaimed", f"{message}; {kept}")


def _named(asked: _Asked, report: Report) -> str:
    place = report.place(asked.identity)
    return f"{asked.identity} ({place})" if place else str(asked.identity)


def _why_kept(keeper: _Asked, other: _Asked) -> str:
    """What puts ``keeper`` before ``other``."""
    if keeper.created == other.created:
        times = "both have one creationTimestamp" if keeper.created else "neither has a creationTimestamp"
        return f"which keeps it: {times}, and its name sorts first"
    why = "by creationTimestamp" if keeper.created else "for it has no creationTimestamp"
    return f"which keeps it: it is older, {why}"


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
    report_endpoints(asked.identity, asked.network, asked.vips, found, report)
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
