"""A short form of ``make attack``: forged packets and those of a policy that was taken away arrive nowhere, and receivers would see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab
ATTACK = Path(__file__).parents[1] / "attack"
HOLD = "13"
"""Seconds an event: more than the attack gives a policy to go."""


def test_nothing_forbidden_arrives_while_a_policy_goes_and_comes(tmp_path: Path) -> None:
    """Exit status 2 would say that the attack itself did not work."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(ATTACK), "--short", "--hold", HOLD, "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(figures.read_text())["rows"]
    assert all(row["forbidden_sent"] > 0 for row in rows)
