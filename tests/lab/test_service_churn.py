"""Endpoints come and go under load: nobody who is connected notices, nobody is sent to an endpoint that left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from churning import GONE, LEAVING, STAYING, STREAMS, churn, manifests

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Bring

    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab

SECONDS = 6.5
"""Long enough that every endpoint is out for more than ``GONE``; the bench goes on for 30."""


def test_endpoint_churn_disturbs_no_connection_and_sends_none_to_an_endpoint_that_left(
    lab: Lab, bring: Bring, tmp_path: Path
) -> None:
    seen = churn(lab, bring(lab, manifests(tmp_path / "manifests")), SECONDS, rate=50, calls=200)
    print(
        f"{seen.changes} changes, {len(seen.calls)} connections, {len(seen.lost)} lost, longest absence "
        f"{seen.longest_absence:.2f} s, {seen.retransmissions} retransmissions in streams, reached {seen.reached}"
    )
    assert not seen.lost
    assert seen.longest_absence <= GONE
    assert len(seen.reached) == STAYING + LEAVING
    assert len(seen.streams) == STREAMS
    assert all(each.answers > 0 and not each.error for each in seen.streams)
