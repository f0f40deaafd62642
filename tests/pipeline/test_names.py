"""Names of flows: a cookie leads back to the object, a listing says whose a flow is."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Endpoint, Network, NetworkType, Node
from lace_sdn.openflow.flow import Bucket, Flow, Group, program
from lace_sdn.openflow.match import Match
from lace_sdn.pipeline.cookies import Category, cookie, describe, name_id
from lace_sdn.pipeline.listing import flows_text, groups_text

STATE = ClusterState(
    nodes=(Node("node1", (ip_address("192.0.2.1"),)),),
    networks=(Network("blue", NetworkType.L3, 7),),
    endpoints=(Endpoint("ns", "pod", "node1", "blue", (ip_address("10.0.0.1"),), "02:00:00:00:00:01"),),
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (cookie(Category.PIPELINE), "pipeline"),
        (cookie(Category.NODE, name_id("node1")), "Node node1"),
        (cookie(Category.NETWORK, 7), "Network blue"),
        (cookie(Category.ENDPOINT, name_id("ns/pod")), "Pod ns/pod"),
        (cookie(Category.POLICY_CLASS, 7), "policy class of Network blue"),
        (cookie(Category.NETWORK, 8), "gone (0x8)"),
        (0, "foreign"),
        (cookie(Category.NETWORK, 7) ^ 0xFF << 40, "foreign"),
    ],
)
def test_a_cookie_leads_back_to_its_object(value: int, words: str) -> None:
    assert describe(value, STATE) == words


def test_a_listing_has_a_heading_a_table_and_a_comment_an_owner() -> None:
    mine = [Flow(80, priority, Match(), (), owner="Pod a") for priority in (2, 1)]
    assert flows_text(program([*mine, Flow(99, 0, Match(), (), owner="Pod b")])) == (
        "\n# --- table 80 Output: Out.\n# Pod a\n"
        " table=80, priority=2 actions=drop\n table=80, priority=1 actions=drop\n"
        "\n# --- table 99\n# Pod b\n table=99, priority=0 actions=drop\n"
    ).replace(" table=", "table=")


def test_groups_are_listed_with_their_owners() -> None:
    group = Group(1, (Bucket(0, ()),), owner="Service a")
    assert groups_text(program([], [group])) == f"# Service a\n{group}\n"


def test_an_empty_program_is_an_empty_listing() -> None:
    assert flows_text(program([])) == groups_text(program([])) == ""
