"""The API server fails while packets flow: none is lost, none passes that must not, and afterwards all goes on soon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ordeal import FAULTS, suffer

if TYPE_CHECKING:
    from api_process import ApiProcess
    from conftest import Bring

    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab

PEERING = Path(__file__).parents[2] / "flows/one-way-peering"
SECONDS = float(os.environ.get("LACE_SDN_FAULT_SECONDS", "10"))
CONVERGED = 5.0
REQUESTS = 100.0
"""A second, of an operator and two nodes' controllers together: forty watches."""
UNDISTURBED = 1.0
"""Seconds without a packet in a stream of 100 a second that nothing disturbs, on a busy machine."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault(lab: Lab, bring: Bring, server: ApiProcess, fault: str) -> None:
    built = bring(PEERING)
    suffered = suffer(lab, built, server, fault, SECONDS)
    print(f"\n{fault}, {SECONDS:.0f} s: {suffered}")
    assert suffered.sent > 100 * SECONDS
    assert (suffered.lost, suffered.forbidden) == (0, 0)
    assert suffered.largest_gap < UNDISTURBED
    assert suffered.opened < CONVERGED
    assert suffered.closed < CONVERGED
    assert suffered.requests < REQUESTS
