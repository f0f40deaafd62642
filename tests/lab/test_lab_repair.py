"""Promises of a lab that somebody has changed by hand: ``lab up`` repairs it, and words say what is wrong."""

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

from lace_sdn.lab import LabError, netns, pods, processes, switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bring, Differences

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab
BOOK = Path(__file__).parents[2] / "flows"
PEERING = BOOK / "one-way-peering"
BOUND_S = 30.0

Command = "Callable[..., subprocess.CompletedProcess[str]]"


def _ip(namespace: str, *arguments: str) -> str:
    return processes.run(["ip", "-n", namespace, *arguments])


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_node_whose_namespace_was_deleted_is_made_anew(
    standing: Lab, bring: Bring, differences: Differences
) -> None:
    """Its daemons still live, in the namespace that has no name any more."""
    bring(standing, PEERING)
    processes.run(["ip", "netns", "del", standing.node_namespace("node1")])
    assert differences(standing, bring(standing, PEERING)) == {}


@pytest.mark.parametrize(
    "damage",
    [
        ("addr", "flush", "dev", "eth0"),
        ("route", "flush", "table", "main"),
        ("neigh", "flush", "dev", "eth0", "nud", "permanent"),
        ("link", "set", "eth0", "down"),
        ("link", "set", "eth0", "mtu", "1000"),
        ("link", "set", "eth0", "address", "0a:00:00:00:99:99"),
        ("link", "del", "eth0"),
    ],
    ids=" ".join,
)
def test_up_gives_a_pod_again_what_was_taken_from_it(
    standing: Lab, bring: Bring, differences: Differences, damage: tuple[str, ...]
) -> None:
    built = bring(standing, BOOK / "dual-stack")
    namespace = standing.pod_namespace("dual/a")
    before = _described(namespace)
    _ip(namespace, *damage)
    assert _described(namespace) != before
    bring(standing, BOOK / "dual-stack")
    assert _described(namespace) == before
    assert differences(standing, built) == {}


def _described(namespace: str) -> list[str]:
    """Addresses, routes, permanent neighbours and the link of a pod, without what changes by itself."""
    with netns.netlink(namespace) as route:
        eth0 = [
            (link.get("address"), link.get("mtu"), link.get("state"))
            for link in route.get_links()
            if link.get("ifname") == "eth0"
        ]
        addresses = [message.get("address") for message in route.get_addr()]
        routes = [(message.get("dst"), message.get("gateway")) for message in route.get_routes(table=254)]
        neighbours = [
            (message.get("dst"), message.get("lladdr"))
            for family in (socket.AF_INET, socket.AF_INET6)
            for message in route.get_neighbours(family=family)
            if message["state"] & 0x80
        ]
    return sorted(map(repr, {*eth0, *addresses, *routes, *neighbours}))


def test_up_again_does_not_touch_the_neighbours_of_a_pod(standing: Lab, bring: Bring) -> None:
    """Setting a MAC again makes the kernel forget them, and connections wait."""
    bring(standing, PEERING)
    namespace = standing.pod_namespace("shop/web-0")
    _ip(namespace, "neigh", "replace", "169.254.0.77", "lladdr", "0a:00:00:00:00:77", "dev", "eth0")
    bring(standing, PEERING)
    assert "169.254.0.77" in _ip(namespace, "neigh", "show", "dev", "eth0")


def test_status_tells_of_a_pod_that_lost_its_link(standing: Lab, bring: Bring, command: Command) -> None:
    bring(standing, PEERING)
    _ip(standing.pod_namespace("shop/web-0"), "link", "del", "eth0")
    status = command("lab", "status", "--name", standing.name, "--json")
    assert status.returncode == 1
    its = json.loads(status.stdout)["pods"]
    assert (its["shop/web-0"]["attached"], its["shop/web-0"]["programmed"]) == (False, False)
    assert (its["db/db-0"]["attached"], its["db/db-0"]["programmed"]) == (True, True)


@pytest.mark.parametrize("content", ["", "not a database\n"])
def test_a_damaged_database_is_made_anew(
    standing: Lab, bring: Bring, differences: Differences, content: str
) -> None:
    bring(standing, PEERING)
    switch = switches.Switch(standing, "node1")
    for pid in processes.find(switch.folder):
        os.kill(pid, signal.SIGKILL)
    _await(lambda: not processes.find(switch.folder))
    (switch.folder / "conf.db").write_text(content)
    assert differences(standing, bring(standing, PEERING)) == {}


def test_a_damaged_record_of_a_pod_makes_it_anew(
    standing: Lab, bring: Bring, differences: Differences
) -> None:
    bring(standing, PEERING)
    standing.pod("shop/web-0").write_text("{")
    assert differences(standing, bring(standing, PEERING)) == {}
    assert "shop/web-0" in pods.recorded(standing)


def test_the_first_packet_between_two_nodes_arrives(lab: Lab, bring: Bring) -> None:
    built = bring(lab, PEERING)
    _first_datagram_arrives(lab, built, "shop/web-0", "shop/web-1")


def test_the_first_packet_arrives_after_a_switch_was_started_again(lab: Lab, bring: Bring) -> None:
    bring(lab, PEERING)
    for pid in processes.find(lab.nodes / "node1"):
        os.kill(pid, signal.SIGKILL)
    _await(lambda: not processes.find(lab.nodes / "node1"))
    _first_datagram_arrives(lab, bring(lab, PEERING), "shop/web-0", "shop/web-1")


def _first_datagram_arrives(lab: Lab, built: Built, source: str, destination: str) -> None:
    """One datagram, sent once. The answer is as much a first packet as the question."""
    address = str(built.state.endpoint_by_id[destination].addresses[0])
    with netns.inside(lab.pod_namespace(destination)):
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with netns.inside(lab.pod_namespace(source)):
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with there, here:
        there.bind((address, 4321))
        here.sendto(b"once", (address, 4321))
        for end in (there, here):
            end.settimeout(BOUND_S / 3)
        received, peer = there.recvfrom(100)
        assert received == b"once"
        there.sendto(b"and back", peer)
        assert here.recv(100) == b"and back"


def test_what_the_kernel_refuses_is_said_of_the_pod(standing: Lab, bring: Bring) -> None:
    """Whoever deletes a link while ``lab up`` runs reads which pod it was, and what to do."""
    bring(standing, PEERING)
    _ip(standing.pod_namespace("shop/web-0"), "link", "del", "eth0")
    with pytest.raises(LabError, match=r'pod "shop/web-0": no link .*`lace-sdn lab up`'):
        pods.restore(standing, [pods.recorded(standing)["shop/web-0"]])


def test_who_is_not_root_is_told_so(standing: Lab, bring: Bring) -> None:
    """And not that everything is down, which only root can see."""
    bring(standing, PEERING)
    script = "import os; from lace_sdn.cli import main; import lace_sdn.cli.lab; os.setgid(65534); os.setuid(65534); main()"
    for verb in ("status", "probe"):
        program = [sys.executable, "-c", script, "lab", verb, "--name", standing.name]
        refused = subprocess.run(program, capture_output=True, text=True, check=False, timeout=BOUND_S)
        assert refused.returncode == 1
        assert "run it as root" in refused.stderr
        assert refused.stdout == ""


@pytest.mark.parametrize("place", [("exec", "shop/web-0"), ("node", "node1")], ids=lambda place: place[0])
def test_commands_see_the_devices_of_the_pod_or_node_in_sys(
    standing: Lab, bring: Bring, command: Command, place: tuple[str, str]
) -> None:
    bring(standing, PEERING)
    verb, name = place
    shown = command("lab", verb, "--name", standing.name, name, "--", "ls", "/sys/class/net")
    spoken = command("lab", verb, "--name", standing.name, name, "--", "ip", "-o", "link")
    devices = {line.split()[1].rstrip(":").partition("@")[0] for line in spoken.stdout.splitlines()}
    assert set(shown.stdout.split()) == devices
    missing = command("lab", verb, "--name", standing.name, name, "--", "no-such-program")
    assert missing.returncode == 127


def test_a_command_in_a_pod_is_the_process_that_was_started(standing: Lab, bring: Bring) -> None:
    """So a signal to it reaches the command."""
    bring(standing, PEERING)
    program = [sys.executable, "-c", "from lace_sdn.cli import main; main()"]
    options = [
        "lab",
        "exec",
        "--name",
        standing.name,
        "shop/web-0",
        "--",
        "sh",
        "-c",
        "echo $$; exec sleep 1000",
    ]
    with subprocess.Popen([*program, *options], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert int(running.stdout.readline()) == running.pid
        finally:
            running.kill()


def test_an_interrupted_up_says_how_to_go_on(lab: Lab) -> None:
    program = [sys.executable, "-c", "from lace_sdn.cli import main; main()"]
    options = ["lab", "up", "--name", lab.name, "-f", str(PEERING)]
    with subprocess.Popen([*program, *options], stderr=subprocess.PIPE, text=True) as running:
        try:
            _await(lambda: bool(processes.find(lab.nodes)))
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=BOUND_S)
        finally:
            running.kill()
    assert running.returncode == 130
    assert "goes on from here" in said
    assert f"`lace-sdn lab down --name {lab.name}` removes it" in said
    assert "Traceback" not in said
