"""What a node's own network stack is to do beside its bridge: a value, made by the controller, carried out on the node."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from lace_sdn.model.objects import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.model.objects import Address, Prefix
    from lace_sdn.pipeline.compiler import Cluster


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

    def leads_inward(self, address: Address) -> bool:
        """Whether packets to ``address`` go into the bridge, as far as the host has no route of its own for them."""
        return any(address.version == prefix.version and address in prefix for prefix in self.routes)


def host_program(cluster: Cluster, node: str) -> HostProgram:
    """For ``node``; without it in the state, nothing."""
    place = cluster.state.node_by_name.get(node)
    if place is None:
        return HostProgram()
    routes = cluster.inward.union(_probed(cluster, node))
    in_order = sorted(routes, key=lambda each: (each.version, int(each.network_address), each.prefixlen))
    return HostProgram(place.addresses, tuple(in_order), cluster.node_ports)


def inward(cluster: Cluster) -> frozenset[Prefix]:
    """What the world outside may call, by whatever node: prefixes of pods, and VIPs."""
    return frozenset((*_pods(cluster), *_vips(cluster)))


def node_ports(cluster: Cluster) -> tuple[NodePort, ...]:
    """Of all Services, sorted."""
    ports = {
        NodePort(vip.version, port.protocol, port.node_port)
        for service in cluster.state.services
        for vip in service.vips
        for port in service.ports
        if port.node_port
    }
    return tuple(sorted(ports))


def _pods(cluster: Cluster) -> Iterator[Prefix]:
    """The prefixes of pod networks that an external Network may start connections to."""
    networks = cluster.state.network_by_name
    for source, reach in cluster.relations.reach.items():
        if networks[source].is_external:
            for name in reach:
                yield from (subnet.prefix for subnet in networks[name].subnets)


def _vips(cluster: Cluster) -> Iterator[Prefix]:
    """The VIPs that an external Network may use."""
    external = [each.name for each in cluster.state.networks if each.is_external]
    for service in cluster.state.services:
        if any(cluster.access.may_use(name, service) for name in external):
            yield from (ip_network(vip) for vip in service.vips)


def _probed(cluster: Cluster, node: str) -> Iterator[Prefix]:
    """The pods of the node that it probes."""
    for endpoint in cluster.endpoints_of.get(node, ()):
        if endpoint.probes:
            yield from (ip_network(address) for address in endpoint.addresses)
