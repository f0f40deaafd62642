"""A small cluster with a DNS Service for tests: one client, endpoints by number, both IP families."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import (
    Backend,
    Endpoint,
    Namespace,
    Network,
    NetworkType,
    Node,
    Protocol,
    Service,
    ServicePort,
    Subnet,
)
from lace_sdn.pipeline import compile_node
from lace_sdn.switch.ovsdb_plan import PortMap
from lace_sdn.switch.pod_interface import ZoneNote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import BridgeProgram

NET = Network(
    "net",
    NetworkType.L3,
    1,
    (Subnet(ip_network("10.0.0.0/16"), 24), Subnet(ip_network("fd00::/48"), 64)),
)
CLIENT = Endpoint(
    "shop", "client", "one", "net", (ip_address("10.0.0.99"), ip_address("fd00::99")), "02:00:00:00:00:01"
)
PORTS = {CLIENT.id: 1}
FOUR, SIX = ip_address("10.96.0.1"), ip_address("fd00:96::1")


@dataclass(frozen=True)
class Dns:
    """A Service with a UDP port (and TCP beside it, if ``web``); ``hosts``: numbers of its endpoints.

    ``node_port``: of the UDP port, 0 for none.
    """

    name: str = "dns"
    vips: tuple[Address, ...] = (FOUR,)
    port: int = 53
    hosts: tuple[int, ...] = (1, 2)
    web: tuple[int, ...] = ()
    node_port: int = 0

    @property
    def service(self) -> Service:
        ports = [ServicePort(Protocol.UDP, self.port, "dns", _backends(self.hosts, 5353), self.node_port)]
        if self.web:
            ports.append(ServicePort(Protocol.TCP, 80, "web", _backends(self.web, 8080)))
        return Service("shop", self.name, "net", self.vips, tuple(ports))


def served(*services: Dns) -> ClusterState:
    return ClusterState(
        nodes=(Node("one", ()),),
        namespaces=(Namespace("shop"),),
        networks=(NET,),
        endpoints=(CLIENT,),
        services=tuple(sorted((each.service for each in services), key=lambda each: each.id)),
    )


def programmed(*services: Dns) -> BridgeProgram:
    """The program of the client's node."""
    return compile_node(served(*services), "one", PORTS)


def _backends(hosts: tuple[int, ...], port: int) -> tuple[Backend, ...]:
    """Each host in both families."""
    addresses = [ip_address(f"10.0.0.{host}") for host in hosts] + [
        ip_address(f"fd00::{host}") for host in hosts
    ]
    return tuple(Backend(each, port, "one") for each in addresses)


def rows(ports: Mapping[str, int]) -> PortMap:
    """A node's database with these ports, which says nothing of their zones yet."""
    notes = {name: ZoneNote(f"row of {name}") for name in ports}
    return PortMap(ports, notes=notes, gateway=ZoneNote("gateway"))
