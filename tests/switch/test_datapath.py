"""Settings of a datapath are set where they are not in force; what cannot be known is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dummy import DummySwitch, wait_until

from lace_sdn.switch.settings import SETTINGS, read_limits, write_limits

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
    _restart(switch)
    assert holder.ask("keep_settings", switch.db, USERSPACE) == (NAMES, ())
    assert _sequence_check(switch) == "TCP sequence checking: disabled"


def test_a_datapath_without_settings_is_asked_nothing(switch: DummySwitch, holder: HolderProcess) -> None:
    switch.freeze_vswitchd()
    assert holder.ask("keep_settings", switch.db, "dummy") == ((), ())


def _restart(switch: DummySwitch) -> None:
    """Until the daemon has read its database: it answers before."""
    switch.restart_vswitchd()
    wait_until(lambda: switch.appctl("dpctl/dump-dps").strip() == "netdev@ovs-netdev", "the datapath")


def _problem(holder: HolderProcess, remote: str) -> str:
    changed, problems = holder.ask("keep_settings", remote, USERSPACE)
    assert changed == ()
    return str(problems[0])


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


LIMITS = {1: 500, 0x8001: 500, 0x7001: 2000}


def _limits(switch: DummySwitch) -> dict[int, int]:
    shown = read_limits(switch.appctl("dpctl/ct-get-limits", "netdev@ovs-netdev"))
    return {zone: each.limit for zone, each in shown.items()}


def test_zones_get_limits_once_and_what_somebody_changed_is_set_again(
    switch: DummySwitch, holder: HolderProcess
) -> None:
    """The limits of other zones are left alone."""
    switch.appctl("dpctl/ct-set-limits", "netdev@ovs-netdev", "zone=9,limit=7")
    changed, problems, _ = holder.ask("keep_limits", switch.db, USERSPACE, LIMITS)
    assert (changed[-1], problems) == ("limits of 3 conntrack zones", ())
    assert _limits(switch) == {**LIMITS, 9: 7}
    assert holder.ask("keep_limits", switch.db, USERSPACE, LIMITS) == ((), (), dict.fromkeys(LIMITS, 0))
    switch.appctl("dpctl/ct-set-limits", "netdev@ovs-netdev", "zone=1,limit=8")
    assert holder.ask("keep_limits", switch.db, USERSPACE, LIMITS)[0] == ("limits of 1 conntrack zones",)
    assert _limits(switch) == {**LIMITS, 9: 7}


def test_limits_are_set_again_after_a_restart(switch: DummySwitch, holder: HolderProcess) -> None:
    holder.ask("keep_limits", switch.db, USERSPACE, LIMITS)
    _restart(switch)
    assert _limits(switch) == {}
    holder.ask("keep_limits", switch.db, USERSPACE, LIMITS)
    assert _limits(switch) == LIMITS


def test_limits_of_many_zones_take_several_commands() -> None:
    many = dict.fromkeys(range(1, 1102), 5)
    commands = list(write_limits(many))
    assert [len(each) - 1 for each in commands] == [500, 500, 101]
    assert commands[0][:2] == ("dpctl/ct-set-limits", "zone=1,limit=5")


def test_a_daemon_that_hangs_leaves_limits_unknown(switch: DummySwitch, holder: HolderProcess) -> None:
    switch.remove_bridge("br-int")
    _, problems, counts = holder.ask("keep_limits", switch.db, USERSPACE, LIMITS)
    assert "limits of conntrack zones" in problems[-1]
    assert counts == {}
