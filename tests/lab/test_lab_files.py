"""Promises about what a lab writes and computes before it touches the machine."""

from __future__ import annotations

import subprocess
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from lace_sdn.kube.manifests import read
from lace_sdn.lab import LabError, names, processes, underlay
from lace_sdn.lab.desired import after_recreation, next_state
from lace_sdn.lab.files import generations, publish, scenario
from lace_sdn.lab.pods import Pod, change
from lace_sdn.model.objects import Node
from lace_sdn.policy.ledger import Ledger

BOOK = Path(__file__).parents[2] / "flows"


def _pod(name: str, address: str = "10.0.0.2", node: str = "n1") -> Pod:
    return Pod(name, node, "blue", (address,), "0a:58:00:00:00:02")


def test_published_manifests_are_those_of_the_source_and_raise_no_problem(tmp_path: Path) -> None:
    publish(BOOK / "one-way-peering" / "cluster.yaml", tmp_path / "manifests")
    published = read(tmp_path / "manifests")
    expected = read(BOOK / "one-way-peering" / "cluster.yaml")
    assert published.problems == ()
    assert [each.identity for each in published.objects] == [each.identity for each in expected.objects]


def test_publishing_replaces_everything_and_leaves_one_generation(tmp_path: Path) -> None:
    publish(BOOK / "vrf-mesh", tmp_path / "manifests")
    publish(BOOK / "one-way-peering" / "cluster.yaml", tmp_path / "manifests")
    assert sorted(path.name for path in (tmp_path / "manifests").iterdir()) == [
        "cluster.yaml",
        "lab-generation.yaml",
    ]
    assert len(generations(tmp_path / "manifests")) == 1


def test_a_source_that_cannot_be_read_leaves_what_was_published(tmp_path: Path) -> None:
    publish(BOOK / "one-way-peering" / "cluster.yaml", tmp_path / "manifests")
    with pytest.raises(LabError, match=r"does not exist; the lab keeps what it has"):
        publish(tmp_path / "nowhere", tmp_path / "manifests")
    assert (tmp_path / "manifests" / "cluster.yaml").exists()


def test_of_a_scenario_with_steps_only_its_first_state_is_taken() -> None:
    assert scenario(BOOK / "policy-removed") == BOOK / "policy-removed" / "cluster.yaml"


def test_nothing_changes_where_nothing_differs() -> None:
    there = {"a/a": _pod("a/a")}
    assert change(there, there) == change({}, {})


def test_a_pod_whose_address_or_node_differs_goes_and_comes_again() -> None:
    moved = change(
        {"a/a": _pod("a/a"), "a/b": _pod("a/b")}, {"a/a": _pod("a/a", node="n2"), "a/b": _pod("a/b")}
    )
    assert moved.detach == (_pod("a/a"),)
    assert moved.attach == (_pod("a/a", node="n2"),)


def test_pods_come_and_go_by_name() -> None:
    difference = change({"a/a": _pod("a/a")}, {"a/b": _pod("a/b")})
    assert (difference.detach, difference.attach) == ((_pod("a/a"),), (_pod("a/b"),))


def test_a_pod_whose_binding_changed_is_bound_anew(tmp_path: Path) -> None:
    """In a lab nobody deletes the pod by hand: ``apply`` does it."""
    text = (BOOK / "one-way-peering" / "cluster.yaml").read_text()
    (tmp_path / "cluster.yaml").write_text(text)
    before = after_recreation(read(tmp_path), Ledger())
    rebound = text.replace("name: db, labels: {network: db}", "name: db, labels: {network: shop}")
    (tmp_path / "cluster.yaml").write_text(rebound)
    after = after_recreation(read(tmp_path), before.ledger)
    assert before.state.endpoint_by_id["db/db-0"].network == "db"
    assert after.state.endpoint_by_id["db/db-0"].network == "shop"
    assert [each for each in after.conditions if each.type == "BindingChanged"] == []


def test_the_nodes_of_a_lab_are_neighbours_on_its_underlay() -> None:
    """Open vSwitch takes the source address of a tunnel from the prefix that holds its other end."""
    nodes = [
        Node(f"n{last}", (ip_address(f"192.168.{last}.1"), ip_address(f"fd00::{last}"))) for last in (0, 3)
    ]
    assert underlay.addresses(nodes) == {
        "n0": ("192.168.0.1/22", "fd00::/64"),
        "n3": ("192.168.3.1/22", "fd00::3/64"),
    }


def test_a_node_without_an_address_is_refused() -> None:
    with pytest.raises(LabError, match='Node "n": no address of type InternalIP'):
        underlay.addresses([Node("n", ())])


def test_two_nodes_with_one_address_are_refused() -> None:
    address = (ip_address("192.168.0.1"),)
    with pytest.raises(LabError, match="have the same InternalIP"):
        underlay.addresses([Node("a", address), Node("b", address)])


def test_only_processes_with_the_mark_or_below_it_are_ended(tmp_path: Path) -> None:
    """Also those that ignore a polite request."""
    mine, other = tmp_path / "lab", tmp_path / "lab-2"
    with subprocess.Popen(["sleep", "60"], env=processes.marked(other)) as bystander:
        processes.start(
            ["sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait; wait"], mine / "x", tmp_path / "log"
        )
        while not (tmp_path / "log").read_text():
            time.sleep(0.01)
        found = processes.find(mine)
        processes.stop(mine, grace=0.3)
        assert found
        assert processes.find(mine) == {}
        assert bystander.poll() is None
        bystander.kill()


def test_a_missing_program_is_named_with_what_installs_it() -> None:
    with pytest.raises(LabError, match='"no-such-program" is not installed; apt-get install'):
        processes.run(["no-such-program"])


def test_a_program_that_fails_is_reported_with_what_it_said() -> None:
    with pytest.raises(LabError, match="failed with status 3: because"):
        processes.run(["sh", "-c", "echo because >&2; exit 3"])


def test_a_lab_says_what_its_userspace_datapath_cannot_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``lab up`` and ``lab apply`` print the conditions of the next state."""
    monkeypatch.setattr(names, "RUN_ROOT", tmp_path)
    found = next_state(names.Lab("lab"), BOOK / "dual-stack-service" / "cluster.yaml")
    assert [(each.name, each.reason) for each in found.conditions] == [("broad/both", "UnsupportedProtocol")]
