"""Promises about the agent of each node's own network stack: started, awaited, ended with its node."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import LabError, names, netns, processes, stacks, switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bring

    from lace_sdn.lab.names import Lab

PEERING = Path(__file__).parents[2] / "flows" / "one-way-peering"
BOUND_S = 30.0
NODES = ("node1", "node2")

Command = "Callable[..., subprocess.CompletedProcess[str]]"


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _kill(lab: Lab, node: str) -> None:
    for pid in processes.find(stacks.mark(lab, node)):
        os.kill(pid, signal.SIGKILL)
    _await(lambda: not processes.find(stacks.mark(lab, node)))


@pytest.mark.lab
def test_up_starts_the_agent_in_every_node_and_what_the_controller_plans_is_in_force(
    standing: Lab, bring: Bring
) -> None:
    bring(standing, PEERING)
    for node in NODES:
        assert stacks.is_running(standing, node)
        assert stacks.lacking(standing, node) == ""


@pytest.mark.lab
def test_up_starts_an_agent_again_that_has_ended_and_status_tells_of_it(
    standing: Lab, bring: Bring, command: Command
) -> None:
    bring(standing, PEERING)
    others = processes.find(stacks.mark(standing, "node2"))
    _kill(standing, "node1")
    status = command("lab", "status", "--name", standing.name, "--json")
    assert status.returncode == 1
    its = json.loads(status.stdout)["nodes"]
    assert (its["node1"]["host_agent"], its["node2"]["host_agent"]) == (False, True)
    bring(standing, PEERING)
    assert stacks.is_running(standing, "node1")
    assert processes.find(stacks.mark(standing, "node2")) == others
    assert command("lab", "status", "--name", standing.name).returncode == 0


@pytest.mark.lab
def test_an_agent_whose_node_was_made_anew_is_started_in_the_new_one(standing: Lab, bring: Bring) -> None:
    bring(standing, PEERING)
    processes.run(["ip", "netns", "del", standing.node_namespace("node1")])
    assert not stacks.is_running(standing, "node1")
    bring(standing, PEERING)
    assert stacks.is_running(standing, "node1")


@pytest.mark.lab
def test_an_agent_ends_with_its_node(lab: Lab, bring: Bring) -> None:
    bring(lab, PEERING)
    switches.remove(switches.Switch(lab, "node2"))
    assert processes.find(lab.nodes / "node2") == {}
    assert not netns.exists(lab.node_namespace("node2"))


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    """A lab of files alone, with a plan for node1 whose agent seems to run."""
    monkeypatch.setattr(names, "RUN_ROOT", tmp_path)
    monkeypatch.setattr(stacks, "is_running", lambda _lab, _node: True)
    its = names.Lab("l")
    its.node("node1").mkdir(parents=True)
    stacks.plan(its, "node1").write_text(json.dumps({"digest": "new", "host": {}}))
    return its


def _says(lab: Lab, digest: str, *problems: str) -> None:
    stacks.status(lab, "node1").write_text(json.dumps({"digest": digest, "problems": problems}))


def test_a_plan_is_in_force_when_the_status_has_its_digest(planned: Lab) -> None:
    _says(planned, "new")
    stacks.await_in_force(planned, ["node1"], 0.0)


def test_what_is_not_in_force_in_time_is_said_with_the_node_and_its_problems(planned: Lab) -> None:
    _says(planned, "old", "nft: no such file", "lace-gw0: not there")
    with pytest.raises(
        LabError, match=r'node "node1": .* not as planned: nft: no such file; lace-gw0: not there'
    ):
        stacks.await_in_force(planned, ["node1"], 0.0)


def test_a_node_without_a_plan_is_said(planned: Lab) -> None:
    stacks.plan(planned, "node1").unlink()
    with pytest.raises(LabError, match=r'node "node1": .* the controller has written no plan'):
        stacks.await_in_force(planned, ["node1"], 0.0)


def test_half_a_file_is_read_as_nothing_said_yet(planned: Lab) -> None:
    stacks.status(planned, "node1").write_text("{")
    assert stacks.lacking(planned, "node1") == "the plan is not carried out yet"


def test_an_agent_that_has_ended_is_not_waited_for(planned: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "is_running", lambda _lab, _node: False)
    stacks.log(planned, "node1").write_text("nft is not installed\n")
    with pytest.raises(
        LabError, match=r'node "node1": .* has ended; it said last in .*\n.*nft is not installed'
    ):
        stacks.await_in_force(planned, ["node1"], BOUND_S)
