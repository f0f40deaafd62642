"""Who is on the underlay: Nodes with the pods on their own network, and the ExternalHosts of the lab. No two share an address."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lace_sdn.kube import decode
from lace_sdn.kube.manifests import Identity
from lace_sdn.kube.problems import Finding, one_of, quoted
from lace_sdn.model.objects import HostPod

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lace_sdn.kube.manifests import Manifests
    from lace_sdn.kube.report import Report
    from lace_sdn.model.objects import Address, ExternalHost, Node, Pod


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


def _taken(host: ExternalHost, owners: dict[Address, str]) -> Iterator[Finding]:
    for index, address in enumerate(host.addresses):
        if address in owners:
            found = f'"{address}" is the address of {owners[address]}'
            yield Finding(("spec", "addresses", index), found, "expected an address of its own")


def _no_gateway(host: ExternalHost, names: Iterable[str]) -> Iterator[Finding]:
    if host.gateway and host.gateway not in names:
        yield Finding(("spec", "gateway"), f"{quoted(host.gateway)} is no Node", one_of(names))
