"""Services: manifests -> ``model.Service``, each in its Network, with VIPs of its own and the endpoints behind them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.backends import BackendFinder, Found, Wanted, WantedPort
from lace_sdn.kube.problems import Finding, quoted
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
            _report_unserved(manifest, report)
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


def _report_unserved(manifest: Manifest, report: Report) -> None:
    kind = manifest.data["spec"].get("type", "ClusterIP")
    if kind in ("NodePort", "LoadBalancer"):
        what = "node ports are" if kind == "NodePort" else "addresses of load balancers and node ports are"
        message = f"type is {kind}: {what} not served by this version; its cluster IPs are"
        report.condition(manifest.identity, "Enforced", f"{kind}NotEnforced", message)


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
    pods = _PodPrefixes(state.networks)
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


def _fault(vip: Address, path: Path, pods: _PodPrefixes, owners: Mapping[Address, str]) -> Finding | None:
    if found := pods.find(vip):
        network, prefix = found
        what = f'"{vip}" lies in {prefix} of Network "{network}"'
        return Finding(path, what, "expected an address that no pod can have")
    if vip in owners:
        return Finding(path, f'"{vip}" is the address of {owners[vip]}', "expected an address of its own")
    return None


class _PodPrefixes:
    """Finds the pod network that an address lies in, by one look-up a prefix length."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._by_length: dict[tuple[int, int], dict[int, tuple[str, str]]] = defaultdict(dict)
        for network in networks:
            for prefix in () if network.is_external else network.prefixes:
                shift = prefix.max_prefixlen - prefix.prefixlen
                named = (network.name, str(prefix))
                self._by_length[prefix.version, shift].setdefault(int(prefix.network_address) >> shift, named)

    def find(self, address: Address) -> tuple[str, str] | None:
        """(network, prefix)."""
        for (version, shift), known in self._by_length.items():
            if version == address.version and (found := known.get(int(address) >> shift)):
                return found
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
            spec.get("selector"),
            frozenset(vip.version for vip in asked.vips),
            bool(spec.get("publishNotReadyAddresses")),
            spec.get("trafficDistribution") or "",
        )
    )
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
        number if target is None else target,
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
    kind = "EndpointsUsable"
    if found.foreign:
        shown = "; ".join(found.foreign[:_SHOWN])
        more = f" and {len(found.foreign) - _SHOWN} more" if len(found.foreign) > _SHOWN else ""
        message = f"{shown}{more}; expected endpoints in Network {asked.network.name}, as the Service; these are left out"
        report.condition(asked.identity, kind, "ForeignEndpoints", message)
    if found.families:
        names = " and ".join(f"IPv{family}" for family in sorted(found.families))
        own = " and ".join(quoted(str(vip)) for vip in asked.vips)
        message = f"endpoints of {names} are not used: the Service has only the cluster IP {own}"
        report.condition(asked.identity, kind, "EndpointFamily", message)
    if found.missing:
        message = f"{'; '.join(found.missing)}; the port has no endpoint until a pod has it"
        report.condition(asked.identity, kind, "TargetPortMissing", message)
