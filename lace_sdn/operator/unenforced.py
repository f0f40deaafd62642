"""What users ask for and this version does not enforce: to be silent about it would be a lie about isolation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api.resources import NETWORK_POLICIES, NETWORKS, PODS
from lace_sdn.kube.probes import containers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.model.cluster import Condition

Data = dict[str, Any]
Key = tuple[str, str]

ENFORCED: Final = "Enforced"
"""The type of the conditions of Services that say the same (kube/services.py)."""


@dataclass(frozen=True, slots=True)
class Unenforced:
    """``regarding``: the object, as Events name it."""

    kind: str
    regarding: Mapping[str, Any]
    reason: str
    note: str


def regarding(body: Mapping[str, Any]) -> dict[str, Any]:
    """An object as Events name it."""
    meta = body["metadata"]
    names = {name: meta[name] for name in ("namespace", "name", "uid") if meta.get(name)}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], **names}


class UnenforcedObjects:
    """Kept by every change of an object, so that nobody looks through all pods."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Key], Unenforced] = {}

    def changed(self, resource: Resource, key: Key, data: Data | None) -> None:
        found = _JUDGED[resource](data) if data else None
        if found and data:
            self._found[resource.kind, key] = Unenforced(resource.kind, regarding(data), *found)
        else:
            self._found.pop((resource.kind, key), None)

    def all(self, conditions: Iterator[tuple[Condition, Mapping[str, Any]]]) -> list[Unenforced]:
        """These, and those that ``conditions`` (each with its object) speak of."""
        return [
            *self._found.values(),
            *(
                Unenforced(each.kind, regarding(body), each.reason, each.message)
                for each, body in conditions
                if each.type == ENFORCED and not each.status
            ),
        ]


def counted(found: list[Unenforced]) -> Counter[tuple[str, str]]:
    """How many objects there are of each kind and reason."""
    return Counter((each.kind, each.reason) for each in found)


def _pod(data: Data) -> tuple[str, str] | None:
    """Ports of a node that a pod of a network asks for; on its node's own network it has them anyway."""
    spec = data["spec"]
    if spec.get("hostNetwork") or (data.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return None
    ports = [
        f"{port.get('protocol', 'TCP')} {port['hostPort']}"
        for _, container in containers(spec)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]
    if not ports:
        return None
    note = f"hostPort {', '.join(ports)} is not served by this version; expected a Service of type NodePort, or hostNetwork"
    return "HostPortNotEnforced", note


def _network(data: Data) -> tuple[str, str] | None:
    if data["spec"].get("type") != "l2":
        return None
    return (
        "NetworkTypeNotEnforced",
        "type l2 is not enforced by this version; expected l3 or external; its pods are refused",
    )


def _network_policy(_data: Data) -> tuple[str, str]:
    note = (
        "NetworkPolicies of Kubernetes are not enforced by this version: what it forbids passes inside of a Network, and between "
        "Networks that policies relate; expected Networks and NetworkRoutingPolicies"
    )
    return "NetworkPolicyNotEnforced", note


_JUDGED: Final[Mapping[Resource, Callable[[Data], tuple[str, str] | None]]] = {
    PODS: _pod,
    NETWORKS: _network,
    NETWORK_POLICIES: _network_policy,
}
JUDGED: Final = tuple(_JUDGED)
