"""``lace-sdn flows``: a live switch in the operator's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from lace_sdn.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dummy import DummySwitch

pytestmark = pytest.mark.switch

PEERING = Path(__file__).parents[2] / "flows" / "one-way-peering"
FOREIGN = "table=0,priority=7,in_port=9 actions=drop"


@pytest.fixture
def bridge(dummy_switch: DummySwitch) -> Iterator[str]:
    """The peering's node1, and one flow that somebody added by hand."""
    dummy_switch.add_bridge("br-cli")
    for line in (PEERING / "node1.meters").read_text().splitlines():
        if not line.startswith("#"):
            dummy_switch.ofctl("add-meter", "br-cli", line)
    dummy_switch.ofctl("replace-flows", "br-cli", "--bundle", str(PEERING / "node1.flows"))
    dummy_switch.ofctl("add-flow", "br-cli", FOREIGN)
    yield "br-cli"
    dummy_switch.remove_bridge("br-cli")


def flows(switch: DummySwitch, bridge: str, *arguments: str) -> str:
    where = ("--node", "node1", "--db", switch.db, "--bridge", bridge, "-f", str(PEERING))
    result = CliRunner().invoke(main, ("flows", *where, *arguments))
    assert result.exit_code == 0, result.output
    return result.output


def rows(switch: DummySwitch, bridge: str, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(flows(switch, bridge, "--json", *arguments))["flows"]
    return found


def test_every_flow_has_the_name_of_its_object(dummy_switch: DummySwitch, bridge: str) -> None:
    """The names are those of the golden's comments, policies included."""
    golden = (PEERING / "node1.flows").read_text().splitlines()
    owners = {row["object"] for row in rows(dummy_switch, bridge) if row["expected"]}
    assert owners == {line[2:] for line in golden if line.startswith("# ") and not line.startswith("# ---")}


def test_a_flow_added_by_hand_is_marked(dummy_switch: DummySwitch, bridge: str) -> None:
    unexpected = [row for row in rows(dummy_switch, bridge) if not row["expected"]]
    assert [row["object"] for row in unexpected] == ["foreign"]
    assert "foreign | 0 packets | NOT WHAT THE MANIFESTS MEAN" in flows(dummy_switch, bridge)


def test_another_mtu_than_the_usual_is_what_the_controller_was_told(
    dummy_switch: DummySwitch, bridge: str
) -> None:
    """The manifests say nothing of it."""
    (before,) = rows(dummy_switch, bridge, "--table", "PacketSize")
    after = before["flow"].replace("(1464)", "(1414)")
    dummy_switch.ofctl("add-flow", bridge, after)
    (found,) = rows(dummy_switch, bridge, "--table", "PacketSize")
    assert (found["flow"], found["expected"]) == (after, True)
    assert after != before["flow"]


def test_flows_are_found_by_object(dummy_switch: DummySwitch, bridge: str) -> None:
    found = rows(dummy_switch, bridge, "--object", "networkroutingpolicy shop-uses-db")
    assert {row["table_name"] for row in found} == {"DestinationNetwork", "Permit"}


def test_flows_are_found_by_network(dummy_switch: DummySwitch, bridge: str) -> None:
    found = rows(dummy_switch, bridge, "--network", "shop")
    assert found
    assert all("shop" in row["networks"] for row in found)


@pytest.mark.parametrize("table", ["Permit", "103"])
def test_flows_are_found_by_table(dummy_switch: DummySwitch, bridge: str, table: str) -> None:
    assert {row["table"] for row in rows(dummy_switch, bridge, "--table", table)} == {103}


def test_counters_are_shown(dummy_switch: DummySwitch, bridge: str) -> None:
    assert all(row["packets"] == 0 and row["bytes"] == 0 for row in rows(dummy_switch, bridge))


def test_a_switch_that_does_not_answer_is_named(dummy_switch: DummySwitch) -> None:
    where = ("--node", "node1", "--db", dummy_switch.db, "--bridge", "br-none", "-f", str(PEERING))
    result = CliRunner().invoke(main, ("flows", *where))
    assert result.exit_code == 1
    assert "the switch of Node node1 does not answer" in result.output


def refused(switch: DummySwitch, bridge: str, *arguments: str) -> tuple[int, str, str]:
    where = ("--node", "node1", "--db", switch.db, "--bridge", bridge, "-f", str(PEERING))
    result = CliRunner().invoke(main, ("flows", *where, *arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("table", ["bogus", "999", "0x67"])
def test_a_table_that_does_not_exist_is_an_error(dummy_switch: DummySwitch, bridge: str, table: str) -> None:
    status, shown, said = refused(dummy_switch, bridge, "--table", table)
    assert (status, shown) == (2, "")
    assert f"no such table: {table}; there are: 0 Classifier, " in said


@pytest.mark.parametrize(
    ("option", "value"), [("--network", "shop"), ("--object", "Pod db/db-0"), ("--object", "foreign")]
)
def test_a_filter_that_matches_nothing_says_so(
    dummy_switch: DummySwitch, bridge: str, option: str, value: str
) -> None:
    """What it names is there, also when it has no flow on this node."""
    assert refused(dummy_switch, bridge, option, value, "--table", "Affinity") == (
        1,
        "",
        f"no flow matches {option} {value} --table Affinity\n",
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--network", "shopp", "no such network: shopp; did you mean 'shop'? there are: db, shop"),
        ("--network", "zz", "no such network: zz; there are: db, shop"),
        (
            "--object",
            "zz",
            "no such object: zz; expected a part of kind and name, as they stand above each flow",
        ),
        (
            "--object",
            "shop-use-db",
            "no such object: shop-use-db; did you mean 'NetworkRoutingPolicy shop-uses-db'",
        ),
    ],
)
def test_what_a_filter_names_that_does_not_exist_is_an_error(
    dummy_switch: DummySwitch, bridge: str, option: str, value: str, message: str
) -> None:
    status, shown, said = refused(dummy_switch, bridge, option, value)
    assert (status, shown) == (2, "")
    assert message in said


def test_a_table_of_somebody_elses_flows_can_be_shown(dummy_switch: DummySwitch, bridge: str) -> None:
    dummy_switch.ofctl("add-flow", bridge, "table=99,priority=7 actions=drop")
    assert [row["table"] for row in rows(dummy_switch, bridge, "--table", "99")] == [99]


@pytest.mark.parametrize("option", ["--lab", "--name"])
def test_a_lab_that_does_not_run_is_named(option: str) -> None:
    result = CliRunner().invoke(main, ("flows", "--node", "node1", option, "nowhere"))
    assert result.exit_code == 1
    assert 'there is no lab "nowhere"' in result.output


def test_a_policys_flows_speak_of_both_ends(dummy_switch: DummySwitch, bridge: str) -> None:
    """The source stands in the flow only as its policy class; its members are named."""
    found = rows(dummy_switch, bridge, "--object", "shop-uses-db", "--table", "Permit")
    assert [row["networks"] for row in found] == [["db", "shop"]]
