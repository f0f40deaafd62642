"""The book of scenarios, judged by Open vSwitch: what it is sent for a scenario is exactly what the goldens say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from openflow_client import OpenFlowClient
from scenario import scenarios

from lace_sdn.openflow.diff import diff
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.text import parse_meters
from lace_sdn.pipeline import compile_node, offline_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dummy import DummySwitch
    from scenario import Scenario

pytestmark = pytest.mark.switch

LISTINGS = [
    (scenario, path.stem) for scenario in scenarios() for path in sorted(scenario.folder.glob("*.flows"))
]


@pytest.fixture
def bridge(dummy_switch: DummySwitch) -> Iterator[str]:
    dummy_switch.add_bridge("br-book")
    yield "br-book"
    dummy_switch.remove_bridge("br-book")


def install(switch: DummySwitch, bridge: str, scenario: Scenario, node: str) -> None:
    """What the controller would send for the scenario: one bundle of our own bytes."""
    state = scenario.built.state
    program = compile_node(state, node, offline_ports(state, node))
    with OpenFlowClient(switch.management_socket(bridge)) as client:
        client.commit(diff(BridgeProgram(), program))


@pytest.mark.parametrize(
    ("scenario", "node"), LISTINGS, ids=[f"{scenario}:{node}" for scenario, node in LISTINGS]
)
def test_switch_holds_what_the_golden_says(
    dummy_switch: DummySwitch, bridge: str, scenario: Scenario, node: str
) -> None:
    """``diff-flows`` between switch and file is empty, and the dumps are the files without their comments."""
    install(dummy_switch, bridge, scenario, node)
    assert sorted(shown_groups(dummy_switch, bridge)) == sorted(
        written_lines(scenario.folder / f"{node}.groups")
    )
    assert sorted(map(str, parse_meters(dummy_switch.ofctl("dump-meters", bridge)))) == sorted(
        written_lines(scenario.folder / f"{node}.meters")
    )
    golden = scenario.folder / f"{node}.flows"
    assert dummy_switch.ofctl("diff-flows", bridge, str(golden)) == ""
    dump = dummy_switch.ofctl("dump-flows", bridge, "--no-stats", "--no-names")
    shown = [line.strip() for line in dump.splitlines() if "actions=" in line]
    assert sorted(shown) == sorted(written_lines(golden))


def written_lines(file: Path) -> list[str]:
    text = file.read_text() if file.exists() else ""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def shown_groups(switch: DummySwitch, bridge: str) -> list[str]:
    dump = switch.ofctl("dump-groups", bridge)
    return [line.strip() for line in dump.splitlines() if "group_id=" in line]


def test_every_cookie_is_ours(dummy_switch: DummySwitch, bridge: str) -> None:
    """A flow's cookie says that it belongs to Lace SDN."""
    install(dummy_switch, bridge, scenarios()[0], "node1")
    cookies = set(re.findall(r"cookie=(0x[0-9a-f]+)", dummy_switch.ofctl("dump-flows", bridge)))
    assert {cookie[:6] for cookie in cookies} == {"0x1ace"}
