"""The endpoints of a Service: from its EndpointSlices, or from pods as the EndpointSlice controller would make them.

Sources: Kubernetes API, EndpointSlice discovery.k8s.io/v1; Service, "EndpointSlices" and "Services without selectors".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from lace_sdn.kube.service_rules import FAMILIES
from lace_sdn.model.objects import Backend, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lace_sdn.kube.manifests import Manifest, Manifests
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Allocation, Endpoint, Network, Pod

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
    """What endpoints are looked for. ``selector``: None for a Service without; ``families``: those of its VIPs."""

    namespace: str
    name: str
    network: Network
    ports: tuple[WantedPort, ...]
    selector: Mapping[str, str] | None
    families: frozenset[int]
    publish_not_ready: bool = False
    distribution: str = ""


@dataclass(slots=True)
class Found:
    """``backends``: of each port, in its place. ``foreign``, ``families``, ``missing``: what is not used, and why, in words."""

    backends: list[dict[tuple[Address, int], Backend]]
    foreign: list[str] = field(default_factory=list)
    families: set[int] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)

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
        self._pods: dict[str, list[Pod]] = defaultdict(list)
        for pod in pods:
            self._pods[pod.namespace].append(pod)
        self._endpoints = state.endpoint_by_id
        self._by_address = {
            (each.network, address): each for each in self._endpoints.values() for address in each.addresses
        }
        self._blocks: dict[str, list[Allocation]] = defaultdict(list)
        for block in state.allocations:
            self._blocks[block.network].append(block)
        self._nodes = state.node_by_name

    def find(self, wanted: Wanted) -> Found:
        """By its slices, if it has any; else by its selector."""
        found = Found([{} for _ in wanted.ports])
        slices = self._slices.get((wanted.namespace, wanted.name))
        if slices:
            for each in slices:
                self._from_slice(wanted, each.data, found)
        elif wanted.selector:
            self._from_pods(wanted, found)
        return found

    def _from_slice(self, wanted: Wanted, data: Data, found: Found) -> None:
        family = FAMILIES.get(data["addressType"])
        endpoints: Sequence[Data] = data.get("endpoints") or ()
        if family is None or not endpoints:
            return
        if family not in wanted.families:
            found.families.add(family)
            return
        numbers = list(_slice_ports(wanted, data))
        for entry in endpoints:
            backend = self._of_entry(wanted, entry, found)
            for place, number in numbers if backend else ():
                assert backend is not None  # noqa: S101 - there is one where there are numbers
                found.add(place, replace(backend, port=number))

    def _of_entry(self, wanted: Wanted, entry: Data, found: Found) -> Backend | None:
        """The endpoint of a slice without its port; None if it is of another network, which is noted."""
        address = ip_address(entry["addresses"][0])
        reference = entry.get("targetRef") or {}
        pod_id = f"{reference.get('namespace') or wanted.namespace}/{reference.get('name')}"
        pod = self._endpoints.get(pod_id) if reference.get("kind") == "Pod" else None
        if pod is None:
            if not any(
                address.version == prefix.version and address in prefix for prefix in wanted.network.prefixes
            ):
                found.foreign.append(f"{address} lies outside of it")
                return None
            pod = self._by_address.get((wanted.network.name, address))
        elif not self._is_of(wanted, pod, address, found):
            return None
        node = pod.node if pod else entry.get("nodeName") or self._home(wanted.network.name, address)
        conditions = entry.get("conditions") or {}
        ready = conditions.get("ready") is not False
        serving = ready if conditions.get("serving") is None else conditions["serving"]
        hints = entry.get("hints") or {}
        backend = Backend(
            address,
            0,
            node,
            pod.id if pod else "",
            ready,
            serving,
            bool(conditions.get("terminating")),
            tuple(each["name"] for each in hints.get("forZones") or ()),
            tuple(each["name"] for each in hints.get("forNodes") or ()),
        )
        return self._distributed(wanted, backend, entry.get("zone") or "")

    @staticmethod
    def _is_of(wanted: Wanted, pod: Endpoint, address: Address, found: Found) -> bool:
        if pod.network != wanted.network.name:
            found.foreign.append(f"Pod {pod.id} is in Network {pod.network}")
        elif address not in pod.addresses:
            found.foreign.append(f"{address} is no address of Pod {pod.id}")
        else:
            return True
        return False

    def _home(self, network: str, address: Address) -> str:
        """The node that holds an address by its block."""
        blocks = (each for each in self._blocks.get(network, ()) if each.block.version == address.version)
        return next((each.node for each in blocks if address in each.block), "")

    def _distributed(self, wanted: Wanted, backend: Backend, zone: str) -> Backend:
        """With the hints that ``trafficDistribution`` asks for, where there are none."""
        if not wanted.distribution or backend.for_zones or backend.for_nodes:
            return backend
        node = self._nodes.get(backend.node)
        where = zone or (node.zone if node else "")
        for_nodes = (backend.node,) if wanted.distribution == "PreferSameNode" and backend.node else ()
        return replace(backend, for_zones=(where,) if where else (), for_nodes=for_nodes)

    def _from_pods(self, wanted: Wanted, found: Found) -> None:
        selected = [
            pod for pod in self._pods.get(wanted.namespace, ()) if _is_selected(pod, wanted.selector or {})
        ]
        hosted = [(pod, self._endpoints[pod.id]) for pod in selected if pod.id in self._endpoints]
        own = [(pod, each) for pod, each in hosted if each.network == wanted.network.name]
        found.foreign += [
            f"Pod {pod.id} is in Network {each.network}"
            for pod, each in hosted
            if each.network != wanted.network.name
        ]
        for place, port in enumerate(wanted.ports):
            numbers = [(pod, each, number) for pod, each in own if (number := _target_of(each, port))]
            if own and not numbers:
                names = sorted({each.name for _, its in own for each in its.ports if each.name})
                found.missing.append(
                    f'port {port.protocol} {port.number}: targetPort "{port.target}" is no port of the selected pods; '
                    f"expected {', '.join(names) or 'a number: they name none'}"
                )
            for pod, each, number in numbers:
                for backend in self._of_pod(wanted, pod, each, number):
                    found.add(place, backend)

    def _of_pod(self, wanted: Wanted, pod: Pod, endpoint: Endpoint, port: int) -> Iterator[Backend]:
        ready = wanted.publish_not_ready or (pod.ready and not pod.terminating)
        for address in endpoint.addresses:
            if address.version in wanted.families:
                backend = Backend(
                    address,
                    port,
                    endpoint.node,
                    endpoint.id,
                    ready,
                    wanted.publish_not_ready or pod.ready,
                    pod.terminating,
                )
                yield self._distributed(wanted, backend, "")


def _slice_ports(wanted: Wanted, data: Data) -> Iterator[tuple[int, int]]:
    """(place of the Service's port, number behind it): ports belong together by name and protocol."""
    for port in data.get("ports") or ():
        key = (port.get("name") or "", port.get("protocol", "TCP"))
        for place, each in enumerate(wanted.ports):
            if (each.name, each.protocol) == key and port.get("port"):
                yield place, int(port["port"])


def _is_selected(pod: Pod, selector: Mapping[str, str]) -> bool:
    labels = dict(pod.labels)
    return all(labels.get(key) == value for key, value in selector.items())


def _target_of(endpoint: Endpoint, port: WantedPort) -> int:
    """The number of the port behind; 0 if the pod has none of that name."""
    if isinstance(port.target, int):
        return port.target
    named = (
        each.number for each in endpoint.ports if (each.name, each.protocol) == (port.target, port.protocol)
    )
    return next(named, 0)
