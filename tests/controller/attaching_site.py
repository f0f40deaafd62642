"""A node in memory: API server, switch and links that outlive the controller, which can be killed, or fail, at any call to them."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "operator"))

from memory_api import MemoryServer

from lace_sdn.controller.attacher import Attacher
from lace_sdn.controller.attaching import AttachError, LinkKind, Sandbox
from lace_sdn.controller.endpoints import full_name
from lace_sdn.controller.sweeper import Sweeper
from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiUnreachable
from lace_sdn.kube.observed import owner_uid
from lace_sdn.model.objects import Network, NetworkType, Subnet
from lace_sdn.node import NodeError
from lace_sdn.node.naming import interface_of
from lace_sdn.policy.refusal import Reason, Refusal
from lace_sdn.switch.pod_interface import PodInterface

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from lace_sdn.model.objects import Address, Prefix
    from lace_sdn.switch.pod_ports import PodPort

Data = dict[str, Any]

NODE, NETWORK, NAMESPACE = "node-1", "blue", "shop"
BLOCKS = (ip_network("10.0.0.0/28"), ip_network("fd00:10::/124"))
PREFIXES = (Subnet(ip_network("10.0.0.0/16"), 28), Subnet(ip_network("fd00:10::/64"), 124))


class KilledError(BaseException):
    """The process ends here."""


@dataclass
class Fate:
    """What happens at the call number ``at`` to anything outside: ``killed`` or ``failed``; before it has an effect, or after (``is_done``)."""

    at: int = -1
    kind: str = "killed"
    is_done: bool = False
    count: int = 0
    has_come: bool = False

    def around(self, call: Callable[[], Any], failure: Callable[[], Exception]) -> Any:
        number, self.count = self.count, self.count + 1
        if number != self.at:
            return call()
        self.has_come = True
        if self.is_done:
            call()
        if self.kind == "killed":
            raise KilledError
        raise failure()


@dataclass
class Outside:
    """What stays when a controller ends."""

    api: MemoryServer = field(default_factory=MemoryServer)
    ports: dict[str, PodPort] = field(default_factory=dict)
    links: dict[str, Data] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    is_database_read: bool = True
    fate: Fate = field(default_factory=Fate)
    meanwhile: dict[str, Callable[[], object]] = field(default_factory=dict)
    """By name of a call: what happens, once, between its effect and its answer."""

    def __post_init__(self) -> None:
        self.api.create(
            resources.NETWORKS, {"kind": "Network", "metadata": {"name": NETWORK}, "spec": {"type": "l3"}}
        )
        blocks = {f"ipv{block.version}Block": str(block) for block in BLOCKS}
        body = {"metadata": {"name": f"{NETWORK}-0"}, "spec": {"network": NETWORK, "node": NODE, **blocks}}
        self.api.create(resources.ALLOCATIONS, body)

    def happened(self, call: str) -> None:
        self.meanwhile.pop(call, lambda: None)()

    def create_pod(self, name: str) -> str:
        """Its uid."""
        body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"nodeName": NODE}}
        return str(self.api.create(resources.PODS, body)["metadata"]["uid"])

    def delete_pod(self, name: str) -> None:
        """At once; Kubernetes then removes what it owns, which here is left to the node."""
        self.api.delete(resources.PODS, name, NAMESPACE)

    def end_namespace(self, path: str) -> None:
        """The kernel removes the link with it."""
        self.namespaces.discard(path)
        self.links = {peer: link for peer, link in self.links.items() if link["namespace"] != path}

    @property
    def endpoints(self) -> dict[str, Data]:
        return {full_name(each): each for each in self.api.of(resources.NETWORK_ENDPOINTS).values()}

    def left(self) -> dict[str, Collection[str]]:
        """Whatever there is of pods."""
        found = {"ports": set(self.ports), "links": set(self.links), "endpoints": set(self.endpoints)}
        return {what: names for what, names in found.items() if names}


class MortalApi:
    """The calls that attaching makes."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._outside.api, name)

        def made(*args: Any, **named: Any) -> Any:
            answer = self._outside.fate.around(
                lambda: call(*args, **named), lambda: ApiUnreachable("no route to host")
            )
            self._outside.happened(name)
            return answer

        return made

    def patch(self, *_: Any, **__: Any) -> None:
        """Only the status, which nothing here depends on, from a thread of its own."""


class MemoryWorld:
    """What the controller has seen: everything at its start, its own writes, and what ``look`` brings."""

    node = NODE
    is_synced = True
    missing = ()

    def __init__(self, outside: Outside) -> None:
        self.api: Any = MortalApi(outside)
        self._outside = outside
        self._pods: dict[str, Data] = {}
        self._endpoints: dict[str, Data] = {}
        self.look()

    def look(self) -> None:
        """All watches have caught up."""
        self._pods = {full_name(each): each for each in self._outside.api.of(resources.PODS).values()}
        self._endpoints = dict(self._outside.endpoints)

    def pod(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self._pods.get(f"{namespace}/{name}")

    def pods(self) -> list[Data]:
        return list(self._pods.values())

    def put_pod(self, body: Data) -> None:
        self._pods[full_name(body)] = body

    def network_of(self, namespace: str, its: Mapping[str, str]) -> Network | Refusal:
        if its.get("network") == "none":
            return Refusal("Pod", namespace, Reason.NO_NETWORK, "no binding matches", "expected one")
        return Network(NETWORK, NetworkType.L3, 7, PREFIXES)

    def blocks(self, network: str) -> tuple[Prefix, ...]:
        return BLOCKS if network == NETWORK else ()

    def endpoints(self) -> list[Data]:
        return list(self._endpoints.values())

    def taken(self) -> list[tuple[str, tuple[Address, ...]]]:
        return [(each["spec"]["network"], addresses_in(each)) for each in self._endpoints.values()]

    def endpoint(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self._endpoints.get(f"{namespace}/{name}")

    def put_endpoint(self, body: Data) -> None:
        self._endpoints[full_name(body)] = body

    def drop_endpoint(self, body: Mapping[str, Any]) -> None:
        self._endpoints.pop(full_name(body), None)


def addresses_in(endpoint: Mapping[str, Any]) -> tuple[Address, ...]:
    return tuple(ip_network(text).network_address for text in endpoint["spec"]["addresses"])


class MemorySwitch:
    """Flows are there as soon as the port and the endpoint are."""

    def __init__(self, outside: Outside, world: MemoryWorld) -> None:
        self._outside = outside
        self._world = world

    def put_pod(self, port: PodPort) -> threading.Event:
        return self._done(lambda: self._outside.ports.__setitem__(port.interface, port))

    def remove_pod(self, interface: str) -> threading.Event:
        return self._done(lambda: self._outside.ports.pop(interface, None))

    def _done(self, change: Callable[[], Any]) -> threading.Event:
        """Never set if the database does not answer."""
        event = threading.Event()
        with contextlib.suppress(TimeoutError):
            self._outside.fate.around(change, TimeoutError)
            event.set()
        return event

    def interfaces(self) -> tuple[PodInterface, ...] | None:
        if not self._outside.is_database_read:
            return None
        return tuple(
            PodInterface(name, port.endpoint, number, "", port.external_ids)
            for number, (name, port) in enumerate(sorted(self._outside.ports.items()), start=1)
        )

    def is_programmed(self, endpoint: str, uid: str, interface: str) -> bool:
        port = self._outside.ports.get(interface)
        its = self._world.endpoint(*endpoint.split("/"))
        return bool(port and port.uid == uid and its and owner_uid(its) == uid)


class MemoryLinks:
    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def _fated(self, call: Callable[[], Any]) -> Any:
        return self._outside.fate.around(call, lambda: NodeError("netlink: no buffer space"))

    def plug(self, link: Data) -> None:
        if link["namespace"] not in self._outside.namespaces:
            raise NodeError(f"{link['namespace']}: the namespace does not exist")
        self._fated(lambda: self._outside.links.__setitem__(link["peer"], link))
        self._outside.happened("plug")

    def faults(self, link: Data) -> list[str]:
        found = self._outside.links.get(link["peer"])
        self._outside.happened("faults")
        return [] if found == link else [f"interface {link['peer']} is not as it was made"]

    def unplug(self, peer: str) -> bool:
        return bool(self._fated(lambda: self._outside.links.pop(peer, None)))

    def links(self) -> list[str]:
        found = sorted(self._outside.links)
        self._outside.happened("links")
        return found

    def namespaces(self, paths: Sequence[str]) -> list[str]:
        found = [path for path in paths if path in self._outside.namespaces]
        self._outside.happened("namespaces")
        return found


class Controller:
    """One life of it."""

    def __init__(self, outside: Outside) -> None:
        self.world = MemoryWorld(outside)
        switch, links = MemorySwitch(outside, self.world), MemoryLinks(outside)
        self.attacher = Attacher(self.world, switch, links, interface_of, LinkKind(1450, True))
        self.sweeper = Sweeper(self.attacher, self.world, switch, links)


@dataclass
class Runtime:
    """A container runtime and its kubelet: a sandbox that could not be attached is deleted, and the pod gets another one."""

    outside: Outside
    controller: Controller
    lives: int = 1
    attached: dict[str, tuple[Sandbox, tuple[Address, ...]]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @staticmethod
    def of(outside: Outside) -> Runtime:
        return Runtime(outside, Controller(outside))

    def sandbox(self, name: str, uid: str) -> Sandbox:
        number = next(self._numbers)
        path = f"/run/netns/{name}-{number}"
        self.outside.namespaces.add(path)
        return Sandbox(NAMESPACE, name, uid, f"container-{number}", path, "eth0")

    def start(self, name: str, uid: str) -> None:
        """Until it is attached, in a few tries."""
        for _ in range(4):
            sandbox = self.sandbox(name, uid)
            try:
                its = self.controller.attacher.add(sandbox)
            except AttachError:
                self.end(sandbox)
            except KilledError:
                self.restart()
                self.end(sandbox)
            else:
                # Whoever had the name, or tried, is the endpoint no more.
                ports = [
                    each.container for each in self.outside.ports.values() if each.endpoint == sandbox.pod
                ]
                assert ports == [sandbox.container]
                self.attached[name] = (sandbox, its.addresses)
                return
        raise AssertionError(f"{name} is not attached")

    def stop(self, name: str) -> None:
        """Its pod was deleted, or is about to be."""
        self.end(self.attached.pop(name)[0])

    def end(self, sandbox: Sandbox) -> None:
        """DEL, again if the controller died; then the namespace goes."""
        for _ in range(3):
            try:
                self.controller.attacher.delete(sandbox)
                break
            except KilledError:
                self.restart()
        self.outside.end_namespace(sandbox.namespace)

    def sweep(self) -> None:
        try:
            self.controller.world.look()
            self.controller.sweeper.sweep()
        except KilledError:
            self.restart()

    def collect(self) -> None:
        """GC, with the containers that there are."""
        valid = {sandbox.container for sandbox, _ in self.attached.values()}
        try:
            self.controller.world.look()
            self.controller.sweeper.sweep(valid)
        except KilledError:
            self.restart()

    def restart(self) -> None:
        """A new process, which sweeps first; it dies no second death."""
        self.lives += 1
        self.controller = Controller(self.outside)
        self.controller.sweeper.sweep()
