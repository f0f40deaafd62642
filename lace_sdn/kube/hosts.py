"""Who is on the underlay: Nodes with the pods on their own network, and the ExternalHosts of the lab. No two share an address."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from lace_sdn.kube import decode
from lace_sdn.kube.endpoint_report import some, some_of
from lace_sdn.kube.manifests import Identity
from lace_sdn.kube.ownership import why_first
from lace_sdn.kube.problems import Finding, one_of, quoted
from lace_sdn.model.objects import HostPod
from lace_sdn.policy.external import outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lace_sdn.kube.manifests import Manifests
    from lace_sdn.kube.report import Report
    from lace_sdn.model.objects import Address, ExternalHost, Network, Node, Pod


def nodes_of(manifests: Manifests, report: Report) -> tuple[Node, ...]:
    """Nodes whose underlay addresses are their own, in order of name."""
    owners: dict[Address, str] = {}
    nodes = []
    for node in decode.in_order(manifests, "Node", decode.node):
        taken = next((address for address in node.addresses if address in owners), None)
        if taken is None:
            owners |= dict.fromkeys(node.addresses, node.name)
            nodes.append(node)
            continue
        found = f'has the InternalIP "{taken}" of Node "{owners[taken]}"'
        finding = Finding(("status", "addresses"), found, "expected an address of its own")
        report.problem(Identity("Node", "", node.name), finding, "the Node is left out")
    return tuple(nodes)


def report_apart(nodes: Sequence[Node], report: Report) -> None:
    """Nodes without a tunnel to others, for want of a common family: said of the later one of two, once."""
    by_families: dict[bool, list[str]] = {True: [], False: []}
    for node in nodes:
        families = {address.version for address in node.addresses}
        if len(families) != 1:
            continue
        is_ipv4 = families == {4}
        earlier = by_families[not is_ipv4]
        by_families[is_ipv4].append(f'Node "{node.name}" ({node.addresses[0]})')
        if not earlier:
            continue
        own, other = ("IPv4", "IPv6") if is_ipv4 else ("IPv6", "IPv4")
        found = f"has InternalIPs of {own} only ({', '.join(map(str, node.addresses))}), of {other} only: {some_of(earlier)}"
        expected = "expected a family that both nodes have"
        now = "there is no tunnel between them, and their pods do not reach each other"
        identity = Identity("Node", "", node.name)
        report.condition(identity, "TunnelsReady", "NoCommonFamily", f"{found}; {expected}; {now}")


def host_pods_of(pods: Iterable[Pod]) -> tuple[HostPod, ...]:
    """The same pods as what they are on the underlay: ports of their node, in order of (namespace, name)."""
    ordered = sorted(pods, key=lambda pod: (pod.namespace, pod.name))
    return tuple(HostPod(pod.namespace, pod.name, pod.node, pod.ports) for pod in ordered)


def external_hosts_of(
    manifests: Manifests, nodes: Iterable[Node], report: Report
) -> tuple[ExternalHost, ...]:
    """Hosts outside, in order of name, each with addresses of its own and a way to the pods: the first Node, if it names none."""
    nodes = tuple(nodes)
    names = sorted(node.name for node in nodes)
    owners = {address: f'Node "{node.name}"' for node in nodes for address in node.addresses}
    hosts = []
    for host in decode.in_order(manifests, "ExternalHost", decode.external_host):
        identity = Identity("ExternalHost", "", host.name)
        findings = [*_taken(host, owners), *_no_gateway(host, names)]
        for finding in findings:
            report.problem(identity, finding, "the ExternalHost is left out")
        if not findings:
            owners |= dict.fromkeys(host.addresses, str(identity))
            hosts.append(replace(host, gateway=host.gateway or next(iter(names), "")))
    return tuple(hosts)


def report_contests(networks: Sequence[Network], report: Report) -> None:
    """External Networks with a prefix that another one has too and keeps."""
    created = {network.name: network.created for network in networks}
    lost: dict[str, list[str]] = defaultdict(list)
    for prefix, keeper, loser in outside(networks).contests:
        why = why_first(created[keeper], created[loser])
        lost[loser].append(f'{prefix} is kept by Network "{keeper}" ({why})')
    for network in networks:
        if its := lost.get(network.name):
            is_part = len(set(network.external_prefixes)) > len(its)
            now = "its other prefixes stay its own" if is_part else "no address belongs to this Network"
            message = f"{some(its)}; expected prefixes that no other external Network has; {now}"
            report.not_ready(Identity("Network", "", network.name), "OverlappingPrefixes", message)


def _taken(host: ExternalHost, owners: dict[Address, str]) -> Iterator[Finding]:
    for index, address in enumerate(host.addresses):
        if address in owners:
            found = f'"{address}" is the address of {owners[address]}'
            yield Finding(("spec", "addresses", index), found, "expected an address of its own")


def _no_gateway(host: ExternalHost, names: Iterable[str]) -> Iterator[Finding]:
    if host.gateway and host.gateway not in names:
        yield Finding(("spec", "gateway"), f"{quoted(host.gateway)} is no Node", one_of(names))
