"""One cluster with every trap of the world outside: nested and containing prefixes, equal addresses, NodePorts, probes, the underlay."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from states import TCP_PORT, UDP_PORT, assemble, pod

from lace_sdn.model.labels import NetworkSelector
from lace_sdn.model.objects import (
    Backend,
    ExternalHost,
    HostPod,
    Network,
    NetworkType,
    Node,
    Port,
    Protocol,
    RoutingPolicy,
    Service,
    ServicePolicy,
    ServicePort,
    Subnet,
)

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address

API_PORT, HTTP, TUNNELS = 6443, 443, 6081
NODE_PORTS = {
    "web": 30080,
    "dns": 30053,
    "near": 30081,
    "sticky": 30082,
    "loyal": 30083,
    "own": 30084,
    "none": 30085,
}

NODES = tuple(
    Node(f"node{index}", (ip_address(f"192.168.50.{index + 1}"), ip_address(f"2001:db8:50::{index + 1}")))
    for index in range(3)
)


def _inside(name: str, key: int, ipv4: str, ipv6: str) -> Network:
    subnets = (Subnet(ip_network(ipv4), 24), Subnet(ip_network(ipv6), 64))
    return Network(name, NetworkType.L3, key, subnets)


def _outside(name: str, key: int, *prefixes: str) -> Network:
    return Network(name, NetworkType.EXTERNAL, key, (), tuple(map(ip_network, prefixes)))


NETWORKS = {
    each.name: each
    for each in (
        _inside("ann", 0x64, "10.0.0.0/16", "fd00:0:0::/48"),
        _inside("dan", 0x65, "10.0.0.0/16", "fd00:0:0::/48"),
        _inside("bob", 0xC8, "10.1.0.0/16", "fd00:0:1::/48"),
        _inside("cat", 0x12C, "10.2.0.0/16", "fd00:0:2::/48"),
        _inside("eve", 0x12D, "10.3.0.0/16", "fd00:0:3::/48"),
        # The nodes' own addresses are in its prefix.
        Network("gus", NetworkType.L3, 0x12E, (Subnet(ip_network("192.168.50.0/24"), 26),)),
        _outside("world", 0x320, "128.0.0.0/1", "169.0.0.0/8", "2000::/3", "64:ff9b::/32"),
        _outside("corp", 0x321, "203.0.113.0/24", "2001:db8:7::/48"),
        # Contains the prefixes of pods.
        _outside("wide", 0x322, "10.0.0.0/8", "fd00::/16"),
        # Contains the nodes.
        _outside("base", 0x323, "192.168.0.0/16", "2001:db8:50::/48"),
        # Nobody is related to it: its addresses are no one's but its own.
        _outside("shut", 0x324, "203.0.113.64/26", "2001:db8:7:64::/64"),
    )
}

ROUTES = (
    ("ann", "world"),
    ("ann", "corp"),
    ("dan", "world"),
    ("ann", "bob"),
    ("bob", "corp"),
    ("cat", "base"),
    ("corp", "bob"),
    ("wide", "bob"),
    ("base", "cat"),
)
USES = (
    ("world", "bob"),
    ("base", "bob"),
    ("eve", "bob"),
    ("gus", "bob"),
    ("world", "dan"),
    ("eve", "base"),
    ("wide", "base"),
)

POLICIES = tuple(RoutingPolicy(f"{a}-to-{b}", NetworkSelector(a), NetworkSelector(b)) for a, b in ROUTES)
ADMISSIONS = tuple(ServicePolicy(f"{a}-uses-{b}", NetworkSelector(a), NetworkSelector(b)) for a, b in USES)

# Name: network, node, host. Equal hosts on one node, in networks of one prefix, are equal addresses.
_PODS = {
    "ann0": ("ann", 0, 5),
    "ann1": ("ann", 1, 5),
    "dan0": ("dan", 0, 5),
    "dan1": ("dan", 1, 7),
    "bob0": ("bob", 0, 5),
    "bob1": ("bob", 1, 5),
    "cat0": ("cat", 0, 5),
    "cat1": ("cat", 1, 5),
    "cat2": ("cat", 2, 5),
    "eve0": ("eve", 0, 5),
    "eve2": ("eve", 2, 5),
    "gus0": ("gus", 0, 5),
}
_PROBES = {"bob0": (TCP_PORT, 9090), "bob1": (TCP_PORT,), "eve0": (9090,), "cat2": (TCP_PORT,)}
PODS = {
    name: replace(pod(number, NETWORKS[network], node, host), name=name, probes=_PROBES.get(name, ()))
    for number, (name, (network, node, host)) in enumerate(_PODS.items(), start=1)
}

_LISTEN = (Port(Protocol.TCP, HTTP), Port(Protocol.UDP, UDP_PORT))
HOSTS = tuple(
    ExternalHost(name, tuple(map(ip_address, addresses)), (*_LISTEN, Port(Protocol.UDP, TUNNELS)), gateway)
    for name, gateway, *addresses in (
        # The address of bob0, and that of dan1: far from it, and at its own node.
        ("alike", "node2", "10.1.1.5", "fd00:0:1:1::5"),
        ("corp0", "node0", "203.0.113.7", "2001:db8:7::7"),
        ("corp2", "node2", "203.0.113.8", "2001:db8:7::8"),
        ("file", "node1", "10.200.0.7", "fd00:200::7"),
        ("like-dan", "node1", "10.0.2.7", "fd00:0:0:2::7"),
        ("lan", "node2", "192.168.60.7", "2001:db8:50:60::7"),
        ("locked", "node0", "203.0.113.70", "2001:db8:7:64::70"),
        ("net", "node1", "198.51.100.7", "2001:db8:8::7"),
    )
)


def _behind(port: int, *names: str) -> tuple[Backend, ...]:
    found = [
        Backend(a, port, PODS[name].node, f"pods/{name}") for name in names for a in PODS[name].addresses
    ]
    return tuple(sorted(found, key=lambda each: (each.address.version, int(each.address))))


def _beneath(port: int, *addresses: Address) -> tuple[Backend, ...]:
    homes = {address: node.name for node in NODES for address in node.addresses}
    found = [Backend(each, port, homes.get(each, "")) for each in addresses]
    return tuple(sorted(found, key=lambda each: (each.address.version, int(each.address))))


def _service(name: str, network: str, host: int, port: ServicePort, seconds: int = 0) -> Service:
    vips = (ip_address(f"10.96.0.{host}"), ip_address(f"fd00:96::{host}"))
    return Service("pods", name, network, vips, (port,), seconds)


def _tcp(name: str, *behind: str) -> ServicePort:
    return ServicePort(Protocol.TCP, 80, "", _behind(TCP_PORT, *behind), NODE_PORTS.get(name, 0))


_LAN = HOSTS[5].addresses
SERVICES = (
    _service(
        "api", "base", 1, ServicePort(Protocol.TCP, HTTP, "", _beneath(API_PORT, *NODES[0].addresses, *_LAN))
    ),
    _service(
        "dns", "bob", 2, ServicePort(Protocol.UDP, 53, "", _behind(UDP_PORT, "bob1"), NODE_PORTS["dns"])
    ),
    _service("lan", "base", 3, ServicePort(Protocol.UDP, 53, "", _beneath(UDP_PORT, *_LAN)), 600),
    replace(_service("loyal", "bob", 4, _tcp("loyal", "bob0", "bob1"), 600), is_local_by_node_port=True),
    replace(_service("near", "bob", 5, _tcp("near", "bob0")), is_local_by_node_port=True),
    # Refused by those who may use it, silent to all others.
    _service("none", "bob", 10, _tcp("none")),
    _service("of-dan", "dan", 6, _tcp("of-dan", "dan1")),
    # On node1 nobody may use it.
    _service("own", "eve", 11, _tcp("own", "eve0")),
    _service("sticky", "bob", 7, _tcp("sticky", "bob0", "bob1"), 600),
    # An endpoint that would be the end of a tunnel.
    _service("tunnels", "base", 8, ServicePort(Protocol.UDP, 53, "", _beneath(TUNNELS, *NODES[1].addresses))),
    _service("web", "bob", 9, _tcp("web", "bob0", "bob1")),
)

OUTER = replace(
    assemble(NODES, tuple(NETWORKS.values()), POLICIES, tuple(PODS.values())),
    services=SERVICES,
    service_policies=tuple(sorted(ADMISSIONS, key=lambda each: each.name)),
    external_hosts=HOSTS,
    host_pods=(HostPod("pods", "api", "node0", (Port(Protocol.TCP, API_PORT),)),),
)


def without(*names: str) -> ClusterState:
    """Without these NetworkRoutingPolicies, ServiceRoutingPolicies (``A-to-B``, ``A-uses-B``) and Services (``pods/NAME``)."""
    left = replace(
        OUTER,
        routing_policies=tuple(each for each in OUTER.routing_policies if each.name not in names),
        service_policies=tuple(each for each in OUTER.service_policies if each.name not in names),
        services=tuple(each for each in OUTER.services if each.id not in names),
    )
    gone = sum(
        len(getattr(OUTER, kind)) - len(getattr(left, kind))
        for kind in ("routing_policies", "service_policies", "services")
    )
    assert gone == len(names), names
    return left


def with_prefixes(name: str, *prefixes: str) -> ClusterState:
    """An external Network has these prefixes instead of its own."""
    found = tuple(map(ip_network, prefixes))
    changed = (
        replace(each, external_prefixes=found) if each.name == name else each for each in OUTER.networks
    )
    return replace(OUTER, networks=tuple(changed))


def with_probes(name: str, *ports: int) -> ClusterState:
    """A pod has these probes instead of its own."""
    changed = (replace(each, probes=ports) if each.name == name else each for each in OUTER.endpoints)
    return replace(OUTER, endpoints=tuple(changed))


def with_backends(*names: str) -> ClusterState:
    """The Services with affinity have these pods alone."""
    changed = tuple(
        replace(each, ports=tuple(replace(port, backends=_behind(TCP_PORT, *names)) for port in each.ports))
        if each.name in ("loyal", "sticky")
        else each
        for each in OUTER.services
    )
    return replace(OUTER, services=changed)
