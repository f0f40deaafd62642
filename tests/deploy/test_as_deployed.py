"""One node by the very command lines of the manifests: the example of two teams works, and nothing is asked that the roles do not allow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployment import allowed

if TYPE_CHECKING:
    Data = dict[str, Any]

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """What ``one_node.py`` printed."""
    words = [
        ROOT / ".ci/isolated",
        sys.executable,
        ROOT / "tests/deploy/one_node.py",
        tmp_path_factory.mktemp("node"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    found: Data = json.loads(done.stdout)
    return found


def test_the_example_of_two_teams_does_what_it_says(said: Data) -> None:
    assert {(source, probe, destination): found for source, probe, destination, found in said["probed"]} == {
        ("team-a/client", "tcp/8080", "team-a/web"): "team-a/web",
        ("team-a/client", "icmp", "team-a/web"): "echo",
        ("team-b/client", "tcp/8080", "team-b/web"): "team-b/web",
        ("shared/scanner", "tcp/8080", "team-a/web"): "team-a/web",
        ("team-a/web", "tcp/8080", "shared/scanner"): "silence",
        ("shared/scanner", "icmp", "10.50.255.1"): "silence",
        ("team-b/client", "tcp/80", "10.96.0.77"): "shared/registry",
        ("team-b/client", "tcp/8080", "shared/registry"): "silence",
    }


def test_pods_go_on_after_a_restart_of_the_node_s_containers(said: Data) -> None:
    """Open vSwitch among them, as an update of the DaemonSet does."""
    assert said["again"] == said["probed"]


def test_every_program_goes_on_and_the_host_has_no_problem(said: Data) -> None:
    assert (said["ended"], said["host"]) == (["make-folder", "install-cni"], [])


def test_nothing_was_asked_that_is_not_allowed(said: Data) -> None:
    ours = [tuple(each) for each in said["verbs"] if each[0].startswith("lace-sdn-")]
    assert len(ours) > 40
    assert [each for each in ours if not allowed(*each)] == []
