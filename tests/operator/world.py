"""Everybody but the operator: users, the scheduler, and the controllers of nodes that give addresses to pods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from objects import binding, endpoint

from lace_sdn.kube.api.client import ApiError
from lace_sdn.kube.api.resources import (
    ALLOCATIONS,
    BINDING_POLICIES,
    NETWORK_ENDPOINTS,
    NETWORKS,
    NODES,
    PODS,
)
from lace_sdn.kube.claims import why_not
from lace_sdn.operator.facts import block, network_fact

if TYPE_CHECKING:
    from memory_api import Data, MemoryServer


@dataclass
class World:
    """``plugged``: endpoints (namespace/name -> uid) whose pods have their interface: they may send."""

    server: MemoryServer
    plugged: dict[str, str] = field(default_factory=dict)
    _begun: dict[str, Data] = field(default_factory=dict)

    def network(self, *objects: Data) -> None:
        """Networks, each with a binding of the pods that are labelled with its name."""
        for each in objects:
            self.server.create(NETWORKS, each)
            name = each["metadata"]["name"]
            if ("", f"to-{name}") not in self.server.of(BINDING_POLICIES):
                self.server.create(BINDING_POLICIES, binding(name, net=name))

    def schedule(self, *pods: Data) -> None:
        for each in pods:
            self.server.create(PODS, each)

    def remove_pod(self, *names: str) -> None:
        """The pod ends: its node takes its interface away, then the endpoint goes, then the pod."""
        for name in names:
            self.plugged.pop(f"shop/{name}", None)
            self._begun.pop(f"shop/{name}", None)
            if ("shop", name) in self.server.of(NETWORK_ENDPOINTS):
                self.server.delete(NETWORK_ENDPOINTS, name, "shop")
            self.server.delete(PODS, name, "shop")

    def remove_node(self, name: str) -> None:
        """With all that runs there."""
        for key, each in list(self.server.of(PODS).items()):
            if each["spec"].get("nodeName") == name:
                self.remove_pod(key[1])
        self.server.delete(NODES, name)

    def attach(self) -> bool:
        """Every pod that needs an address and can have one gets it; whether there was one."""
        attached = [id_ for id_ in self.waiting() if self.begin(id_) and self.confirm(id_)]
        return bool(attached)

    def waiting(self) -> list[str]:
        """Pods without an interface that are on a node."""
        found = self.server.of(PODS).items()
        return [
            "/".join(key)
            for key, each in found
            if each["spec"].get("nodeName") and "/".join(key) not in self.plugged
        ]

    def begin(self, id_: str, seen: MemoryServer | None = None) -> bool:
        """A node's controller claims an address by writing the endpoint, by what it has seen."""
        seen = seen or self.server
        namespace, name = id_.split("/")
        pod = self.server.of(PODS).get((namespace, name))
        if pod is None or id_ in self._begun:
            return False
        network, node = pod["metadata"]["labels"]["net"], pod["spec"]["nodeName"]
        found = seen.of(NETWORKS).get(("", network))
        if found is None or network_fact(found).is_deleted or not network_fact(found).key:
            return False
        addresses = self._addresses(seen, network, node, network_fact(found).cut.families)
        if not addresses:
            return False
        try:
            self._begun[id_] = self.server.create(NETWORK_ENDPOINTS, endpoint(pod, network, *addresses))
        except ApiError as error:
            if not error.is_already_exists:
                raise
            return False
        return True

    def _addresses(self, seen: MemoryServer, network: str, node: str, families: frozenset[int]) -> list[str]:
        """The first free address of each family in the node's blocks; its own endpoints it knows for sure."""
        used = {
            text
            for each in self.server.of(NETWORK_ENDPOINTS).values()
            if (each["spec"]["network"], each["spec"]["node"]) == (network, node)
            for text in each["spec"]["addresses"]
        }
        found: dict[int, str] = {}
        for data in sorted(seen.of(ALLOCATIONS).values(), key=lambda each: each["metadata"]["name"]):
            its = block(data)
            if (its.network, its.node) != (network, node) or its.is_freeing:
                continue
            for prefix in its.prefixes:
                free = (str(prefix[number]) for number in range(2, 20) if str(prefix[number]) not in used)
                found.setdefault(prefix.version, next(free))
        return list(found.values()) if found.keys() >= families else []

    def confirm(self, id_: str) -> bool:
        """Ask the server, after the endpoint is written, whether block and network still are for use. Else it is taken back."""
        made = self._begun.pop(id_, None)
        namespace, name = id_.split("/")
        if made is None or (namespace, name) not in self.server.of(NETWORK_ENDPOINTS):
            return False
        if not why_not(self.server, made, is_new=True):  # type: ignore[arg-type]
            self.plugged[id_] = made["metadata"]["uid"]
            return True
        self.server.delete(NETWORK_ENDPOINTS, name, namespace)
        return False

    def begun(self) -> list[str]:
        return list(self._begun)
