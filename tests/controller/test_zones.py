"""A pod never meets the connections of the pod that had its port before, neither in its zone nor in its zone of looped ones."""

from __future__ import annotations

from ipaddress import ip_address

from lace_sdn.controller.zones import stale_zones
from lace_sdn.openflow.flow import BridgeProgram, program
from lace_sdn.pipeline.endpoints import LocalEndpoint
from lace_sdn.pipeline.fixed import Fixed


def bridge(*endpoints: LocalEndpoint) -> BridgeProgram:
    return program(flow for unit in (Fixed(), *endpoints) for flow in unit.flows())


def zones(ofport: int) -> tuple[int, int]:
    """Of a port: its own, and the second one, of connections that its pod has with itself or a pod of its address."""
    return ofport, 0x8000 | ofport


def pod(name: str, ofport: int, *, key: int = 7, address: str = "10.0.0.2") -> LocalEndpoint:
    return LocalEndpoint(f"ns/{name}", "blue", key, ofport, "02:00:0a:00:00:02", (ip_address(address),))


def test_nothing_is_stale_where_nothing_changed() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1))) == ()


def test_a_new_pod_starts_with_an_empty_zone() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1), pod("b", 2, address="10.0.0.9"))) == (
        2,
        0x8002,
    )


def test_the_zone_of_a_pod_that_went_is_emptied() -> None:
    assert stale_zones(bridge(pod("a", 1), pod("b", 2, address="10.0.0.9")), bridge(pod("a", 1))) == (
        2,
        0x8002,
    )


def test_a_port_that_changed_hands_is_stale() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("b", 1))) == (1, 0x8001)


def test_a_namesake_with_another_address_is_another_pod() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1, address="10.0.0.3"))) == (1, 0x8001)


def test_a_namesake_in_another_network_is_another_pod() -> None:
    assert stale_zones(bridge(pod("a", 1)), bridge(pod("a", 1, key=8))) == (1, 0x8001)


def test_zones_come_in_order_of_ports() -> None:
    first, second = pod("a", 1), pod("b", 2, address="10.0.0.9")
    assert stale_zones(bridge(), bridge(second, first)) == (*zones(1), *zones(2))
