"""The arena with Services: clients by every kind of right, equal addresses, hairpins, affinity, several Namespaces."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from arena import ARENA, NETWORKS
from states import TCP_PORT, UDP_PORT, pod

from lace_sdn.model.labels import LabelSelector, NetworkSelector, Operator, Requirement, labels
from lace_sdn.model.objects import Backend, Namespace, Protocol, Service, ServicePolicy, ServicePort

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState

# A pod of bob that is no endpoint, beside one that is.
BYSTANDER = replace(pod(20, NETWORKS["bob"], 0, 9), name="bystander")
PUBLIC = LabelSelector((Requirement("public", Operator.EXISTS),))


def _backends(port: int, *pods: str) -> tuple[Backend, ...]:
    found = [
        Backend(address, port, endpoint.node, endpoint.id)
        for name in pods
        for endpoint in (ARENA.endpoint_by_id[f"pods/{name}"],)
        for address in endpoint.addresses
    ]
    return tuple(sorted(found, key=lambda each: (each.address.version, int(each.address))))


def _service(name: str, network: str, host: int, *ports: ServicePort, namespace: str = "pods") -> Service:
    vips = [ip_address(f"10.96.0.{host}")] + ([ip_address(f"fd00:96::{host}")] if network == "bob" else [])
    return Service(namespace, name, network, tuple(vips), ports)


HTTP_OF_BOB = ServicePort(Protocol.TCP, 80, "http", _backends(TCP_PORT, "bob0", "bob1"))
DNS_OF_BOB = ServicePort(Protocol.UDP, 53, "dns", _backends(UDP_PORT, "bob1"))

SERVICES = (
    _service("dan-web", "dan", 3, ServicePort(Protocol.TCP, 80, "", _backends(TCP_PORT, "dan0"))),
    _service("bob-all", "bob", 1, DNS_OF_BOB, HTTP_OF_BOB),
    _service(
        "bob-inner",
        "bob",
        2,
        ServicePort(Protocol.TCP, 81, "", _backends(TCP_PORT, "bob0")),
        namespace="inner",
    ),
    _service("nothing", "bob", 4, ServicePort(Protocol.TCP, 80), ServicePort(Protocol.UDP, 53)),
    replace(
        _service(
            "cat-sticky", "cat", 5, ServicePort(Protocol.TCP, 80, "", _backends(TCP_PORT, "cat0", "cat2"))
        ),
        affinity_seconds=600,
    ),
)

ADMISSIONS = {
    # xen may use bob's public services only; fay, with dan's and ann's addresses, dan's and ann's of its own prefix.
    "xen-uses-bob": ServicePolicy("xen-uses-bob", NetworkSelector("xen"), NetworkSelector("bob"), PUBLIC),
    "fay-uses-dan": ServicePolicy("fay-uses-dan", NetworkSelector("fay"), NetworkSelector("dan")),
    "xen-uses-cat": ServicePolicy("xen-uses-cat", NetworkSelector("xen"), NetworkSelector("cat")),
}

SERVED = replace(
    ARENA,
    endpoints=tuple(sorted((*ARENA.endpoints, BYSTANDER), key=lambda each: each.id)),
    namespaces=(Namespace("inner"), Namespace("pods", labels({"public": "yes"}))),
    services=tuple(sorted(SERVICES, key=lambda each: (each.namespace, each.name))),
    service_policies=tuple(ADMISSIONS[name] for name in sorted(ADMISSIONS)),
)


def without_admission(name: str) -> ClusterState:
    """Without a ServiceRoutingPolicy. Raises KeyError when there is none of that name."""
    assert ADMISSIONS[name]
    return replace(
        SERVED, service_policies=tuple(each for each in SERVED.service_policies if each.name != name)
    )


def without_service(name: str) -> ClusterState:
    return replace(SERVED, services=tuple(each for each in SERVED.services if each.name != name))


def unlabelled() -> ClusterState:
    """The Namespace of the public services lost its label."""
    return replace(SERVED, namespaces=tuple(Namespace(each.name) for each in SERVED.namespaces))


def rebound(name: str, network: str) -> ClusterState:
    """A Service that belongs to another network now, where it has no endpoint."""
    services = tuple(
        replace(
            each,
            network=network,
            ports=tuple(replace(port, backends=()) for port in each.ports),
        )
        if each.name == name
        else each
        for each in SERVED.services
    )
    return replace(SERVED, services=services)
