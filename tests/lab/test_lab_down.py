"""Promises of ``lab down`` that need no switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import cluster
from lace_sdn.lab.names import RUN_ROOT

if TYPE_CHECKING:
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab


def test_the_folder_of_all_labs_stays(lab: Lab) -> None:
    """Removing it would detach the labs that another mount namespace has mounted there."""
    lab.run.mkdir(parents=True)
    assert cluster.down(lab)
    assert not lab.run.exists()
    assert RUN_ROOT.is_dir()
