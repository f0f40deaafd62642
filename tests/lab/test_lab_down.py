"""Promises of ``lab down`` that need no switch."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import LabError, cluster
from lace_sdn.lab.names import RUN_ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab


def test_the_folder_of_all_labs_stays(lab: Lab) -> None:
    """Removing it would detach the labs that another mount namespace has mounted there."""
    lab.run.mkdir(parents=True)
    assert cluster.down(lab)
    assert not lab.run.exists()
    assert RUN_ROOT.is_dir()


def test_what_is_being_removed_is_not_brought_back_by_apply(lab: Lab, tmp_path: Path) -> None:
    """The manifests are still there when it begins, and gone when it may change the lab."""
    lab.manifests.mkdir(parents=True)
    with ThreadPoolExecutor(1) as other, socket.socket(socket.AF_UNIX) as lock:
        lock.bind(f"\0lace-sdn-lab-{lab.name}")
        applying = other.submit(cluster.apply, lab, tmp_path, lambda _step: None)
        time.sleep(0.3)
        lab.manifests.rmdir()
        lab.run.rmdir()
        lock.close()
        with pytest.raises(LabError, match="there is no lab"):
            applying.result(10.0)
    assert not lab.run.exists()
