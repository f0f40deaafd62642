"""A pod never meets the connections of the pod that had its port before."""

from __future__ import annotations

from ipaddress import ip_address

from lace_sdn.controller.zones import stale_zones
from lace_sdn.openflow.flow import BridgeProgram, program
from lace_sdn.pipeline.endpoints import LocalEndpoint
from lace_sdn.pipeline.fixed import Fixed


def bridge(*endpoints: LocalEndpoint) -> BridgeProgram:
    return program(flow for unit in (Fixed(), *endpoints) for flow in unit.flows())


def pod(name: str, ofport: int, *, key: int = 7, address: str = "10.0.0.2") -> LocalEndpoint:
    return LocalEndpoint(f"ns/{name}", "blue", key, ofport, "02:00:0a:00:00:02", (ip_address(address),))


def test_nothing_is_stale_where_nothing_changed() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1))) == ()


def test_a_new_pod_starts_with_an_empty_zone() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1), pod("b", 2, address="10.0.0.9"))) == (2,)


def test_the_zone_of_a_pod_that_went_is_emptied() -> None:
    assert stale_zones(bridge(pod("a", 1), pod("b", 2, address="10.0.0.9")), bridge(pod("a", 1))) == (2,)


def test_a_port_that_changed_hands_is_stale() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("b", 1))) == (1,)


def test_a_namesake_with_another_address_is_another_pod() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1, address="10.0.0.3"))) == (1,)


def test_a_namesake_in_another_network_is_another_pod() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1, key=8))) == (1,)
