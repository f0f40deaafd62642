"""When a node's loop looks at the settings of its datapath, and what it says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from served import rows
from test_node_loop import PEERING, PORTS, RecordingBridge, world

from lace_sdn.controller.datapath_settings import RETRY_FIRST, RETRY_LAST
from lace_sdn.controller.node_loop import NodeLoop
from lace_sdn.switch.settings import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FAULT = Kept(problems=("not in force: the setting: no",))


class Site:
    """A loop with a bridge and a datapath that tell one diary what was asked of them; ``now``: the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answer = Kept()
        self.limits: dict[int, int] = {}
        self.bridge = RecordingBridge()
        self.loop = NodeLoop("node-1", clock=lambda: self.now)
        self.loop.bridge, self.loop.found = self.bridge, rows(PORTS)
        self.loop.settings.datapath = self

    def keep(self, limits: Mapping[int, int] | None = None) -> Kept:
        self.bridge.told.append("keep settings")
        self.limits = dict(limits or {})
        return self.answer

    def step(self) -> list[str]:
        """What one step told."""
        self.bridge.told.clear()
        assert self.loop.step(world("1", PEERING))
        return self.bridge.told


@pytest.fixture
def site() -> Site:
    return Site()


def test_settings_are_in_force_before_the_first_flow(site: Site) -> None:
    told = site.step()
    assert (told[0], told[-1]) == ("keep settings", "commit")


def test_every_pod_s_zones_have_limits_and_a_new_pod_s_before_its_flows(site: Site) -> None:
    site.loop.found = rows({"ns/a": 1})
    site.step()
    assert site.limits == {1: 65536, 0x8001: 65536, 0x7001: 4 * 65536}
    site.loop.found = rows(PORTS)
    told = site.step()
    assert (told[0], told[-1]) == ("keep settings", "commit")
    assert site.limits.keys() == {1, 0x8001, 2, 0x8002, 0x7001}


def test_a_pod_with_as_many_connections_as_it_may_have_is_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """With whose zone it is, once while it lasts."""
    site.step()
    for count in (65535, 65536, 70000, 3):
        site.answer = Kept(connections={0x8002: count, 1: 7})
        site.loop.audit()
        site.step()
    told = [each.getMessage() for each in caplog.records if "limit of" in each.getMessage()]
    assert [("is at" in each, "Pod ns/b" in each, "65536 tracked connections" in each) for each in told] == [
        (True, True, True),
        (False, True, True),
    ]


def test_settings_are_looked_at_with_the_bridge_and_not_otherwise(site: Site) -> None:
    site.step()
    assert site.step() == []
    site.loop.audit()
    assert site.step() == ["keep settings", "dump"]
    site.bridge = RecordingBridge()
    site.loop.bridge = site.bridge
    assert site.step() == ["keep settings", "dump", "commit"]


def test_a_failure_stops_no_flow_and_is_said_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.answer = FAULT
    assert site.step()[-1] == "commit"
    assert site.loop.programmed is not None
    assert site.loop.programmed.generation == "1"
    assert site.loop.settings.problems == FAULT.problems
    site.loop.audit()
    site.step()
    assert caplog.text.count("not in force: the setting: no; flows go on, it is tried again") == 1


def test_a_failure_is_tried_again_later_and_later_until_it_is_over(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.answer = FAULT
    site.step()
    pauses = []
    for _ in range(8):
        assert site.loop.due is not None
        assert site.step() == []
        pauses.append(site.loop.due - site.now)
        site.now = site.loop.due
        assert site.step() == ["keep settings"]
    assert pauses[0] == RETRY_FIRST
    assert pauses == sorted(pauses)
    assert pauses[-1] == RETRY_LAST
    site.answer = Kept(changed=("the setting",))
    assert site.loop.due is not None
    site.now = site.loop.due
    site.step()
    assert (site.loop.due, site.loop.settings.problems) == (None, ())
    assert "all settings of the datapath are in force again" in caplog.text
    assert "somebody changed" not in caplog.text


def test_a_bridge_that_is_gone_asks_for_no_step(site: Site) -> None:
    site.answer = FAULT
    site.step()
    site.loop.bridge = None
    assert site.step() == []
    assert site.loop.due is None


@pytest.mark.parametrize(("look", "is_somebody"), [(NodeLoop.audit, True), (lambda _loop: None, False)])
def test_what_somebody_changed_is_said(
    site: Site, caplog: pytest.LogCaptureFixture, look: Callable[[NodeLoop], None], is_somebody: bool
) -> None:
    """And what was forgotten by a daemon that has just connected is no news."""
    site.answer = Kept(changed=("the setting",))
    site.step()
    look(site.loop)
    site.step()
    assert ("somebody changed the datapath; set again: the setting" in caplog.text) is is_somebody
