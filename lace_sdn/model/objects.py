"""The objects of a cluster, as frozen values: what policies and compilers read, nothing of how it was stored.

Sources: design of the ``lace-cni.io/v1alpha1`` kinds in docs/policy-semantics.md; Kubernetes API reference for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lace_sdn.model.labels import EVERYTHING, NO_LABELS, Labels, LabelSelector, NetworkSelector

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

MAX_NETWORK_KEY = 0xFFFFFF
"""Network keys are OVS tunnel keys of 24 bits (RFC 8926 section 3.4: VNI)."""

ZONE_LABEL = "topology.kubernetes.io/zone"

DEFAULT_NETWORK = "default"
"""The Network of objects that no NetworkBindingPolicy binds, if it exists."""


class NetworkType(StrEnum):
    L3 = "l3"
    L2 = "l2"
    EXTERNAL = "external"


class Protocol(StrEnum):
    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
    """Of Services only: nothing here listens or probes with it."""
    ICMP = "ICMP"
    """ICMP echo: ICMP for IPv4, ICMPv6 for IPv6."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """``ipv4Subnet`` or ``ipv6Subnet``: the pods' prefix, cut into one block a node of ``host_local_length`` bits."""

    prefix: Prefix
    host_local_length: int


@dataclass(frozen=True, slots=True)
class Network:
    """``created`` is RFC 3339 text as in the manifest; "" (absent) sorts first, so it counts as oldest.

    ``key`` is 1..16,777,215 in a ClusterState; before keys are allocated, 0 says that none is asked for.
    """

    name: str
    type: NetworkType
    key: int
    subnets: tuple[Subnet, ...] = ()
    external_prefixes: tuple[Prefix, ...] = ()
    labels: Labels = NO_LABELS
    created: str = ""

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Where its addresses lie: the subnets of a pod network, the external prefixes of an external one."""
        return tuple(subnet.prefix for subnet in self.subnets) + self.external_prefixes

    @property
    def is_external(self) -> bool:
        return self.type is NetworkType.EXTERNAL


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """NetworkRoutingPolicy: every selected source may initiate to every selected destination."""

    name: str
    source: NetworkSelector
    destination: NetworkSelector
    created: str = ""


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """ServiceRoutingPolicy: every selected source may use the VIPs of every selected destination, nothing else."""

    name: str
    source: NetworkSelector
    destination: NetworkSelector
    namespaces: LabelSelector = EVERYTHING
    created: str = ""


@dataclass(frozen=True, slots=True)
class BindingPolicy:
    """NetworkBindingPolicy: which Network a Pod or Service belongs to. Higher priority, then older, then name wins."""

    name: str
    network: str
    namespaces: LabelSelector = EVERYTHING
    objects: LabelSelector = EVERYTHING
    priority: int = 0
    created: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its underlay addresses (``status.addresses`` of type InternalIP, in their order)."""

    name: str
    addresses: tuple[Address, ...]
    labels: Labels = NO_LABELS

    @property
    def zone(self) -> str:
        """Its topology zone; "" without one (Kubernetes: Well-Known Labels)."""
        return dict(self.labels).get(ZONE_LABEL, "")


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    labels: Labels = NO_LABELS


@dataclass(frozen=True, slots=True)
class Port:
    """A declared ``containerPort``."""

    protocol: Protocol
    number: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as Kubernetes knows it, before it has a network. ``addresses`` are those it asks for or has already.

    ``uid`` tells a pod from a later one of the same name; "" when the manifest has none. ``ready``: for Services that select it.
    """

    namespace: str
    name: str
    node: str
    labels: Labels = NO_LABELS
    ports: tuple[Port, ...] = ()
    addresses: tuple[Address, ...] = ()
    created: str = ""
    uid: str = ""
    ready: bool = True
    terminating: bool = False
    probes: tuple[int, ...] = ()
    """TCP ports that the kubelet calls: of liveness, readiness and startup probes and of hooks, in order."""

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class HostPod:
    """A pod on its node's own network: its addresses are the node's, ``ports`` are those it declares."""

    namespace: str
    name: str
    node: str
    ports: tuple[Port, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ExternalHost:
    """A host outside the cluster, on the underlay, as the lab has them. It sends what is for pods to the Node ``gateway``."""

    name: str
    addresses: tuple[Address, ...]
    ports: tuple[Port, ...] = ()
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod in its network (NetworkEndpoint): addresses and MAC are final. ``id`` is its ``iface-id`` in Open vSwitch."""

    namespace: str
    name: str
    node: str
    network: str
    addresses: tuple[Address, ...]
    mac: str
    ports: tuple[Port, ...] = ()
    labels: Labels = NO_LABELS
    probes: tuple[int, ...] = ()
    """TCP ports that its node's own processes may call; none where another local pod has its address already."""

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Allocation:
    """The block of a network's prefix that a node hands out addresses from."""

    network: str
    node: str
    block: Prefix


@dataclass(frozen=True, slots=True)
class Backend:
    """An endpoint of a Service's port: one address of an EndpointSlice, in the Service's network.

    ``node`` and ``pod`` (``namespace/name``) are "" where they are not known. ``for_zones`` and ``for_nodes`` are its
    hints: given by the slice, or following from ``trafficDistribution`` (Kubernetes: EndpointSlice v1, EndpointHints).
    """

    address: Address
    port: int
    node: str = ""
    pod: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service's VIPs. ``backends`` of both families, in order of (IP version, address, port), each pair once.

    ``node_port``: the port of every node's addresses that leads here; 0 for none.
    """

    protocol: Protocol
    number: int
    name: str = ""
    backends: tuple[Backend, ...] = ()
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with a VIP, in the one network that its backends are in. ``vips``: its cluster IPs, one a family, IPv4 first.

    ``affinity_seconds``: 0 for none. ``is_local``: ``internalTrafficPolicy`` is Local. ``is_local_by_node_port``:
    ``externalTrafficPolicy`` is Local. Ports in order of (number, protocol). In an external network, its backends are underlay
    addresses.
    """

    namespace: str
    name: str
    network: str
    vips: tuple[Address, ...]
    ports: tuple[ServicePort, ...] = ()
    affinity_seconds: int = 0
    is_local: bool = False
    created: str = ""
    is_local_by_node_port: bool = False

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}"
