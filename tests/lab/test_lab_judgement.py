"""Promises about the judge of probes: arrival counts, not only answers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from lace_sdn.lab.places import names_of
from lace_sdn.lab.probes import Observation
from lace_sdn.lab.reach import Finding, Found, is_as_intended, judge, judge_service
from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import (
    Backend,
    Endpoint,
    ExternalHost,
    Network,
    NetworkType,
    Node,
    Protocol,
    Service,
    ServicePort,
    Subnet,
)
from lace_sdn.policy.oracle import Connection
from lace_sdn.policy.reachability import DENIED, Expectation, Outcome


def _endpoint(network: str, name: str, address: str) -> Endpoint:
    return Endpoint(network, name, "n", network, (ip_address(address),), "0a:58:00:00:00:01")


def _network(name: str, key: int) -> Network:
    return Network(name, NetworkType.L3, key, (Subnet(ip_network("10.0.0.0/16"), 24),))


STATE = ClusterState(
    nodes=(Node("n", (ip_address("192.168.0.1"),)),),
    networks=(_network("blue", 1), _network("red", 2)),
    endpoints=(
        _endpoint("blue", "a", "10.0.0.2"),
        _endpoint("blue", "b", "10.0.0.3"),
        _endpoint("red", "c", "10.0.0.3"),
        _endpoint("red", "d", "10.0.0.4"),
    ),
)


def _judged(destination: str, seen_at: tuple[str, ...], answered_by: tuple[str, ...] = ()) -> Finding:
    asked = Connection("blue/a", destination, Protocol.TCP, 80)
    return judge(STATE, asked, Observation(seen_at, answered_by))


def test_seen_and_answered_by_the_meant_pod_alone_is_allowed() -> None:
    assert _judged("blue/b", ("blue/b",), ("blue/b",)).found is Found.ALLOW


def test_seen_by_nobody_is_denied() -> None:
    assert _judged("red/d", ()).found is Found.DENY


def test_a_packet_that_arrived_without_an_answer_is_half_a_connection() -> None:
    assert _judged("red/d", ("red/d",)) == Finding(Found.HALF, "reached red/d, no answer returned")


def test_an_answer_of_somebody_else_is_half_a_connection() -> None:
    assert _judged("red/d", ("red/d",), ("blue/b",)) == Finding(
        Found.HALF, "reached red/d, answered by blue/b"
    )


def test_a_packet_that_also_arrived_elsewhere_is_a_leak() -> None:
    assert _judged("blue/b", ("blue/b", "red/d"), ("blue/b",)) == Finding(Found.LEAK, "reached red/d too")


def test_a_packet_that_arrived_at_a_stranger_is_a_leak() -> None:
    assert _judged("red/c", ("red/d",)) == Finding(Found.LEAK, "reached red/d instead")


def test_a_pod_of_ones_own_network_with_the_same_address_rightly_gets_what_is_sent_there() -> None:
    """blue/a -> 10.0.0.3 is blue/b; that red/c bears the address too does not make it a leak."""
    assert _judged("red/c", ("blue/b",), ("blue/b",)).found is Found.DENY


@pytest.mark.parametrize("found", [Found.HALF, Found.LEAK])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_half_a_connection_or_a_leak_is_never_as_intended(found: Found, outcome: Outcome) -> None:
    assert not is_as_intended(Expectation(outcome), Finding(found))


def test_a_refusal_is_not_silence() -> None:
    refused = judge(STATE, Connection("blue/a", "red/d", Protocol.TCP, 80), Observation(refused=True))
    assert refused == Finding(Found.REJECT)
    assert not is_as_intended(DENIED, refused)


def test_a_pod_refuses_what_it_sends_to_its_own_address_without_the_network() -> None:
    twin = replace(
        STATE, endpoints=(*STATE.endpoints, _endpoint("red", "e", "10.0.0.2")), services=STATE.services
    )
    asked = Connection("blue/a", "red/e", Protocol.TCP, 80)
    assert judge(twin, asked, Observation(refused=True)).found is Found.DENY


def _served(*seen: Observation, affinity: int = 0) -> Finding:
    """Of the Service blue/api with the endpoints blue/b and blue/a."""
    backends = tuple(
        Backend(ip_address(f"10.0.0.{host}"), 80, "n", f"blue/{pod}") for host, pod in ((2, "a"), (3, "b"))
    )
    service = Service(
        "blue",
        "api",
        "blue",
        (ip_address("10.96.0.1"),),
        (ServicePort(Protocol.TCP, 80, "", backends),),
        affinity_seconds=affinity,
    )
    state = replace(STATE, services=(service,))
    return judge_service(state, Connection("blue/a", "service blue/api", Protocol.TCP, 80), seen)


A, B = (Observation((pod,), (pod,)) for pod in ("blue/a", "blue/b"))
BOTH = frozenset({"blue/a", "blue/b"})


def test_a_service_is_reached_when_each_attempt_is_answered_by_an_endpoint() -> None:
    assert _served(A, B, A) == Finding(Found.ALLOW, backends=BOTH)


def test_every_endpoint_that_is_meant_must_have_answered() -> None:
    one = _served(A, A)
    assert is_as_intended(Expectation(Outcome.ALLOW, frozenset({"blue/a"})), one)
    assert not is_as_intended(Expectation(Outcome.ALLOW, BOTH), one)


def test_who_is_no_endpoint_of_a_service_is_a_stranger_to_it() -> None:
    assert _served(A, Observation(("red/d",))).found is Found.LEAK


def test_one_attempt_without_an_answer_is_half_a_service() -> None:
    assert _served(A, Observation(("blue/b",))).found is Found.HALF
    assert _served(A, Observation()).found is Found.HALF


def test_a_service_refuses_always_or_never() -> None:
    refused = Observation(refused=True)
    assert _served(refused, refused).found is Found.REJECT
    assert _served(Observation(), Observation()).found is Found.DENY
    assert _served(refused, Observation()) == Finding(Found.HALF, "refused 1 times of 2")


def test_a_client_with_affinity_is_answered_by_one_endpoint_of_those_meant() -> None:
    assert is_as_intended(Expectation(Outcome.ALLOW, BOTH), _served(A, A, affinity=60))
    assert _served(A, B, affinity=60).found is Found.HALF


OUTSIDE = replace(
    STATE,
    nodes=(Node("n", (ip_address("192.168.0.1"),)), Node("m", (ip_address("192.168.0.2"),))),
    networks=(
        *STATE.networks,
        Network("lan", NetworkType.EXTERNAL, 3, (), (ip_network("203.0.113.0/24"),)),
    ),
    external_hosts=(ExternalHost("client", (ip_address("203.0.113.10"),)),),
)


@pytest.mark.parametrize("end", ["host client", "node n"])
def test_hosts_and_nodes_are_judged_as_pods_are(end: str) -> None:
    asked = Connection("blue/a", end, Protocol.TCP, 80)
    assert judge(OUTSIDE, asked, Observation((end,), (end,))) == Finding(
        Found.ALLOW, backends=frozenset({end})
    )
    assert judge(OUTSIDE, asked, Observation((end,))).found is Found.HALF
    assert judge(OUTSIDE, asked, Observation(("red/d",))).found is Found.LEAK
    assert judge(OUTSIDE, asked, Observation(refused=True)).found is Found.REJECT
    assert judge(OUTSIDE, asked, Observation()).found is Found.DENY


def test_an_answer_to_what_nobody_saw_is_half_a_connection() -> None:
    asked = Connection("blue/a", "host client", Protocol.TCP, 80)
    assert judge(OUTSIDE, asked, Observation((), ("host client",))).found is Found.HALF


def test_a_pod_that_bears_the_address_of_a_host_rightly_gets_what_its_network_sends_there() -> None:
    twin = _endpoint("blue", "twin", "203.0.113.10")
    state = replace(OUTSIDE, endpoints=(*OUTSIDE.endpoints, twin))
    asked = Connection("blue/a", "host client", Protocol.TCP, 80)
    assert judge(state, asked, Observation(("blue/twin",), ("blue/twin",))).found is Found.DENY


def _called_by_node_port(*seen: Observation, source: str = "host client") -> Finding:
    """Port 30080 of node m leads to the Service blue/api with the endpoints blue/a and blue/b."""
    port = replace(
        PORT,
        node_port=30080,
        backends=tuple(
            Backend(ip_address(f"10.0.0.{host}"), 80, "n", pod)
            for host, pod in ((2, "blue/a"), (3, "blue/b"))
        ),
    )
    service = Service("blue", "api", "blue", (ip_address("10.96.0.1"),), (port,))
    state = replace(OUTSIDE, services=(service,))
    return judge_service(state, Connection(source, "node m", Protocol.TCP, 30080), seen)


PORT = ServicePort(Protocol.TCP, 80)


def test_a_node_port_is_reached_when_each_attempt_is_answered_by_an_endpoint() -> None:
    assert _called_by_node_port(A, B, A) == Finding(Found.ALLOW, backends=BOTH)


@pytest.mark.parametrize("stranger", ["red/d", "node m", "node n", "host client"])
def test_who_is_no_endpoint_behind_a_node_port_is_a_stranger(stranger: str) -> None:
    """The node itself, too: it is to lead to the Service."""
    asked = _called_by_node_port(A, Observation((stranger,), (stranger,)), source="blue/a")
    assert asked.found is Found.LEAK


def test_a_node_port_refuses_always_or_never() -> None:
    refused = Observation(refused=True)
    assert _called_by_node_port(refused, refused).found is Found.REJECT
    assert _called_by_node_port(Observation()).found is Found.DENY
    assert _called_by_node_port(refused, A).found is Found.HALF


def test_endpoints_in_an_external_network_are_known_by_the_hosts_and_nodes_that_have_their_addresses() -> (
    None
):
    backends = tuple(
        Backend(ip_address(text), 80) for text in ("192.168.0.2", "203.0.113.10", "203.0.113.99")
    )
    service = Service("lan", "web", "lan", (ip_address("10.96.0.2"),), (replace(PORT, backends=backends),))
    state = replace(OUTSIDE, services=(service,))
    names = ("node m", "host client", "203.0.113.99:80")
    asked = Connection("blue/a", "service lan/web", Protocol.TCP, 80)
    seen = [Observation((name,), (name,)) for name in names[:2]]
    assert tuple(names_of(state, service, backends)) == names
    assert judge_service(state, asked, seen).backends == frozenset(names[:2])
