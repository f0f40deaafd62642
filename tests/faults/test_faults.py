"""Whatever call fails, what was changed is in force afterwards without another change. ``make faults`` tries them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.switch

PROGRAM = Path(__file__).with_name("every_fault.py")


def test_a_fault_at_every_site() -> None:
    """Of a change, from a folder and from an API server; and a sample of longer ones, and of a start."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--sample", "--workers", "3"], capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout
