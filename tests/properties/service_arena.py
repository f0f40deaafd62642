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
    from collections.abc import Callable

    from lace_sdn.model.cluster import ClusterState

# A pod of bob that is no endpoint, beside one that is.
BYSTANDER = replace(pod(20, NETWORKS["bob"], 0, 9), name="bystander")
# An endpoint of dan, and far from it a client of fay with the same address.
DAN99 = replace(pod(21, NETWORKS["dan"], 0, 99), name="dan99")
FAY99 = replace(pod(22, NETWORKS["fay"], 0, 99), name="fay99", node="node2")
PODS = {each.id: each for each in (*ARENA.endpoints, BYSTANDER, DAN99, FAY99)}
PUBLIC = LabelSelector((Requirement("public", Operator.EXISTS),))


def _backends(port: int, *pods: str) -> tuple[Backend, ...]:
    found = [
        Backend(address, port, endpoint.node, endpoint.id)
        for name in pods
        for endpoint in (PODS[f"pods/{name}"],)
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
    _service("bob-zero", "bob", 8, ServicePort(Protocol.TCP, 82, "", _backends(TCP_PORT, "bob0"))),
    _service("nothing", "bob", 4, ServicePort(Protocol.TCP, 80), ServicePort(Protocol.UDP, 53)),
    _service("dan-far", "dan", 6, ServicePort(Protocol.TCP, 80, "", _backends(TCP_PORT, "dan99"))),
    replace(
        _service(
            "bob-sticky", "bob", 7, ServicePort(Protocol.TCP, 80, "", _backends(TCP_PORT, "bob0", "bob1"))
        ),
        affinity_seconds=600,
    ),
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
    endpoints=tuple(PODS[name] for name in sorted(PODS)),
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


def without_ways() -> ClusterState:
    """No node has heard yet where the endpoints of bob's and dan's Services are."""
    away = {f"pods/{name}" for name in ("bob0", "bob1", "dan0", "dan99")}
    return replace(
        SERVED,
        endpoints=tuple(each for each in SERVED.endpoints if each.id not in away),
        allocations=tuple(each for each in SERVED.allocations if each.network not in ("bob", "dan")),
    )


def with_endpoints(name: str, *pods: str) -> ClusterState:
    """A Service whose TCP ports have these endpoints, and the others none."""
    return _changed(
        name,
        lambda port: replace(
            port, backends=_backends(TCP_PORT, *pods) if port.protocol is Protocol.TCP else ()
        ),
    )


def without_port(name: str, protocol: Protocol) -> ClusterState:
    return _changed(name, lambda port: None if port.protocol is protocol else port)


def rebound(name: str, network: str) -> ClusterState:
    """A Service that belongs to another network now, where it has no endpoint."""
    empty = with_endpoints(name)
    services = tuple(replace(each, network=network) if each.name == name else each for each in empty.services)
    return replace(empty, services=services)


def _changed(name: str, change: Callable[[ServicePort], ServicePort | None]) -> ClusterState:
    """Each port of the Service becomes ``change`` of it; None: it is gone."""
    services = tuple(
        replace(each, ports=tuple(after for port in each.ports if (after := change(port))))
        if each.name == name
        else each
        for each in SERVED.services
    )
    return replace(SERVED, services=services)
