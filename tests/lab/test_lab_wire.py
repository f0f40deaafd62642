"""Promises about who is on the wire between nodes and hosts: all are neighbours, whatever their prefixes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lace_sdn.lab import LabError
from lace_sdn.lab.names import wire_mac
from lace_sdn.lab.underlay import Post, wire
from lace_sdn.model.objects import ExternalHost, Node

NODES = (
    Node("n1", (ip_address("172.18.0.11"), ip_address("fd00::11"))),
    Node("n2", (ip_address("172.18.0.12"),)),
)


def _host(name: str, *addresses: str, gateway: str = "n1") -> ExternalHost:
    return ExternalHost(name, tuple(map(ip_address, addresses)), (), gateway)


def test_nodes_have_routes_to_hosts_beyond_their_prefix_in_the_families_they_speak() -> None:
    made = wire(NODES, (_host("client", "203.0.113.10", "2001:db8::10"), _host("near", "172.18.0.77")))
    assert made.nodes == {
        "n1": Post(
            wire_mac("node", "n1"), ("172.18.0.11/24", "fd00::11/64"), ("203.0.113.10", "2001:db8::10")
        ),
        "n2": Post(wire_mac("node", "n2"), ("172.18.0.12/24",), ("203.0.113.10",)),
    }


def test_hosts_have_routes_to_everybody_and_a_default_route_by_their_gateway() -> None:
    made = wire(NODES, (_host("client", "203.0.113.10"), _host("both", "203.0.113.11", "2001:db8::11")))
    assert made.hosts == {
        "client": Post(
            wire_mac("host", "client"),
            ("203.0.113.10/32",),
            ("172.18.0.11", "172.18.0.12", "203.0.113.11"),
            ("172.18.0.11",),
        ),
        "both": Post(
            wire_mac("host", "both"),
            ("203.0.113.11/32", "2001:db8::11/128"),
            ("172.18.0.11", "fd00::11", "172.18.0.12", "203.0.113.10"),
            ("172.18.0.11", "fd00::11"),
        ),
    }


def test_a_gateway_without_an_address_of_a_family_is_none_for_it() -> None:
    made = wire(NODES, (_host("client", "203.0.113.10", "2001:db8::10", gateway="n2"),))
    assert made.hosts["client"].gateways == ("172.18.0.12",)


def test_a_host_that_names_no_gateway_has_the_first_node() -> None:
    made = wire(NODES, (_host("client", "203.0.113.10", gateway=""),))
    assert made.hosts["client"].gateways == ("172.18.0.11",)


def test_without_nodes_hosts_are_alone_on_the_wire() -> None:
    assert wire((), (_host("client", "203.0.113.10"),)).hosts["client"].gateways == ()


@pytest.mark.parametrize("owner", ["172.18.0.12", "203.0.113.10"])
def test_a_host_with_an_address_of_another_one_is_refused(owner: str) -> None:
    hosts = (_host("a", "203.0.113.10"), _host("b", owner))
    with pytest.raises(LabError, match=f'ExternalHost "b" has the address {owner} of '):
        wire(NODES, hosts)


def test_every_place_has_a_mac_of_its_own_that_does_not_change() -> None:
    made = wire(NODES, (_host("n1", "203.0.113.10"),))
    assert made.macs.keys() == {"172.18.0.11", "fd00::11", "172.18.0.12", "203.0.113.10"}
    assert len(set(made.macs.values())) == 3
    assert made.macs == wire(NODES, (_host("n1", "203.0.113.10"),)).macs
