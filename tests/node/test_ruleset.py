"""The table that a program means, as a value."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lace_sdn.model.objects import Protocol
from lace_sdn.node.files import parse_plan
from lace_sdn.node.ruleset import PROTOCOL_NUMBER, document, normal_form
from lace_sdn.pipeline.host import HostProgram, NodePort

PREFIXES = st.builds(
    lambda number, length: ip_network((number, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
)
PORTS = st.builds(
    NodePort, st.sampled_from((4, 6)), st.sampled_from(tuple(PROTOCOL_NUMBER)), st.integers(1, 0xFFFF)
)
PROGRAMS = st.builds(
    HostProgram,
    st.lists(st.ip_addresses(), max_size=4).map(tuple),
    st.lists(PREFIXES, max_size=8).map(tuple),
    st.lists(PORTS, max_size=8).map(tuple),
)


def elements(program: HostProgram, name: str) -> Any:
    sets = [each["add"]["set"] for each in document(program)["nftables"] if "set" in each.get("add", {})]
    return next(each for each in sets if each["name"] == name).get("elem")


def test_an_empty_program_has_sets_without_elements() -> None:
    assert [elements(HostProgram(), f"{kind}4") for kind in ("addresses", "ports", "routes")] == [None] * 3


def test_families_are_kept_apart() -> None:
    program = HostProgram(
        (ip_address("192.0.2.1"), ip_address("2001:db8::1")), (), (NodePort(6, Protocol.UDP, 30053),)
    )
    assert elements(program, "addresses4") == ["192.0.2.1"]
    assert elements(program, "addresses6") == ["2001:db8::1"]
    assert elements(program, "ports4") is None
    assert elements(program, "ports6") == [{"concat": [17, 30053]}]


def test_a_prefix_inside_another_is_not_named_twice() -> None:
    """A set with intervals that overlap is refused by nft, and with it the whole table."""
    program = HostProgram(
        routes=(ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16"), ip_network("10.1.2.3/32"))
    )
    assert elements(program, "routes4") == [{"prefix": {"addr": "10.0.0.0", "len": 8}}]


@given(PROGRAMS)
def test_a_listing_in_another_order_with_handles_and_counts_is_the_same_table(program: HostProgram) -> None:
    wanted = document(program)
    objects = [each["add"] for each in wanted["nftables"] if "add" in each]
    listed = [{kind: value | {"handle": 7} for kind, value in each.items()} for each in objects]
    rules = [each for each in listed if "rule" in each]
    others = [each for each in listed if "rule" not in each]
    text = json.dumps(others[::-1] + rules).replace(
        '{"counter": null}', '{"counter": {"packets": 3, "bytes": 180}}'
    )
    assert normal_form({"nftables": [{"metainfo": {}}, *json.loads(text)]}) == normal_form(wanted)


def test_rules_of_one_chain_in_another_order_are_another_table() -> None:
    wanted = document(HostProgram())
    other = {"nftables": wanted["nftables"][::-1]}
    assert normal_form(other) != normal_form(wanted)


@given(PROGRAMS)
def test_a_program_comes_back_from_its_plan(program: HostProgram) -> None:
    text = json.dumps({"host": program.as_json(), "digest": "d"})
    assert parse_plan(text.encode()) == (program, "d")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"digest": "d"}',
        '{"host": {}, "digest": "d"}',
        '{"host": {"addresses": [], "routes": [], "nodePorts": []}, "digest": ""}',
        '{"host": {"addresses": ["x"], "routes": [], "nodePorts": []}, "digest": "d"}',
        '{"host": {"addresses": [], "routes": ["10.0.0.1/8"], "nodePorts": []}, "digest": "d"}',
        '{"host": {"addresses": [], "routes": [], "nodePorts": [[4, "TCP", 65536]]}, "digest": "d"}',
        '{"host": {"addresses": [], "routes": [], "nodePorts": [[5, "TCP", 80]]}, "digest": "d"}',
        '{"host": {"addresses": [], "routes": [], "nodePorts": [[4, "ICMP", 80]]}, "digest": "d"}',
        '{"host": {"addresses": [], "routes": [], "nodePorts": 7}, "digest": "d"}',
        "[" * 5000,
        "\xff",
    ],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, RecursionError)):
        parse_plan(text.encode("latin-1"))
