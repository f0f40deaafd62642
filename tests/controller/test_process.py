"""The controller as a process, with a real Open vSwitch: what changes in the folder is soon on the bridge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from dummy import DummySwitch, wait_until

from lace_sdn.kube.generation import generation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

pytestmark = pytest.mark.switch

BOUND_S = 120.0
BOOK = Path(__file__).parents[2] / "flows" / "udp-endpoint-removed"
BOTH, ONE_GONE = BOOK / "cluster.yaml", BOOK / "steps" / "01-one-gone" / "cluster.yaml"
PODS = ("feed/client-1", "feed/source-0")
SCTP_SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: calls, namespace: feed}
spec:
  clusterIP: 10.96.157.9
  clusterIPs: [10.96.157.9]
  selector: {serves: ticks}
  ports: [{port: 2905, protocol: SCTP}]
"""


class Controller:
    """``lace-sdn controller`` for node1, whose bridge has the ports of its pods."""

    def __init__(self, switch: DummySwitch, datapath_type: str, *options: str) -> None:
        self.switch = switch
        self._folder = switch.folder
        self.source = switch.folder / "manifests"
        self.source.mkdir()
        self._options = ("--datapath-type", datapath_type, *options)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = (
            *(sys.executable, "-m", "lace_sdn.cli.patched_controller", "--source", self.source, "--verbose"),
            *("--state", self._folder / "ledger", "--listen", self._folder / "openflow.sock"),
            *("--ovsdb", f"node1={self.switch.db}", "--status", self._folder / "status"),
            *self._options,
        )
        with (self._folder / "controller.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(BOUND_S)
        print(self.log)

    @property
    def log(self) -> str:
        return (self._folder / "controller.log").read_text()

    @property
    def status(self) -> dict[str, Any]:
        """Nothing while it has said nothing."""
        file = self._folder / "status"
        said: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return said

    @property
    def node(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status.get("nodes", {}).get("node1", {})
        return found

    def publish(self, text: str) -> float:
        """Replace the manifests by one rename and wait for the barrier behind them. Returns the seconds that it took."""
        fresh = self._folder / "fresh"
        fresh.write_text(text)
        fresh.rename(self.source / "cluster.yaml")
        started = time.monotonic()
        wanted = generation(self.source)
        wait_until(
            lambda: self.status.get("generation") == wanted and self.node.get("programmed"), "flows", BOUND_S
        )
        return time.monotonic() - started

    def add_pods(self) -> None:
        for number in range(1, len(PODS) + 1):
            self.add_pod(number)
        wait_until(lambda: self.node.get("endpoints") == list(PODS), "the pods' flows", BOUND_S)

    def add_pod(self, number: int) -> None:
        self.switch.vsctl(
            *("add-port", "br-int", f"pod{number}", "--", "set", "Interface", f"pod{number}"),
            *("type=dummy", f"ofport_request={number}", f'external_ids:iface-id="{PODS[number - 1]}"'),
        )

    def await_notes(self) -> None:
        """Until the database says of all ports for whom their zones were emptied."""
        wait_until(
            lambda: self.switch.vsctl("list", "Interface").count("zones-emptied-for") == len(PODS) + 1,
            "what rows say of zones",
            BOUND_S,
        )

    def await_programmed(self) -> None:
        wait_until(lambda: self.node.get("programmed"), "flows", BOUND_S)

    def restart(self, meanwhile: Callable[[], None]) -> None:
        """It ends; ``meanwhile`` happens, and it starts again."""
        self.__exit__(None, None, None)
        (self._folder / "status").unlink()
        meanwhile()
        self.__enter__()
        self.await_programmed()

    def zones_flushed(self) -> int:
        """Since its start."""
        return sum(int(words.split()[0]) for words in self.log.split("zones_flushed=")[1:])

    def flows(self, *match: str) -> str:
        return self.switch.ofctl("dump-flows", "br-int", "--no-stats", *match)


@pytest.fixture
def run() -> Iterator[Callable[[str], Controller]]:
    """Starts a controller for a datapath type, with the two endpoints."""
    with ExitStack() as stack:

        def start(datapath_type: str = "system", *options: str) -> Controller:
            switch = stack.enter_context(DummySwitch())
            controller = stack.enter_context(Controller(switch, datapath_type, *options))
            controller.publish(BOTH.read_text() + SCTP_SERVICE)
            controller.add_pods()
            return controller

        yield start


def test_a_udp_endpoint_that_goes_leaves_when_its_connections_are_forgotten(
    run: Callable[..., Controller],
) -> None:
    """Several times; then the bridge is as that of a node that had never known it."""
    controller = run()
    controller.publish(ONE_GONE.read_text())
    assert controller.log.count("connections_flushed=2 removed=0 left=2") == 2
    assert controller.log.count("connections_flushed=2 removed=2 left=0") == 1
    assert "10.157.1.3" not in controller.flows("table=25")
    assert "10.157.0.3" in controller.flows("table=25")
    assert controller.node["groups"] == 2


def test_zones_are_not_emptied_when_switch_and_controller_start_again(run: Callable[..., Controller]) -> None:
    """The switch without any flows, the controller without any memory; each pod is who it was."""
    controller = run()
    controller.await_notes()
    controller.restart(controller.switch.restart_vswitchd)
    assert controller.zones_flushed() == 0


def test_the_zones_of_a_pod_that_was_exchanged_meanwhile_are_emptied(run: Callable[..., Controller]) -> None:
    """Of no other; it has the name, the port and the addresses of its predecessor."""
    controller = run()
    controller.await_notes()

    def exchange() -> None:
        controller.switch.vsctl("del-port", "br-int", "pod1")
        controller.add_pod(1)

    controller.restart(exchange)
    assert controller.zones_flushed() == 2


def test_a_switch_that_waits_for_its_flows_begins_with_them(run: Callable[..., Controller]) -> None:
    """They are written once: nothing flushes them when it begins, and by another connection nothing is left to do."""
    controller = run()
    controller.await_notes()

    def wait_at_next_start() -> None:
        controller.switch.vsctl("set", "Open_vSwitch", ".", "external_ids:called-by=lace-sdn")
        controller.switch.vsctl(
            "--no-wait", "set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true"
        )
        controller.switch.vsctl("--no-wait", "clear", "Bridge", "br-int", "controller")
        controller.switch.restart_vswitchd()

    controller.restart(wait_at_next_start)
    wait_until(lambda: controller.log.count("event=bridge_up") == 2, "the second connection", BOUND_S)
    wait_until(lambda: controller.node.get("programmed"), "the barrier", BOUND_S)
    assert controller.switch.vsctl("get", "Open_vSwitch", ".", "other_config").strip() == "{}"
    assert controller.switch.vsctl("get-controller", "br-int").startswith("punix:")
    assert "table=22" in controller.flows()
    assert re.findall(r"put=(\d+)", controller.log) == [str(controller.node["flows"])]


@pytest.mark.parametrize(("datapath_type", "is_served"), [("system", True), ("netdev", False)])
def test_sctp_is_served_where_the_datapath_tracks_its_ports(
    run: Callable[..., Controller], datapath_type: str, is_served: bool
) -> None:
    """Elsewhere there are no flows for it, and a condition says so."""
    controller = run(datapath_type)
    reasons = {each["reason"] for each in controller.status["conditions"]}
    assert ("sctp" in controller.flows("table=22")) is is_served
    assert ("UnsupportedProtocol" in reasons) is not is_served


def test_the_mtu_is_kept_to_by_the_bridge_and_by_the_way_to_the_node(run: Callable[..., Controller]) -> None:
    controller = run("system", "--mtu", "1400")
    assert "check_pkt_larger(1414)->NXM_NX_REG0[13]" in controller.flows("table=8")
    assert controller.switch.vsctl("get", "Interface", "lace-gw0", "mtu_request").strip() == "1400"


def test_conntrack_s_sequence_check_stays_off_over_a_restart_of_the_switch(
    run: Callable[..., Controller],
) -> None:
    controller = run("netdev")

    def is_off() -> bool:
        return "disabled" in controller.switch.appctl("dpctl/ct-get-tcp-seq-chk", "netdev@ovs-netdev")

    assert is_off()
    assert controller.node["datapathProblems"] == []
    controller.switch.restart_vswitchd()
    wait_until(is_off, "the setting", BOUND_S)


def test_a_renamed_file_is_soon_on_the_bridge(
    run: Callable[..., Controller], record_property: Callable[[str, object], None]
) -> None:
    """At the second look at the source at the latest: the first may find the file too fresh."""
    controller = run()
    texts = (BOTH.read_text(), BOTH.read_text() + SCTP_SERVICE)
    seconds = [controller.publish(text) for text in texts * 4]
    record_property("rename_to_barrier", json.dumps({"seconds": seconds}))
    assert min(seconds) < 1.0


def test_a_burst_of_renamed_files_ends_at_the_last(run: Callable[..., Controller]) -> None:
    """Fifty a second; each read takes all that there is, and none is waited for in vain."""
    controller = run()
    source = controller.switch.folder / "manifests"
    for number in range(50):
        (source.parent / "fresh").write_text(f"{BOTH.read_text()}# {number}\n")
        (source.parent / "fresh").rename(source / "cluster.yaml")
        time.sleep(0.02)
    assert controller.publish(ONE_GONE.read_text()) < BOUND_S
    assert controller.status["problems"] == []
