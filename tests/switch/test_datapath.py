"""Settings of a datapath are set where they are not in force; what cannot be known is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dummy import DummySwitch

from lace_sdn.switch.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holding import HolderProcess

pytestmark = pytest.mark.switch

USERSPACE = "netdev"
NAMES = tuple(setting.name for setting in SETTINGS[USERSPACE])


@pytest.fixture
def switch() -> Iterator[DummySwitch]:
    """One of one's own, with a bridge of the userspace datapath's name."""
    with DummySwitch() as its:
        its.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={USERSPACE}")
        yield its


def _sequence_check(switch: DummySwitch) -> str:
    return switch.appctl("dpctl/ct-get-tcp-seq-chk", "netdev@ovs-netdev").strip()


def test_what_is_not_in_force_is_set_once(switch: DummySwitch, holder: HolderProcess) -> None:
    assert _sequence_check(switch) == "TCP sequence checking: enabled"
    assert holder.ask("keep_settings", switch.db, USERSPACE) == (NAMES, ())
    assert _sequence_check(switch) == "TCP sequence checking: disabled"
    assert holder.ask("keep_settings", switch.db, USERSPACE) == ((), ())


def test_a_daemon_that_starts_again_has_forgotten_and_is_set_again(
    switch: DummySwitch, holder: HolderProcess
) -> None:
    holder.ask("keep_settings", switch.db, USERSPACE)
    switch.restart_vswitchd()
    assert holder.ask("keep_settings", switch.db, USERSPACE) == (NAMES, ())
    assert _sequence_check(switch) == "TCP sequence checking: disabled"


def test_a_datapath_without_settings_is_asked_nothing(switch: DummySwitch, holder: HolderProcess) -> None:
    switch.freeze_vswitchd()
    assert holder.ask("keep_settings", switch.db, "dummy") == ((), ())


def _problem(holder: HolderProcess, remote: str) -> str:
    changed, problems = holder.ask("keep_settings", remote, USERSPACE)
    assert changed == ()
    (problem,) = set(problems)
    return str(problem)


def test_a_daemon_that_hangs_is_given_up(switch: DummySwitch, holder: HolderProcess) -> None:
    switch.freeze_vswitchd()
    assert "ct-get-tcp-seq-chk" in _problem(holder, switch.db)


def test_a_refusal_is_said_in_the_daemon_s_words(switch: DummySwitch, holder: HolderProcess) -> None:
    switch.remove_bridge("br-int")
    assert "datapath not found" in _problem(holder, switch.db)


def test_a_daemon_that_is_gone_is_said(switch: DummySwitch, holder: HolderProcess) -> None:
    pid_file = switch.folder / "ovs-vswitchd.pid"
    pid_file.write_text("4194304\n")
    assert "ovs-vswitchd.4194304.ctl: No such file" in _problem(holder, switch.db)
    pid_file.write_text("half a line")
    assert f"{pid_file} holds no process id" in _problem(holder, switch.db)
    pid_file.unlink()
    assert f"{pid_file}: No such file" in _problem(holder, switch.db)


def test_a_datapath_on_another_machine_is_its_operator_s(holder: HolderProcess) -> None:
    assert "tcp:192.0.2.1:6640, on another machine" in _problem(holder, "tcp:192.0.2.1:6640")
