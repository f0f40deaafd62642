"""What attaching pods needs of the cluster, the switch and the node's links; and what it is asked and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lace_sdn.pipeline.constants import GATEWAY_IPV4, GATEWAY_IPV6

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping, Sequence

    from lace_sdn.kube.api.client import Api
    from lace_sdn.model.objects import Address, Network, Prefix
    from lace_sdn.policy.refusal import Refusal
    from lace_sdn.switch.pod_interface import PodInterface
    from lace_sdn.switch.pod_ports import PodPort

Data = dict[str, Any]


class AttachError(Exception):
    """Why a pod cannot be attached now: ``code`` of the CNI specification, and what an operator should know."""

    def __init__(self, message: str, details: str = "", code: int = 11) -> None:
        """``code``: 11, try again later, unless it is the configuration that is wrong."""
        super().__init__(f"{message}: {details}" if details else message)
        self.message = message
        self.details = details
        self.code = code


class WorldView(Protocol):
    """What is known of the cluster (``ApiWorld``)."""

    api: Api
    node: str

    @property
    def is_synced(self) -> bool: ...
    @property
    def missing(self) -> tuple[str, ...]: ...
    def pod(self, namespace: str, name: str) -> Mapping[str, Any] | None: ...
    def pods(self) -> Iterable[Mapping[str, Any]]: ...
    def put_pod(self, body: Data) -> None: ...
    def network_of(self, namespace: str, its: Mapping[str, str]) -> Network | Refusal: ...
    def blocks(self, network: str) -> tuple[Prefix, ...]: ...
    def endpoints(self) -> Iterable[Mapping[str, Any]]: ...
    def taken(self) -> Iterable[tuple[str, tuple[Address, ...]]]: ...
    def endpoint(self, namespace: str, name: str) -> Mapping[str, Any] | None: ...
    def put_endpoint(self, body: Data) -> None: ...
    def drop_endpoint(self, body: Mapping[str, Any]) -> None: ...


class Switch(Protocol):
    """The node's bridge (``OvsdbNode``): its ports, and whether a pod's flows are there."""

    def put_pod(self, port: PodPort) -> threading.Event: ...
    def remove_pod(self, interface: str) -> threading.Event: ...
    def interfaces(self) -> tuple[PodInterface, ...] | None: ...
    def is_programmed(self, endpoint: str, uid: str, interface: str) -> bool: ...


class Links(Protocol):
    """The pods' links (``Netlink``)."""

    def plug(self, link: Data) -> None: ...
    def faults(self, link: Data) -> list[str]: ...
    def unplug(self, peer: str) -> bool: ...
    def links(self) -> list[str]: ...
    def namespaces(self, paths: Sequence[str]) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class LinkKind:
    """``mtu``: octets; ``is_userspace``: the datapath, which needs checksums made by the pods."""

    mtu: int
    is_userspace: bool


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a container runtime says: ``namespace``: path of the network namespace; ``uid``: "" from runtimes that do not say it."""

    pod_namespace: str
    pod_name: str
    uid: str
    container: str
    namespace: str
    device: str

    @property
    def pod(self) -> str:
        return f"{self.pod_namespace}/{self.pod_name}"


@dataclass(frozen=True, slots=True)
class Attached:
    """``mtu``: octets; ``interface``: the end in the node."""

    interface: str
    mac: str
    addresses: tuple[Address, ...]
    mtu: int

    @property
    def gateways(self) -> dict[int, Address]:
        return {4: GATEWAY_IPV4, 6: GATEWAY_IPV6}
