"""Promises of a running lab: real switches, real packets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import agent_client, netns, pods, processes, switches
from lace_sdn.lab.names import pod_interface

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bring, Differences

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab
BOOK = Path(__file__).parents[2] / "flows"
PEERING = BOOK / "one-way-peering"

Command = "Callable[..., subprocess.CompletedProcess[str]]"


def _nothing_is_left(lab: Lab) -> bool:
    return not (netns.names(lab.namespace_prefix) or lab.run.exists() or processes.find(lab.run))


def _address(built: Built, pod: str) -> str:
    return str(built.state.endpoint_by_id[pod].addresses[0])


def _stream(lab: Lab, built: Built) -> socket.socket:
    """A TCP connection from web-0 to web-1 on the other node, whose listener has said its name."""
    with netns.inside(lab.pod_namespace("shop/web-0")):
        stream = socket.create_connection((_address(built, "shop/web-1"), 8080), timeout=10)
    assert stream.recv(100)
    return stream


def _is_alive(stream: socket.socket) -> bool:
    stream.sendall(b"still there?")
    return bool(stream.recv(100))


def _edited(folder: Path, *changes: tuple[str, str]) -> Path:
    """The peering scenario with texts replaced, in ``folder``."""
    text = (PEERING / "cluster.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "cluster.yaml").write_text(text)
    return folder


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_up_makes_exactly_what_is_intended_and_down_removes_everything(
    lab: Lab, bring: Bring, differences: Differences, command: Command
) -> None:
    built = bring(lab, PEERING)
    assert differences(lab, built) == {}
    assert command("lab", "down", "--name", lab.name).returncode == 0
    assert _nothing_is_left(lab)


def test_up_again_leaves_processes_pods_and_connections_as_they_are(standing: Lab, bring: Bring) -> None:
    built = bring(standing, PEERING)
    before = processes.find(standing.run)
    with _stream(standing, built) as stream:
        bring(standing, PEERING)
        assert _is_alive(stream)
    assert processes.find(standing.run) == before


def test_dual_stack_pods_reach_each_other_in_both_families_with_the_largest_packets(
    standing: Lab, bring: Bring, differences: Differences, command: Command
) -> None:
    """1450 bytes of pod MTU: 8 of ICMP and 20 of IPv4 or 40 of IPv6 leave these sizes."""
    built = bring(standing, BOOK / "dual-stack")
    assert differences(standing, built) == {}
    four, six = map(str, built.state.endpoint_by_id["dual/b"].addresses)
    ping = ("lab", "exec", "--name", standing.name, "dual/a", "--", "ping", "-c1", "-W5", "-Mdo")
    assert command(*ping, "-s1422", four).returncode == 0
    assert command(*ping, "-s1402", six).returncode == 0
    assert command(*ping, "-s1423", four).returncode == 1


def test_apply_follows_pods_and_nodes_and_leaves_others_undisturbed(
    standing: Lab, bring: Bring, differences: Differences, tmp_path: Path
) -> None:
    with _stream(standing, bring(standing, PEERING)) as stream:
        third = "kind: Node\nmetadata: {name: node2}"
        more = third.replace("node2", "node3") + (
            "\nstatus:\n  addresses: [{type: InternalIP, address: 192.168.50.3}]\n---\napiVersion: v1\n"
            + third
        )
        moved = _edited(
            tmp_path,
            (third, more),
            ("metadata: {name: db-0, namespace: db}\nspec:\n  nodeName: node1", "metadata: {name: db-1, namespace: db}\nspec:\n  nodeName: node3"),
        )  # fmt: skip
        built = bring(standing, moved)
        assert differences(standing, built) == {}
        assert pods.recorded(standing).keys() == {"shop/web-0", "shop/web-1", "db/db-1"}
        built = bring(standing, PEERING)
        assert differences(standing, built) == {}
        assert _is_alive(stream)
    assert not netns.exists(standing.node_namespace("node3"))


def test_a_pod_whose_binding_changed_is_made_anew_in_its_new_network(
    standing: Lab, bring: Bring, differences: Differences, tmp_path: Path
) -> None:
    bring(standing, PEERING)
    built = bring(
        standing, _edited(tmp_path, ("name: db, labels: {network: db}", "name: db, labels: {network: shop}"))
    )
    assert built.state.endpoint_by_id["db/db-0"].network == "shop"
    assert differences(standing, built) == {}


def test_bad_manifests_are_reported_and_the_rest_is_applied(
    standing: Lab, bring: Bring, differences: Differences, tmp_path: Path
) -> None:
    bring(standing, PEERING)
    built = bring(standing, _edited(tmp_path, ("srcSelector: {name: shop}", "srcSelctor: {name: shop}")))
    assert len(built.problems) >= 1
    assert differences(standing, built) == {}


def test_a_packet_that_is_copied_to_a_third_pod_is_found_as_a_leak(
    standing: Lab, bring: Bring, differences: Differences
) -> None:
    """The judge would see a hole in the switch, and what it says names the pod that should not have seen the packet.

    Requests of web-0 go astray, and so do its replies to web-1.
    """
    built = bring(standing, PEERING)
    switch = switches.Switch(standing, "node1")
    environment = {**os.environ, **switch.environment()}
    port = switch.vsctl("get", "Interface", pod_interface("db/db-0"), "ofport").strip()
    source = switch.vsctl("get", "Interface", pod_interface("shop/web-0"), "ofport").strip()
    hole = (
        f"priority=65535,in_port={source},icmp,nw_dst={_address(built, 'shop/web-1')},actions=output:{port}"
    )
    processes.run(["ovs-ofctl", "-OOpenFlow15", "add-flow", "br-int", hole], env=environment)
    try:
        switches.await_revalidation(switch)
        assert sorted(differences(standing, built).values()) == [
            "leak reached db/db-0 instead",
            "leak reached db/db-0 too",
        ]
    finally:
        match = hole.partition(",actions")[0]
        processes.run(
            ["ovs-ofctl", "-OOpenFlow15", "--strict", "del-flows", "br-int", match], env=environment
        )


def test_labs_with_the_same_objects_do_not_meet(
    make_lab: Callable[[], Lab], bring: Bring, differences: Differences, command: Command
) -> None:
    """Same nodes, same underlay addresses, same pods: and the end of one is nothing to the other."""
    one, other = make_lab(), make_lab()
    bring(one, PEERING)
    built = bring(other, PEERING)
    assert differences(one, built) == {}
    assert command("lab", "down", "--name", one.name).returncode == 0
    assert differences(other, built) == {}


@pytest.mark.parametrize("daemon", ["agent", "controller", "nodes/node1/ovs-vswitchd", "nodes/node2"])
def test_up_replaces_what_was_killed(
    standing: Lab, bring: Bring, differences: Differences, daemon: str
) -> None:
    bring(standing, PEERING)
    for pid in processes.find(standing.run / daemon):
        os.kill(pid, signal.SIGKILL)
    _await(lambda: not processes.find(standing.run / daemon))
    assert differences(standing, bring(standing, PEERING)) == {}


STAGES = {
    "folder": lambda lab: lab.run.exists(),
    "node": lambda lab: netns.exists(lab.node_namespace("node1")),
    "switches": lambda lab: bool(processes.find(lab.nodes)),
    "controller": lambda lab: bool(processes.find(lab.run / "controller")),
    "pod": lambda lab: netns.exists(lab.pod_namespace("db/db-0")),
    "agent": lambda lab: bool(processes.find(lab.run / "agent")),
}


@pytest.mark.parametrize("stage", STAGES)
def test_up_goes_on_where_a_killed_one_ended(
    lab: Lab, bring: Bring, differences: Differences, command: Command, stage: str
) -> None:
    _kill_up_at(lab, stage)
    assert differences(lab, bring(lab, PEERING)) == {}
    assert command("lab", "down", "--name", lab.name).returncode == 0
    assert _nothing_is_left(lab)


@pytest.mark.parametrize("stage", ["node", "switches", "pod"])
def test_down_removes_what_a_killed_up_left(lab: Lab, command: Command, stage: str) -> None:
    _kill_up_at(lab, stage)
    assert command("lab", "down", "--name", lab.name).returncode == 0
    assert _nothing_is_left(lab)


def _kill_up_at(lab: Lab, stage: str) -> None:
    program = [sys.executable, "-c", "from lace_sdn.cli import main; main()"]
    options = ["lab", "up", "--name", lab.name, "-f", str(PEERING)]
    with subprocess.Popen(
        [*program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            _await(lambda: STAGES[stage](lab))
        finally:
            running.kill()


def test_exec_and_node_run_commands_there_and_pass_their_status_on(
    standing: Lab, bring: Bring, command: Command
) -> None:
    built = bring(standing, PEERING)
    inside = command(
        "lab", "exec", "--name", standing.name, "shop/web-0", "--", "sh", "-c", "ip -br address; exit 7"
    )
    assert inside.returncode == 7
    assert f"{_address(built, 'shop/web-0')}/32" in inside.stdout
    bridges = command("lab", "node", "--name", standing.name, "node2", "--", "ovs-vsctl", "list-br")
    assert bridges.stdout.split()[0] == "br-int"
    flows = command(
        "lab", "node", "--name", standing.name, "node2", "--", "ovs-ofctl", "dump-flows", "br-int"
    )
    assert "table=0" in flows.stdout or "cookie" in flows.stdout


def test_what_runs_in_a_pod_ends_with_it(
    standing: Lab, bring: Bring, command: Command, tmp_path: Path
) -> None:
    bring(standing, PEERING)
    command(
        "lab", "exec", "--name", standing.name, "shop/web-0", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 &"
    )
    assert processes.find(standing.pod("shop/web-0"))
    bring(standing, _edited(tmp_path, ("metadata: {name: web-0,", "metadata: {name: web-9,")))
    assert processes.find(standing.pod("shop/web-0")) == {}


def test_unknown_pods_nodes_and_labs_are_named_with_what_there_is(
    standing: Lab, lab: Lab, bring: Bring, command: Command
) -> None:
    missing = command("lab", "status", "--name", lab.name)
    assert f'there is no lab "{lab.name}"' in missing.stderr
    bring(standing, PEERING)
    pod = command("lab", "exec", "--name", standing.name, "shop/web", "--", "true")
    assert 'did you mean "shop/web-' in pod.stderr
    assert "there are: db/db-0, shop/web-0, shop/web-1" in pod.stderr
    node = command("lab", "node", "--name", standing.name, "node9", "--", "true")
    assert "there are: node1, node2" in node.stderr
    assert {missing.returncode, pod.returncode, node.returncode} == {1}


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "x.yaml:2: is not YAML"), ("kind: Nodes", '"Nodes" is unknown')]
)
def test_up_without_any_node_says_what_was_found_and_makes_nothing(
    lab: Lab, command: Command, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    refused = command("lab", "up", "--name", lab.name, "-f", str(tmp_path / "x.yaml"))
    assert refused.returncode == 1
    assert "no Node is found" in refused.stderr
    assert said in refused.stderr
    assert _nothing_is_left(lab)


def test_up_from_a_missing_file_says_so_and_makes_nothing(lab: Lab, command: Command, tmp_path: Path) -> None:
    refused = command("lab", "up", "--name", lab.name, "-f", str(tmp_path / "nowhere"))
    assert "nowhere: does not exist" in refused.stderr
    assert _nothing_is_left(lab)


def test_status_and_probe_speak_to_machines(standing: Lab, bring: Bring, command: Command) -> None:
    bring(standing, PEERING)
    status = json.loads(command("lab", "status", "--name", standing.name, "--json").stdout)
    assert status["programmed"] is True
    assert status["pods"]["db/db-0"]["network"] == "db"
    probes = json.loads(command("lab", "probe", "--name", standing.name, "--json").stdout)
    assert {each["found"] for each in probes if each["intended"] == "allow"} == {"allow"}
    assert {each["found"] for each in probes if each["intended"] == "deny"} == {"deny"}


def test_probe_ends_with_status_1_and_names_the_difference(
    standing: Lab, bring: Bring, command: Command
) -> None:
    bring(standing, PEERING)
    for pid in processes.find(agent_client.mark(standing)):
        os.kill(pid, signal.SIGKILL)
    unanswered = command("lab", "probe", "--name", standing.name)
    assert unanswered.returncode == 1
    assert "its agent does not answer" in unanswered.stderr
