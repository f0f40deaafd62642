"""Promises about the judge of probes: arrival counts, not only answers."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lace_sdn.lab.probes import Observation
from lace_sdn.lab.reach import Finding, Found, is_as_intended, judge
from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Endpoint, Network, NetworkType, Node, Protocol, Subnet
from lace_sdn.policy.oracle import Connection


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
    assert _judged("red/d", ("red/d",)) == Finding(Found.HALF, "arrived, no answer returned")


def test_an_answer_of_somebody_else_is_half_a_connection() -> None:
    assert _judged("red/d", ("red/d",), ("blue/b",)) == Finding(Found.HALF, "answered by blue/b")


def test_a_packet_that_also_arrived_elsewhere_is_a_leak() -> None:
    assert _judged("blue/b", ("blue/b", "red/d"), ("blue/b",)) == Finding(Found.LEAK, "reached red/d too")


def test_a_packet_that_arrived_at_a_stranger_is_a_leak() -> None:
    assert _judged("red/c", ("red/d",)) == Finding(Found.LEAK, "reached red/d instead")


def test_a_pod_of_ones_own_network_with_the_same_address_rightly_gets_what_is_sent_there() -> None:
    """blue/a -> 10.0.0.3 is blue/b; that red/c bears the address too does not make it a leak."""
    assert _judged("red/c", ("blue/b",), ("blue/b",)).found is Found.DENY


@pytest.mark.parametrize("found", [Found.HALF, Found.LEAK])
@pytest.mark.parametrize("intended", [True, False])
def test_half_a_connection_or_a_leak_is_never_as_intended(found: Found, intended: bool) -> None:
    assert not is_as_intended(intended, Finding(found))
