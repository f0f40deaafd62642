"""Of several Services that ask for one VIP or one NodePort the older has it, then the one whose name sorts first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.endpoint_report import some
from lace_sdn.kube.lookup import PrefixTable
from lace_sdn.kube.problems import Finding, field_path
from lace_sdn.kube.service_rules import node_ports
from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.kube.manifests import Identity
    from lace_sdn.kube.problems import Path
    from lace_sdn.kube.report import Report
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Network

Data = dict[str, Any]
PortKey = tuple[Protocol, int]
"""A port of a Service: its protocol and number."""

NO_VIP: Final = "the Service has no VIP"


@dataclass(frozen=True, slots=True)
class Asked:
    """A Service whose network and VIPs are known. ``paths``: where each VIP is written."""

    identity: Identity
    spec: Data
    created: str
    network: Network
    vips: tuple[Address, ...]
    paths: tuple[Path, ...]


def with_own_node_ports(asked: Iterable[Asked], report: Report) -> Mapping[Identity, Mapping[PortKey, int]]:
    """Which NodePort each port of each Service has, where it has one; who asks for another's is told."""
    keepers: dict[PortKey, Asked] = {}
    found: dict[Identity, dict[PortKey, int]] = defaultdict(dict)
    for each in sorted(asked, key=_age):
        for path, port, number in node_ports(each.spec):
            protocol = Protocol(port.get("protocol", "TCP"))
            keeper = keepers.setdefault((protocol, number), each)
            if keeper is each:
                found[each.identity][protocol, int(port["port"])] = number
                continue
            whose = f"{_named(keeper, report)}, which keeps it: {why_first(keeper.created, each.created)}"
            message = (
                f"{field_path(path)} {protocol} {number} is the NodePort of {whose}; expected one of its own; "
                "the port has no NodePort, its cluster IP is served as before"
            )
            report.condition(each.identity, "OwnNodePort", "NodePortInUse", message)
    return found


def _age(asked: Asked) -> tuple[str, Identity]:
    return (asked.created, asked.identity)


def with_own_vips(asked: Iterable[Asked], state: ClusterState, report: Report) -> Iterator[Asked]:
    """Those whose VIPs are nobody else's; of two with one VIP the older."""
    pods = PrefixTable(
        (prefix, f'{prefix} of Network "{each.name}"')
        for each in state.networks
        if not each.is_external
        for prefix in each.prefixes
    )
    hosts = {address: f'Node "{node.name}"' for node in state.nodes for address in node.addresses}
    hosts |= {it: f'ExternalHost "{host.name}"' for host in state.external_hosts for it in host.addresses}
    keepers: dict[Address, Asked] = {}
    claims: dict[Identity, list[str]] = defaultdict(list)
    for each in sorted(asked, key=_age):
        findings = []
        for vip, path in zip(each.vips, each.paths, strict=True):
            keeper = keepers.get(vip)
            if prefix := pods.find(vip):
                finding = Finding(
                    path, f'"{vip}" lies in {prefix}', "expected an address that no pod can have"
                )
            elif keeper or vip in hosts:
                whose = (
                    f"{_named(keeper, report)}, which keeps it: {why_first(keeper.created, each.created)}"
                    if keeper
                    else hosts[vip]
                )
                finding = Finding(
                    path, f'"{vip}" is the address of {whose}', "expected an address of its own"
                )
            else:
                continue
            findings.append(finding)
            if keeper:
                claims[keeper.identity].append(f"{vip} by {_named(each, report)}")
        for finding in findings:
            report.problem(each.identity, finding, NO_VIP)
        if not findings:
            keepers |= dict.fromkeys(each.vips, each)
            yield each
    for identity, its in claims.items():
        message = f"its cluster IP is claimed too: {some(its)}; expected an address of its own for each"
        kept = "this Service keeps it and is served as before"
        report.condition(identity, "OwnClusterIP", "ClusterIPClaimed", f"{message}; {kept}")


def _named(asked: Asked, report: Report) -> str:
    place = report.place(asked.identity)
    return f"{asked.identity} ({place})" if place else str(asked.identity)


def why_first(keeper: str, other: str) -> str:
    """What puts one object before another, by when they were created; names decide between equals."""
    if keeper == other:
        times = "both have one creationTimestamp" if keeper else "neither has a creationTimestamp"
        return f"{times}, and its name sorts first"
    return f"it is older, {'by creationTimestamp' if keeper else 'for it has no creationTimestamp'}"
