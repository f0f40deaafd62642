"""What happens to the lab while it is attacked: restarts, kills, faults of disk, objects that come and go, floods."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attack_scene import MORE, NODE, POLICY, REVOCABLE, network, node3, policy

from lace_sdn.lab import control, netns, processes, stacks
from lace_sdn.lab.files import write_whole
from lace_sdn.lab.switches import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.lab.names import Lab

    Background = Callable[..., contextlib.AbstractContextManager[None]]
    """Runs a sender in a process of its own while the ``with`` block lasts: its name, then its arguments."""

VICTIM = "node2"
_END = 30.0


@dataclass
class Stage:
    """The lab, the seconds that an event is watched, and when the revocable policy was taken away (time.time(); 0: it is there)."""

    lab: Lab
    hold: float
    background: Background
    absences: list[list[float]]
    """[removed, added again) of the policy; the last may be without an end."""

    def rest(self) -> None:
        time.sleep(self.hold)

    def remove_policy(self) -> None:
        (self.lab.manifests / POLICY).unlink()
        self.absences.append([time.time()])

    def add_policy(self) -> None:
        self.absences[-1].append(time.time())
        write_whole(self.lab.manifests / POLICY, policy(*REVOCABLE))


def nothing(stage: Stage) -> None:
    stage.rest()


def policy_removed(stage: Stage) -> None:
    stage.remove_policy()
    stage.rest()


def policy_added(stage: Stage) -> None:
    stage.add_policy()
    stage.rest()


def controller_killed(stage: Stage) -> None:
    _kill(control.mark(stage.lab))
    time.sleep(2)
    control.ensure(stage.lab)
    stage.rest()


def vswitchd_restarted(stage: Stage) -> None:
    with _stopped(stage.lab, VICTIM, "ovs-vswitchd"):
        pass
    stage.rest()


def ovsdb_restarted(stage: Stage) -> None:
    with _stopped(stage.lab, VICTIM, "ovsdb-server"):
        pass
    stage.rest()


def switch_and_controller_restarted(stage: Stage) -> None:
    """As an update of all that runs on a node."""
    with _stopped(stage.lab, VICTIM, "ovs-vswitchd"):
        _kill(control.mark(stage.lab))
    control.ensure(stage.lab)
    stage.rest()


def host_agent_killed(stage: Stage) -> None:
    for node in ("node1", VICTIM):
        _kill(stacks.mark(stage.lab, node))
    time.sleep(2)
    for node in ("node1", VICTIM):
        stacks.ensure(stage.lab, node)
    stage.rest()


def policy_removed_while_state_cannot_be_written(stage: Stage) -> None:
    """A file that something is mounted on cannot be replaced (rename(2): EBUSY). A Network without a key has it written."""
    ledger = str(stage.lab.ledger)
    subprocess.run(["mount", "--bind", ledger, ledger], check=True)
    try:
        write_whole(stage.lab.manifests / MORE, network("more"))
        stage.remove_policy()
        time.sleep(3)
    finally:
        subprocess.run(["umount", ledger], check=True)
    stage.absences[-1][0] = time.time()  # it must be carried out from now on
    stage.rest()


def node_removed(stage: Stage) -> None:
    (stage.lab.manifests / NODE).unlink()
    stage.rest()


def node_returned(stage: Stage) -> None:
    write_whole(stage.lab.manifests / NODE, node3())
    stage.rest()


def large_datagrams(stage: Stage) -> None:
    with stage.background("large datagrams"):
        stage.rest()


def flood_of_connections(stage: Stage) -> None:
    with stage.background("flood", "connections", 8000):
        stage.rest()


def flood_of_fragments(stage: Stage) -> None:
    with stage.background("flood", "fragments", 200):
        stage.rest()


def flood_of_refusals(stage: Stage) -> None:
    with stage.background("flood", "refusals", 4000):
        stage.rest()


EVENTS: dict[str, Callable[[Stage], None]] = {
    "nothing happens": nothing,
    "policy removed": policy_removed,
    "policy added": policy_added,
    "controller killed": controller_killed,
    "ovs-vswitchd restarted": vswitchd_restarted,
    "ovsdb-server restarted": ovsdb_restarted,
    "switch and controller restarted": switch_and_controller_restarted,
    "host agents killed": host_agent_killed,
    "datagrams of 60,000 octets": large_datagrams,
    "a tenant floods: connections": flood_of_connections,
    "a tenant floods: fragments": flood_of_fragments,
    "a tenant floods: refusals": flood_of_refusals,
    "node removed": node_removed,
    "node returned": node_returned,
    "policy removed, state unwritable": policy_removed_while_state_cannot_be_written,
    "policy added again": policy_added,
}
SHORT = ("policy removed", "policy added")


def _kill(mark: Path) -> None:
    pids = processes.find(mark)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    _await_end(pids)


@contextlib.contextmanager
def _stopped(lab: Lab, node: str, daemon: str) -> Iterator[None]:
    """End a node's daemon as its service does, and start it as it was started."""
    switch = Switch(lab, node)
    pid = int((switch.folder / f"{daemon}.pid").read_text())
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    environment = dict(
        each.split("=", 1) for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if each
    )
    os.kill(pid, signal.SIGTERM)
    _await_end([pid])
    yield
    processes.run(netns.command(switch.namespace, *command), env=environment, cwd="/")


def _await_end(pids: object) -> None:
    deadline = time.monotonic() + _END
    for pid in pids:  # type: ignore[attr-defined]
        while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {pid} does not end within {_END:.0f} s")
            time.sleep(0.02)
