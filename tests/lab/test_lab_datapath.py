"""Which datapath a lab runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import BOOK

from lace_sdn.lab import LabError, datapath, names
from lace_sdn.lab.datapath import Datapath
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bring


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose files lie in a folder of the test."""
    monkeypatch.setattr(names, "RUN_ROOT", tmp_path)
    return Lab("one")


@pytest.mark.parametrize(("in_kernel", "expected"), [(True, Datapath.SYSTEM), (False, Datapath.NETDEV)])
def test_a_new_lab_runs_on_the_kernels_datapath_where_there_is_one(
    nowhere: Lab, monkeypatch: pytest.MonkeyPatch, in_kernel: bool, expected: Datapath
) -> None:
    """And stays there, whatever the kernel can do later."""
    monkeypatch.setattr(datapath, "is_in_kernel", lambda: in_kernel)
    datapath.decide(nowhere, None)
    monkeypatch.setattr(datapath, "is_in_kernel", lambda: not in_kernel)
    datapath.decide(nowhere, None)
    assert datapath.of(nowhere) is expected


def test_userspace_can_be_had_where_the_kernel_has_a_datapath(
    nowhere: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datapath, "is_in_kernel", lambda: True)
    datapath.decide(nowhere, Datapath.NETDEV)
    assert datapath.of(nowhere) is Datapath.NETDEV


def test_a_lab_does_not_change_its_datapath(nowhere: Lab) -> None:
    datapath.decide(nowhere, Datapath.NETDEV)
    with pytest.raises(
        LabError, match=r'lab "one" runs on the datapath netdev; expected the same, or no lab'
    ):
        datapath.decide(nowhere, Datapath.SYSTEM)


def test_a_datapath_that_the_kernel_does_not_have_is_refused(
    nowhere: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left behind."""
    monkeypatch.setattr(datapath, "is_in_kernel", lambda: False)
    with pytest.raises(LabError, match="this kernel has no datapath of Open vSwitch"):
        datapath.decide(nowhere, Datapath.SYSTEM)
    assert not nowhere.run.exists()


@pytest.mark.lab
def test_bridges_are_in_the_datapath_that_the_lab_runs_on(
    standing: Lab, bring: Bring, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The kernel's, where it has one."""
    bring(standing, BOOK / "one-way-peering")
    kind = datapath.default().value
    shown = command("lab", "node", "--name", standing.name, "node1", "--", "ovs-appctl", "dpif/show")
    assert shown.stdout.startswith(f"{kind}@ovs-{kind}:")
