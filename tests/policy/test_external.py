"""Promises of the classification of underlay addresses: longest prefix, the older of equals, nobody's stay nobody's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Network, NetworkType
from lace_sdn.policy.external import NOBODY, Contest, outside
from lace_sdn.policy.oracle import external_network
from lace_sdn.policy.overlap import conflicts


def external(name: str, key: int, *prefixes: str, created: str = "") -> Network:
    return Network(
        name, NetworkType.EXTERNAL, key, external_prefixes=tuple(map(ip_network, prefixes)), created=created
    )


WORLD = (
    external("corp", 1, "10.0.0.0/8", "2001:db8:c::/48"),
    external("internet", 2, "0.0.0.0/0", "::/0"),
    external("metadata", 3, "169.254.169.254/32"),
    external("site", 4, "10.20.0.0/16"),
)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "corp"),
        ("10.20.0.1", "site"),
        ("203.0.113.7", "internet"),
        ("2001:db8:c::7", "corp"),
        ("2001:db8:d::7", "internet"),
        ("169.254.169.254", "metadata"),
        ("169.254.169.253", ""),
        ("127.0.0.1", ""),
        ("224.0.0.251", ""),
        ("255.255.255.255", ""),
        ("fe80::7", ""),
        ("ff02::1", ""),
        ("::ffff:10.1.2.3", ""),
        ("64:ff9b:1::a9fe:7f03", ""),
    ],
)
def test_the_longest_prefix_says_whose_an_address_is(address: str, network: str) -> None:
    assert outside(WORLD).network_of(ip_address(address)) == network


def test_an_address_in_no_prefix_has_no_network() -> None:
    assert outside(WORLD[:1]).network_of(ip_address("192.0.2.1")) == ""


def test_the_older_keeps_a_prefix_and_the_loser_its_others() -> None:
    older = external("z", 1, "192.0.2.0/24", created="2026-01-01T00:00:00Z")
    newer = external("a", 2, "192.0.2.0/24", "198.51.100.0/24", created="2026-02-01T00:00:00Z")
    found = outside((newer, older))
    assert found.contests == (Contest(ip_network("192.0.2.0/24"), "z", "a"),)
    assert found.network_of(ip_address("192.0.2.9")) == "z"
    assert found.network_of(ip_address("198.51.100.9")) == "a"


def test_a_prefix_that_was_lost_conflicts_with_nothing() -> None:
    pods = Network("pods", NetworkType.L3, 9)
    older, newer = external("a", 1, "192.0.2.0/24"), external("b", 2, "192.0.2.0/24")
    assert conflicts((older, newer, pods)) == {}


prefixes = st.one_of(
    st.builds(
        lambda number, length: ip_network((number, length), strict=False),
        st.sampled_from([0, *(int(IPv4Address(text)) for text in ("10.0.0.0", "10.128.0.0", "169.254.0.0"))]),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, length: ip_network((number, length), strict=False),
        st.sampled_from([IPv6Address(text).packed for text in ("2001:db8::", "fe80::", "::", "fd00::")]),
        st.integers(0, 128),
    ),
)
ages = st.sampled_from(("", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"))


@given(
    st.lists(st.tuples(st.lists(prefixes, max_size=4), ages), max_size=4),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.sampled_from([each[0] for each in NOBODY])),
)
def test_it_says_what_the_oracle_says(drawn: list[tuple[list[object], str]], other: object) -> None:
    networks = tuple(
        Network(f"n{number}", NetworkType.EXTERNAL, number + 1, (), tuple(its), created=created)  # type: ignore[arg-type]
        for number, (its, created) in enumerate(drawn)
    )
    state = ClusterState(networks=networks)
    found = outside(networks)
    asked = [other, *(prefix[0] for prefix in found.owners), *(prefix[-1] for prefix in found.owners)]
    assert [found.network_of(address) for address in asked] == [  # type: ignore[arg-type]
        external_network(state, address)  # type: ignore[arg-type]
        for address in asked
    ]
