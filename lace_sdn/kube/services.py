"""Services: manifests -> ``model.Service``, each in its Network, with VIPs of its own and the endpoints behind them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.backends import Wanted, WantedPort
from lace_sdn.kube.endpoint_report import report_endpoints, report_idle_slices, some
from lace_sdn.kube.ownership import NO_VIP, Asked, with_own_node_ports, with_own_vips
from lace_sdn.kube.service_rules import cluster_ips, has_no_vip, is_open_on_nodes
from lace_sdn.model.cluster import Condition
from lace_sdn.model.objects import Protocol, Service, ServicePort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lace_sdn.kube.backends import BackendFinder
    from lace_sdn.kube.manifests import Manifest, Manifests
    from lace_sdn.kube.ownership import PortKey
    from lace_sdn.kube.report import Report
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Network, Node

Data = dict[str, Any]

LONGEST_TIMEOUT: Final = 0xFFFF
"""Seconds: timeouts of Open vSwitch have 16 bits (ovs-ofctl(8), idle_timeout)."""
DEFAULT_AFFINITY: Final = 10_800
"""Seconds (Kubernetes API: ClientIPConfig)."""
NODE_PORT_RANGE: Final = range(30_000, 32_768)
"""kube-apiserver's, if it is not told another (--service-node-port-range)."""
PROXY_NAME_LABEL: Final = "service.kubernetes.io/service-proxy-name"
"""Whoever is named by it serves the Service (Kubernetes: well-known labels)."""


def build_services(
    manifests: Manifests,
    state: ClusterState,
    finder: BackendFinder,
    network_of: Callable[[Manifest], Network | None],
    report: Report,
) -> tuple[Service, ...]:
    """All that are to be served, in order of (namespace, name).

    ``state``: all but its services; ``finder``: of their endpoints; ``network_of``: the network that a Service is bound to, None (reported by it) if it can
    be in none.
    """
    asked = []
    for manifest in sorted(manifests.of_kind("Service"), key=lambda each: each.identity):
        if not has_no_vip(manifest.data["spec"]) and not _is_left_to_others(manifest):
            network = network_of(manifest)
            if network is not None and (found := _asked(manifest, network, report)):
                asked.append(found)
    report_idle_slices(manifests, report)
    accepted = sorted(with_own_vips(asked, state, report), key=lambda each: each.identity)
    node_ports = with_own_node_ports(accepted, report)
    services = tuple(_service(each, finder, node_ports.get(each.identity, {}), report) for each in accepted)
    _report_families(accepted, services, state.nodes, report)
    _report_range(accepted, services, report)
    return services


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


def _report_unserved(asked: Asked, report: Report) -> None:
    """What else than cluster IPs and NodePorts the Service would be reached by."""
    spec = asked.spec
    served = "cluster IPs and NodePorts are" if is_open_on_nodes(spec) else "cluster IPs are"

    def say(reason: str, found: str, unserved: str) -> None:
        message = f"{found}; {unserved} are not served by this version, {served}"
        report.condition(asked.identity, "Enforced", reason, message)

    if spec.get("type") == "LoadBalancer":
        found = "type is LoadBalancer; expected NodePort or ClusterIP"
        say("LoadBalancerNotEnforced", found, "addresses of load balancers")
    if number := spec.get("healthCheckNodePort"):
        found = f"healthCheckNodePort is {number}; expected none"
        say("HealthCheckNotEnforced", found, "health checks of load balancers")
    if external := spec.get("externalIPs"):
        found = f"externalIPs has {some(external)}; expected none"
        say("ExternalIPsNotEnforced", found, "external IPs")


def _asked(manifest: Manifest, network: Network, report: Report) -> Asked | None:
    spec = manifest.data["spec"]
    written = cluster_ips(spec)
    if not written:
        message = f"spec.clusterIP is missing; expected an address that no pod network contains; {NO_VIP}"
        report.not_ready(manifest.identity, "NoClusterIP", message)
        return None
    by_family = sorted((ip_address(text).version, ip_address(text), path) for path, text in written)
    return Asked(
        manifest.identity,
        spec,
        str(manifest.data["metadata"].get("creationTimestamp") or ""),
        network,
        tuple(address for _, address, _ in by_family),
        tuple(path for _, _, path in by_family),
    )


def _service(
    asked: Asked, finder: BackendFinder, node_ports: Mapping[PortKey, int], report: Report
) -> Service:
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
            ServicePort(
                port.protocol,
                port.number,
                port.name,
                found.of_port(place),
                node_ports.get((port.protocol, port.number), 0),
            )
            for place, port in enumerate(ports)
        ),
        _affinity(asked, report),
        spec.get("internalTrafficPolicy") == "Local",
        asked.created,
        is_open_on_nodes(spec) and spec.get("externalTrafficPolicy") == "Local",
    )


def _report_families(
    asked: Iterable[Asked], services: Iterable[Service], nodes: Iterable[Node], report: Report
) -> None:
    """NodePorts at which no node has an address of the Service's family."""
    of_nodes = {address.version for node in nodes for address in node.addresses}
    for each, service in zip(asked, services, strict=True):
        numbers = [f"{port.protocol} {port.node_port}" for port in service.ports if port.node_port]
        if numbers and of_nodes and of_nodes.isdisjoint(vip.version for vip in service.vips):
            own, others = service.vips[0].version, min(of_nodes)
            message = (
                f"NodePort {some(numbers)} is of IPv{own} as the cluster IP {service.vips[0]}, and no Node has an IPv{own} "
                f"address; expected a cluster IP of IPv{others}; the NodePort is served nowhere, the cluster IP is"
            )
            report.condition(each.identity, "NodePortsReachable", "NodePortFamily", message)


def _report_range(asked: Iterable[Asked], services: Iterable[Service], report: Report) -> None:
    """NodePorts that may be those of the nodes' own servers: accepted, for clusters may choose their range."""
    for each, service in zip(asked, services, strict=True):
        ports = [port for port in service.ports if port.node_port and port.node_port not in NODE_PORT_RANGE]
        if numbers := [f"{port.protocol} {port.node_port}" for port in ports]:
            message = (
                f"NodePort {some(numbers)} is outside of {NODE_PORT_RANGE[0]} to {NODE_PORT_RANGE[-1]}, the usual range; "
                "expected one inside, unless kube-apiserver has another range; it is served, "
                "in place of what listens there on the nodes"
            )
            report.condition(each.identity, "NodePortsInRange", "NodePortOutsideRange", message)


def _port(data: Data) -> WantedPort:
    number = int(data["port"])
    target = data.get("targetPort")
    return WantedPort(
        Protocol(data.get("protocol", "TCP")),
        number,
        data.get("name") or "",
        target if isinstance(target, str) else int(target or number),
    )


def _affinity(asked: Asked, report: Report) -> int:
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
