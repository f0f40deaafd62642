"""A node's database: the bridge is set up by the difference, the pods' ports are found, restarts change nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from dummy import DummySwitch, wait_until
from holding import BOUND_S, HolderProcess

from lace_sdn.switch.contract import REFUSALS_A_SECOND
from lace_sdn.switch.ovsdb_plan import datapath_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.switch

NODE = "node-a"
TABLES = {0: "Classifier", 30: "DestinationNetwork"}


@pytest.fixture
def switch() -> Iterator[DummySwitch]:
    with DummySwitch() as running:
        yield running


@pytest.fixture
def holder(switch: DummySwitch, tmp_path: Path) -> Iterator[HolderProcess]:
    """Its socket lies outside the switch's run directory, as that of a controller of many nodes does."""
    with HolderProcess(tmp_path / "openflow.sock") as process:
        process.ask("serve_node", NODE, switch.db, TABLES)
        yield process


def wait_for_ports(holder: HolderProcess, expected: dict[str, int]) -> None:
    def is_there() -> bool:
        reports = holder.ask("ports", NODE)
        return bool(reports) and reports[-1] == expected

    wait_until(is_there, f"{expected} as the last of the reported ports", BOUND_S)


def column(switch: DummySwitch, table: str, record: str, name: str) -> Any:
    text = switch.vsctl("--format=json", f"--columns={name}", "list", table, record)
    return json.loads(text)["data"][0][0]


def transactions(switch: DummySwitch) -> int:
    """How many the database has seen from us."""
    log = switch._run("ovsdb-tool", "show-log", f"{switch.folder}/conf.db")
    return log.count("lace-sdn:")


def add_pod(switch: DummySwitch, interface: str, endpoint: str, *settings: str) -> None:
    switch.vsctl(
        *("add-port", "br-int", interface, "--", "set", "Interface", interface, "type=dummy"),
        *(f'external_ids:iface-id="{endpoint}"', *settings),
    )


def test_the_bridge_is_set_up_and_connects(switch: DummySwitch, holder: HolderProcess) -> None:
    """From an empty database: secure, OpenFlow 1.5, under the datapath id of its name."""
    holder.wait_for_bridge(int(datapath_id(NODE), 16))
    wait_for_ports(holder, {})
    assert column(switch, "Bridge", "br-int", "fail_mode") == "secure"
    assert column(switch, "Bridge", "br-int", "protocols") == [
        "set",
        ["OpenFlow13", "OpenFlow14", "OpenFlow15"],
    ]
    assert column(switch, "Bridge", "br-int", "datapath_type") == "dummy"
    assert column(switch, "Interface", "lace-geneve", "ofport") == 0x7000
    assert dict(column(switch, "Interface", "lace-geneve", "options")[1]) == {
        "key": "flow",
        "remote_ip": "flow",
        "csum": "true",
    }


def test_the_switch_limits_what_it_asks_to_be_refused(switch: DummySwitch, holder: HolderProcess) -> None:
    """It takes turns between ports; our own limit knows none."""
    wait_for_ports(holder, {})
    assert column(switch, "Controller", "br-int", "controller_rate_limit") == REFUSALS_A_SECOND
    assert column(switch, "Controller", "br-int", "controller_burst_limit") == REFUSALS_A_SECOND


def test_tables_have_their_names(switch: DummySwitch, holder: HolderProcess) -> None:
    """In dumps with --names."""
    wait_for_ports(holder, {})
    # The database says at once what the bridge should be; ovs-vswitchd follows.
    wait_until(switch.management_socket("br-int").exists, "the bridge's own socket", BOUND_S)
    switch.ofctl("add-flow", "br-int", "table=30, priority=1 actions=drop")
    assert "table=DestinationNetwork" in switch.ofctl("dump-flows", "br-int", "--names")


def test_there_is_no_moment_with_a_bridge_that_floods(switch: DummySwitch, holder: HolderProcess) -> None:
    """One transaction makes all of it."""
    wait_for_ports(holder, {})
    assert transactions(switch) == 1


def test_a_second_controller_finds_nothing_to_do(switch: DummySwitch, holder: HolderProcess) -> None:
    """Only a switch that waits for its next try is told where to connect, so that it does so at once."""
    holder.wait_for_bridge(int(datapath_id(NODE), 16))
    wait_for_ports(holder, {})
    # The database learns of connections with a delay of its own.
    wait_until(
        lambda: column(switch, "Controller", "br-int", "is_connected") is True, "the connection", BOUND_S
    )
    before = transactions(switch)
    holder.ask("leave_node", NODE)
    holder.ask("serve_node", NODE, switch.db, TABLES)
    wait_until(lambda: len(holder.ask("ports", NODE)) == 2, "the second report", BOUND_S)
    assert transactions(switch) == before


def test_pods_are_found_by_their_id_and_keep_their_port(switch: DummySwitch, holder: HolderProcess) -> None:
    """What ovs-vswitchd chose becomes what the interface asks for."""
    add_pod_after_setup(switch, holder, "pod0", "shop/web-0")
    number = column(switch, "Interface", "pod0", "ofport")
    wait_for_ports(holder, {"shop/web-0": number})
    assert column(switch, "Interface", "pod0", "ofport_request") == number
    switch.vsctl("del-port", "br-int", "pod0")
    wait_for_ports(holder, {})


def test_a_port_beyond_the_pods_range_is_exchanged(switch: DummySwitch, holder: HolderProcess) -> None:
    """A port is also a conntrack zone; above 28671 they have other uses."""
    wait_for_ports(holder, {})
    add_pod(switch, "pod0", "shop/web-0", "ofport_request=40000")
    wait_for_ports(holder, {"shop/web-0": 1})


def test_an_interface_that_cannot_be_opened_is_a_problem_and_no_port(
    switch: DummySwitch, holder: HolderProcess
) -> None:
    """Named with its endpoint; the others go on."""
    add_pod_after_setup(switch, holder, "pod0", "shop/web-0")
    switch.vsctl(
        *("add-port", "br-int", "bad0", "--", "set", "Interface", "bad0", "type=patch"),
        "external_ids:iface-id=shop/bad-0",
    )
    wait_until(lambda: holder.ask("problems", NODE), "a problem", BOUND_S)
    assert "interface bad0 of shop/bad-0" in holder.ask("problems", NODE)[0]
    assert list(holder.ask("ports", NODE)[-1]) == ["shop/web-0"]


def test_ports_survive_a_restart_of_the_switch(switch: DummySwitch, holder: HolderProcess) -> None:
    """The same numbers, and nobody was told otherwise in between."""
    add_pod_after_setup(switch, holder, "pod0", "shop/web-0")
    add_pod(switch, "pod1", "shop/web-1")
    wait_for_ports(holder, {"shop/web-0": 1, "shop/web-1": 2})
    wait_until(
        lambda: column(switch, "Interface", "pod1", "ofport_request") == 2, "the request of pod1", BOUND_S
    )
    switch.vsctl("del-port", "br-int", "pod0")
    wait_for_ports(holder, {"shop/web-1": 2})
    reports = holder.ask("ports", NODE)
    switch.restart_vswitchd()
    holder.wait_for_bridge(int(datapath_id(NODE), 16))
    assert column(switch, "Interface", "pod1", "ofport") == 2
    assert holder.ask("ports", NODE) == reports


def test_no_port_is_made_while_the_datapath_is_as_a_former_switch_left_it(
    switch: DummySwitch, holder: HolderProcess
) -> None:
    """It would be taken for the one that had its number there. Ports may go."""
    add_pod_after_setup(switch, holder, "pod0", "shop/web-0")
    wait_for_ports(holder, {"shop/web-0": 1})
    wait = (
        "Open_vSwitch",
        ".",
        "other_config:flow-restore-wait=true",
        "external_ids:called-by=lace-sdn",
    )
    switch.vsctl("--no-wait", "set", *wait)
    holder.ask("put_pod", NODE, "pod1", "shop/web-1")
    assert holder.ask("remove_pod", NODE, "pod0")
    wait_for_ports(holder, {})
    assert "pod1" not in switch.vsctl("list-ports", "br-int")
    switch.vsctl("--no-wait", "remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")
    wait_for_ports(holder, {"shop/web-1": 1})


def test_a_restarted_controller_is_connected_to_at_once(switch: DummySwitch, holder: HolderProcess) -> None:
    """The switch, which would wait up to 8 s, is made to try; its flows are not lost by that."""
    bridge_id = int(datapath_id(NODE), 16)
    holder.wait_for_bridge(bridge_id)
    wait_for_ports(holder, {})
    # The database says at once what the bridge should be; ovs-vswitchd follows.
    wait_until(switch.management_socket("br-int").exists, "the bridge's own socket", BOUND_S)
    switch.ofctl("add-flow", "br-int", "table=30, priority=1 actions=drop")
    holder.kill()
    holder.openflow.unlink()
    wait_until(lambda: column(switch, "Controller", "br-int", "is_connected") is False, "the loss", BOUND_S)
    holder.start()
    holder.ask("serve_node", NODE, switch.db, TABLES)
    holder.wait_for_bridge(bridge_id)
    assert "table=30, priority=1" in switch.ofctl("dump-flows", "br-int", "--no-stats")


def add_pod_after_setup(switch: DummySwitch, holder: HolderProcess, interface: str, endpoint: str) -> None:
    wait_for_ports(holder, {})
    add_pod(switch, interface, endpoint)
    wait_until(
        lambda: column(switch, "Interface", interface, "ofport") != ["set", []], "the port's number", BOUND_S
    )
