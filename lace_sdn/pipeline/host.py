"""What a node's own network stack is to do beside its bridge: a value, made by the controller, carried out on the node."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from lace_sdn.model.objects import Address, Prefix


class NodePort(NamedTuple):
    """A port of the node's addresses of IPv``version`` that leads to a Service. TCP, UDP or SCTP."""

    version: int
    protocol: Protocol
    number: int


@dataclass(frozen=True, slots=True)
class HostProgram:
    """``addresses``: the node's own, in its order; ``routes``: prefixes of pods and VIPs that lead into the bridge, sorted.

    ``node_ports``: sorted. All of it is present at once: what is not here is not there.
    """

    addresses: tuple[Address, ...] = ()
    routes: tuple[Prefix, ...] = ()
    node_ports: tuple[NodePort, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Only lists, texts and numbers; ``from_json`` is its inverse."""
        return {
            "addresses": [str(address) for address in self.addresses],
            "routes": [str(prefix) for prefix in self.routes],
            "nodePorts": [[each.version, each.protocol.value, each.number] for each in self.node_ports],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> HostProgram:
        """Raises KeyError, TypeError or ValueError for what ``as_json`` never makes."""
        return cls(
            tuple(ip_address(text) for text in value["addresses"]),
            tuple(ip_network(text) for text in value["routes"]),
            tuple(
                NodePort(int(version), Protocol(protocol), int(number))
                for version, protocol, number in value["nodePorts"]
            ),
        )
