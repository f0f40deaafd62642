"""The endpoints of a Service: from its EndpointSlices, or from pods as the EndpointSlice controller would make them.

In a pod network they are its pods; in an external one addresses of the underlay, of nodes and pods on them too.

Sources: Kubernetes API, EndpointSlice discovery.k8s.io/v1; Service, "EndpointSlices" and "Services without selectors".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from lace_sdn.kube.decode import pod_on_host
from lace_sdn.kube.lookup import LabelTable, PrefixTable
from lace_sdn.kube.problems import quoted
from lace_sdn.kube.service_rules import FAMILIES
from lace_sdn.kube.underlay import Underlay
from lace_sdn.model.objects import Backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lace_sdn.kube.manifests import Manifest, Manifests
    from lace_sdn.kube.problems import Place
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Endpoint, Network, Pod, Protocol

Data = Mapping[str, Any]

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class WantedPort(NamedTuple):
    """A port of a Service; ``target``: the number or name of the port behind it."""

    protocol: Protocol
    number: int
    name: str
    target: int | str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What endpoints are looked for. ``families``: those of the Service's VIPs."""

    namespace: str
    name: str
    network: Network
    ports: tuple[WantedPort, ...]
    selector: Mapping[str, str]
    families: frozenset[int]
    publish_not_ready: bool = False
    distribution: str = ""


@dataclass(slots=True)
class Found:
    """``backends``: of each port, in its place. The rest is not used, in words that say where it is.

    ``foreign``: in other networks; ``vacant``: addresses of no pod; ``families``: without a VIP of theirs; ``missing``: ports
    whose named target no pod has, ``declared``: what the selected pods have instead; ``unmatched``: ports that no slice has,
    ``offered``: what those with endpoints have instead; ``on_host``: the selected pods, if all are on the network of their node.
    ``unknown``: that may be of this network or of another, which nobody has said yet.
    """

    backends: list[dict[tuple[Address, int], Backend]]
    foreign: list[str] = field(default_factory=list)
    vacant: list[str] = field(default_factory=list)
    families: set[int] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    on_host: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, place: int, backend: Backend) -> None:
        """Of two with one address and port the better one stays."""
        known = self.backends[place].get((backend.address, backend.port))
        if known is None or (backend.ready, backend.serving) > (known.ready, known.serving):
            self.backends[place][backend.address, backend.port] = backend

    def of_port(self, place: int) -> tuple[Backend, ...]:
        by_address = lambda each: (each.address.version, int(each.address), each.port)  # noqa: E731
        return tuple(sorted(self.backends[place].values(), key=by_address))


class BackendFinder:
    """Answers for many Services of one cluster."""

    def __init__(self, manifests: Manifests, pods: Iterable[Pod], state: ClusterState) -> None:
        """``pods``: as Kubernetes knows them; ``state``: their networks, addresses and nodes."""
        self._slices: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
        for manifest in sorted(manifests.of_kind("EndpointSlice"), key=lambda each: each.identity):
            labels = manifest.data["metadata"].get("labels") or {}
            if SERVICE_NAME_LABEL in labels:
                self._slices[manifest.identity.namespace, labels[SERVICE_NAME_LABEL]].append(manifest)
        self._pods = LabelTable(pods)
        self._on_host = LabelTable(_pods_on_host(manifests))
        self._endpoints = state.endpoint_by_id
        self._by_address = {
            (each.network, address): each for each in self._endpoints.values() for address in each.addresses
        }
        self._networks = PrefixTable(
            (prefix, each.name) for each in state.networks if not each.is_external for prefix in each.prefixes
        )
        self._nodes = state.node_by_name
        self._underlay = Underlay(state)

    def find(self, wanted: Wanted) -> Found:
        """By its slices, if it has any; else by its selector."""
        found = Found([{} for _ in wanted.ports])
        slices = self._slices.get((wanted.namespace, wanted.name))
        if slices:
            matched = {place for each in slices for place, _ in _slice_ports(wanted, each.data)}
            for each in slices:
                self._from_slice(wanted, each, found)
            if found.offered:
                ports = [port for place, port in enumerate(wanted.ports) if place not in matched]
                found.unmatched = [_described(port.protocol, port.number, port.name) for port in ports]
        else:
            self._from_pods(wanted, found)
        return found

    def _from_slice(self, wanted: Wanted, manifest: Manifest, found: Found) -> None:
        data = manifest.data
        family = FAMILIES.get(data["addressType"])
        entries: Sequence[Data] = data.get("endpoints") or ()
        if family is None or not entries:
            return
        if family not in wanted.families:
            found.families.add(family)
            return
        numbers = list(_slice_ports(wanted, data))
        is_hinted = any(entry.get("hints") for entry in entries)
        is_used = False
        for index, entry in enumerate(entries):
            backend = self._of_entry(wanted, entry, found, manifest.place(("endpoints", index)))
            if backend is None:
                continue
            is_used = True
            if not is_hinted:
                backend = self._distributed(wanted, backend, entry.get("zone") or "")
            for place, number in numbers:
                found.add(place, replace(backend, port=number))
        if is_used:
            found.offered.append(f"{manifest.identity} ({manifest.place()}) has {_offered(data)}")

    def _of_entry(self, wanted: Wanted, entry: Data, found: Found, place: Place) -> Backend | None:
        """The endpoint of a slice without its port; None if it is none of the network, which is noted."""
        # EndpointSlice v1: the addresses of an endpoint are fungible, one may use only the first.
        address = ip_address(entry["addresses"][0])
        pod = self._referred(wanted, entry)
        elsewhere = self._elsewhere(wanted.network, pod, address)
        if elsewhere:
            found.foreign.append(elsewhere)
            return None
        backend = written(entry, address)
        if wanted.network.is_external:
            return replace(backend, node=self._underlay.node_of(address))
        pod = pod or self._by_address.get((wanted.network.name, address))
        if pod is None:
            if backend.ready or backend.serving:
                found.vacant.append(f"{address} ({place})")
            return None
        return replace(backend, node=pod.node, pod=pod.id)

    def _referred(self, wanted: Wanted, entry: Data) -> Endpoint | None:
        """The pod that the slice says is behind the address, if there is one."""
        reference = entry.get("targetRef") or {}
        if reference.get("kind") != "Pod":
            return None
        return self._endpoints.get(
            f"{reference.get('namespace') or wanted.namespace}/{reference.get('name')}"
        )

    def _elsewhere(self, network: Network, pod: Endpoint | None, address: Address) -> str:
        """What and where an endpoint is that is none of the network's; "" for one that is."""
        if pod and pod.network != network.name:
            return in_other_network(pod)
        if network.is_external:
            return self._underlay.elsewhere(network, address)
        if pod:
            return "" if address in pod.addresses else f'{address} that Pod "{pod.id}" does not have'
        if any(address in prefix for prefix in network.prefixes):
            return ""
        name = self._networks.find(address)
        return f'{address} in Network "{name}"' if name else f"{address} in no pod network"

    def _distributed(self, wanted: Wanted, backend: Backend, zone: str) -> Backend:
        """With the hints that ``trafficDistribution`` asks for (KEP-4444, KEP-3015)."""
        if not wanted.distribution:
            return backend
        node = self._nodes.get(backend.node)
        where = zone or (node.zone if node else "")
        for_nodes = (backend.node,) if wanted.distribution == "PreferSameNode" and backend.node else ()
        return replace(backend, for_zones=(where,) if where else (), for_nodes=for_nodes)

    def _from_pods(self, wanted: Wanted, found: Found) -> None:
        selected = self._pods.selected(wanted.namespace, wanted.selector)
        on_host = self._on_host.selected(wanted.namespace, wanted.selector)
        own = [(pod, self._own_addresses(wanted.network, pod, found)) for pod in selected]
        if wanted.network.is_external:
            own += [(pod, self._on_underlay(wanted, pod, found)) for pod in on_host]
        elif not selected:
            found.on_host = [f'Pod "{pod.id}"' for pod in on_host]
        own = [(pod, addresses) for pod, addresses in own if addresses]
        for place, port in enumerate(wanted.ports):
            targets = [(pod, addresses, _target_of(pod, port)) for pod, addresses in own]
            if own and not any(number for _, _, number in targets):
                found.missing.append(f'"{port.target}" of port {port.protocol} {port.number}')
            for pod, addresses, number in targets:
                for backend in self._of_pod(wanted, pod, addresses) if number else ():
                    found.add(place, replace(backend, port=number))
        if found.missing:
            found.declared = [_declared(pod) for pod, _ in own]

    def _own_addresses(self, network: Network, pod: Pod, found: Found) -> tuple[Address, ...]:
        """Those that the pod has in ``network``; a pod of another one is noted."""
        endpoint = self._endpoints.get(pod.id)
        if endpoint and endpoint.network != network.name:
            found.foreign.append(in_other_network(endpoint))
            return ()
        return endpoint.addresses if endpoint else ()

    def _on_underlay(self, wanted: Wanted, pod: Pod, found: Found) -> tuple[Address, ...]:
        """Those of a pod on the network of its node, as far as they belong to the Service's; others are noted."""
        addresses = [it for it in self._underlay.addresses_of(pod) if it.version in wanted.families]
        faults = {address: self._underlay.elsewhere(wanted.network, address) for address in addresses}
        found.foreign += [fault for fault in faults.values() if fault]
        return tuple(address for address, fault in faults.items() if not fault)

    def _of_pod(self, wanted: Wanted, pod: Pod, addresses: Iterable[Address]) -> Iterator[Backend]:
        """The pod's addresses as endpoints, without their port."""
        ready = wanted.publish_not_ready or (pod.ready and not pod.terminating)
        for address in addresses:
            if address.version in wanted.families:
                where = (pod.node, pod.id)
                if wanted.network.is_external:
                    where = (self._underlay.node_of(address), "")
                backend = Backend(address, 0, *where, ready, pod.ready, terminating=pod.terminating)
                yield self._distributed(wanted, backend, "")


def _pods_on_host(manifests: Manifests) -> Iterator[Pod]:
    """Running pods on the network of their node."""
    for manifest in sorted(manifests.of_kind("Pod"), key=lambda each: each.identity):
        pod = pod_on_host(manifest)
        if pod and (manifest.data.get("status") or {}).get("phase", "Running") == "Running":
            yield pod


def written(entry: Data, address: Address) -> Backend:
    """What a slice says of an endpoint, as Kubernetes takes what it does not say; without its port."""
    conditions, hints = entry.get("conditions") or {}, entry.get("hints") or {}
    ready = conditions.get("ready") is not False
    return Backend(
        address,
        0,
        ready=ready,
        serving=ready if conditions.get("serving") is None else bool(conditions["serving"]),
        terminating=bool(conditions.get("terminating")),
        for_zones=tuple(each["name"] for each in hints.get("forZones") or ()),
        for_nodes=tuple(each["name"] for each in hints.get("forNodes") or ()),
    )


def _slice_ports(wanted: Wanted, data: Data) -> Iterator[tuple[int, int]]:
    """(place of the Service's port, number behind it): ports belong together by name and protocol."""
    for port in data.get("ports") or ():
        key = (port.get("name") or "", port.get("protocol") or "TCP")
        for place, each in enumerate(wanted.ports):
            if (each.name, each.protocol) == key and port.get("port"):
                yield place, int(port["port"])


def _target_of(pod: Pod, port: WantedPort) -> int:
    """The number of the port behind; 0 if the pod has none of that name."""
    if isinstance(port.target, int):
        return port.target
    named = (each.number for each in pod.ports if (each.name, each.protocol) == (port.target, port.protocol))
    return next(named, 0)


def in_other_network(pod: Endpoint) -> str:
    """An endpoint that is left out, in words."""
    return f'Pod "{pod.id}" in Network "{pod.network}"'


def _described(protocol: str, number: int | None, name: str) -> str:
    """A port as Services and slices match it: by protocol and name."""
    words = f"{protocol} {number}" if number else f"{protocol} without a number"
    return f"{words} {quoted(name)}" if name else f"{words} without a name"


def _offered(data: Data) -> str:
    ports = [
        _described(port.get("protocol") or "TCP", port.get("port"), port.get("name") or "")
        for port in data.get("ports") or ()
    ]
    return ", ".join(ports) or "no port"


def _declared(pod: Pod) -> str:
    ports = ", ".join(f"{each.protocol} {each.number} {each.name}".rstrip() for each in pod.ports)
    return f'Pod "{pod.id}" ({ports or "none"})'
