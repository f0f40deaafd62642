"""Promises of access to Services: who may use a VIP, and that the numbers of things depend on nothing but names."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import LabelSelector, NetworkSelector, Operator, Requirement, labels
from lace_sdn.model.objects import (
    Namespace,
    Network,
    NetworkType,
    Protocol,
    RoutingPolicy,
    Service,
    ServicePolicy,
    ServicePort,
    Subnet,
)
from lace_sdn.policy.numbers import LARGEST, numbers
from lace_sdn.policy.oracle import service_access
from lace_sdn.policy.relations import resolve
from lace_sdn.policy.services import Admission, ServiceAccess, resolve_services

ANYTHING = NetworkSelector()
PUBLIC = LabelSelector((Requirement("public", Operator.EXISTS),))


def named(name: str) -> NetworkSelector:
    return NetworkSelector(name=name)


def service(namespace: str, network: str, host: int) -> Service:
    return Service(
        namespace, "api", network, (ip_address(f"10.96.0.{host}"),), (ServicePort(Protocol.TCP, 80),)
    )


STATE = ClusterState(
    namespaces=(Namespace("front", labels({"public": "yes"})), Namespace("inner")),
    networks=tuple(
        Network(name, NetworkType.L3, key, (Subnet(ip_network(f"10.{key}.0.0/16"), 24),))
        for key, name in enumerate(("app", "db", "guest", "other"), start=1)
    ),
    services=(service("front", "app", 1), service("inner", "app", 2), service("inner", "db", 3)),
)


def access(*policies: ServicePolicy | RoutingPolicy) -> tuple[ClusterState, ServiceAccess]:
    state = replace(
        STATE,
        service_policies=tuple(each for each in policies if isinstance(each, ServicePolicy)),
        routing_policies=tuple(each for each in policies if isinstance(each, RoutingPolicy)),
    )
    return state, resolve_services(state, resolve(state))


def users(*policies: ServicePolicy | RoutingPolicy) -> dict[str, set[str]]:
    """VIP -> the networks that may use it; oracle and resolution must say the same."""
    state, found = access(*policies)
    said = {
        str(each.vips[0]): {network.name for network in state.networks if found.may_use(network.name, each)}
        for each in state.services
    }
    assert said == {
        str(each.vips[0]): {
            network.name for network in state.networks if service_access(state, network.name, each).allowed
        }
        for each in state.services
    }
    return said


def test_without_a_policy_a_vip_is_for_its_own_network() -> None:
    assert users() == {"10.96.0.1": {"app"}, "10.96.0.2": {"app"}, "10.96.0.3": {"db"}}


def test_a_routing_policy_implies_the_services_in_its_direction() -> None:
    found = users(RoutingPolicy("peer", named("guest"), named("db")))
    assert (found["10.96.0.3"], found["10.96.0.1"]) == ({"db", "guest"}, {"app"})


def test_a_service_policy_admits_to_all_services_of_a_network() -> None:
    found = users(ServicePolicy("p", named("guest"), named("app")))
    assert (found["10.96.0.1"], found["10.96.0.2"]) == ({"app", "guest"}, {"app", "guest"})


def test_a_service_policy_may_admit_to_some_namespaces_only() -> None:
    found = users(ServicePolicy("p", named("guest"), ANYTHING, PUBLIC))
    assert found == {"10.96.0.1": {"app", "guest"}, "10.96.0.2": {"app"}, "10.96.0.3": {"db"}}


def test_a_service_policy_says_nothing_of_the_reverse_direction() -> None:
    found = users(ServicePolicy("p", named("app"), named("db")))
    assert "db" not in found["10.96.0.1"]


def test_clients_that_are_admitted_alike_share_a_class() -> None:
    _, found = access(ServicePolicy("p", ANYTHING, named("app")))
    assert [(each.number, each.members) for each in found.classes] == [(1, ("app", "db", "guest", "other"))]


def test_a_network_admitted_as_a_whole_needs_no_row_a_namespace() -> None:
    _, found = access(
        ServicePolicy("all", named("guest"), named("app")),
        ServicePolicy("public", named("guest"), named("app"), PUBLIC),
    )
    assert dict(found.classes[0].admitted) == {Admission("app"): "all"}


def test_a_policy_to_a_network_without_services_admits_to_nothing() -> None:
    _, found = access(ServicePolicy("p", named("guest"), named("other")))
    assert found.classes == ()


def test_numbers_do_not_depend_on_who_else_is_there() -> None:
    many = [f"ns/service-{index} TCP 80" for index in range(3000)]
    assert numbers(many).items() >= numbers(many[1000:1010]).items()


def test_numbers_differ_and_fit_into_31_bits() -> None:
    found = numbers(f"ns/service-{index} TCP 80" for index in range(20_000))
    assert len(set(found.values())) == len(found)
    assert all(0 < number <= LARGEST for number in found.values())
