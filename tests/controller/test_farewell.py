"""No client of a UDP endpoint that is gone keeps sending to it, whatever a switch remembers and whenever a controller is killed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clients import Controllers, Switch, offered, served_by, udp_flows
from hypothesis import given, settings
from hypothesis import strategies as st
from served import FOUR, PORTS, SIX, Dns, programmed

from lace_sdn.controller.farewell import FLUSHED_AFTER, Farewell
from lace_sdn.controller.stale_endpoints import Record, leave
from lace_sdn.openflow.flow import BridgeProgram
from lace_sdn.openflow.text import parse_flow
from lace_sdn.switch.contract import SwitchLost

Change = tuple[tuple[Dns, ...], float, float]
"""Services, seconds until the next change, and when the controller is killed (see ``Switch``)."""

BOTH = Dns()
ONE = replace(BOTH, hosts=(2,))
HOSTS = st.lists(st.integers(1, 4), max_size=3, unique=True).map(sorted).map(tuple)
SERVICES = st.builds(
    Dns, vips=st.sampled_from(((FOUR,), (SIX,), (FOUR, SIX))), port=st.sampled_from((53, 54)), hosts=HOSTS
)
RENAMED = st.builds(Dns, name=st.sampled_from(("dns", "other", "third")), hosts=HOSTS)
WAITS = st.sampled_from((0.0, 0.1, 0.25, 0.5, 2.0))
KILLS = st.one_of(st.just(0.0), st.integers(1, 24).map(lambda halves: halves / 2))


def changes(
    services: st.SearchStrategy[Dns],
) -> st.SearchStrategy[list[Change]]:
    some = st.lists(services, max_size=1).map(tuple)
    return st.lists(st.tuples(some, WAITS, KILLS), min_size=1, max_size=5)


def live_through(plan: list[Change]) -> Switch:
    """A switch after all changes, and after as long as it takes."""
    switch = Switch()
    controllers = Controllers(switch)
    for services, seconds, kill_at in plan:
        controllers.want(*services)
        switch.kill_at = kill_at
        controllers.step()
        controllers.wait(seconds)
    switch.kill_at = 0.0
    controllers.step()
    controllers.wait(10.0)
    assert controllers.loop.due is None
    assert controllers.loop.programmed is not None
    assert controllers.loop.programmed.generation == "now"
    return switch


@given(changes(SERVICES))
@settings(deadline=None)
def test_in_the_end_all_connections_are_to_endpoints_that_there_are(
    plan: list[Change],
) -> None:
    """And nobody else's were forgotten on the way; the bridge is as desired."""
    switch = live_through(plan)
    assert switch.program == switch.desired
    assert switch.connections <= served_by(switch.desired)
    assert switch.disturbed == set()


@given(changes(RENAMED))
@settings(deadline=None)
def test_a_service_that_takes_a_vip_gets_no_connections_to_the_endpoints_of_the_former(
    plan: list[Change],
) -> None:
    """It has another number; its own connections may be forgotten with those, which UDP can bear."""
    switch = live_through(plan)
    assert switch.program == switch.desired
    assert switch.connections <= served_by(switch.desired)


def test_a_single_time_would_not_do() -> None:
    """The model's clients do find out: a switch that remembers makes the connection anew that was forgotten."""
    switch = Switch()
    controllers = Controllers(switch)
    controllers.want(BOTH)
    controllers.step()
    controllers.want(ONE)
    controllers.step()
    assert not switch.connections <= served_by(switch.desired)
    controllers.wait(FLUSHED_AFTER[-1])
    assert switch.connections <= served_by(switch.desired)


def test_connections_are_forgotten_between_two_bundles() -> None:
    """The first: nothing leads there any more. The second, after the last time: nothing tells of it any more."""
    switch = Switch()
    controllers = Controllers(switch)
    controllers.want(BOTH)
    controllers.step()
    switch.told.clear()
    controllers.want(ONE)
    controllers.step()
    controllers.wait(10.0)
    assert switch.told == ["commit", *["forget"] * len(FLUSHED_AFTER), "commit"]


def test_a_node_is_programmed_when_the_last_connection_is_forgotten() -> None:
    """Until then its ports are known, and its generation is not said."""
    controllers = Controllers(Switch())
    controllers.want(BOTH)
    controllers.step()
    controllers.want(ONE)
    controllers.step()
    assert controllers.loop.programmed is not None
    assert (controllers.loop.programmed.generation, controllers.loop.programmed.ports) == ("", PORTS)
    controllers.wait(10.0)
    assert controllers.loop.programmed.generation == "now"


def test_an_audit_meanwhile_finds_nothing_changed(caplog: pytest.LogCaptureFixture) -> None:
    """What still tells of endpoints that left is ours."""
    controllers = Controllers(Switch())
    controllers.want(BOTH)
    controllers.step()
    controllers.want(ONE)
    controllers.step()
    controllers.loop.audit()
    controllers.step()
    assert "somebody" not in caplog.text


def test_a_switch_that_is_lost_meanwhile_is_begun_anew_with() -> None:
    """Nothing is due while it is away; when it is back all times count again."""
    switch = Switch()
    controllers = Controllers(switch)
    controllers.want(BOTH)
    controllers.step()
    controllers.want(ONE)
    controllers.step()
    controllers.loop.bridge = None
    controllers.step()
    assert controllers.loop.due is None
    controllers.loop.bridge = replace(switch)
    switch.told.clear()
    controllers.step()
    controllers.wait(10.0)
    assert switch.told == ["dump", *["forget"] * len(FLUSHED_AFTER), "commit"]


def test_a_switch_that_goes_while_it_forgets_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step asks for another try."""
    switch = Switch()
    controllers = Controllers(switch)
    controllers.want(BOTH)
    controllers.step()
    controllers.want(ONE)

    def lose(_which: object) -> None:
        raise SwitchLost("gone")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(switch, "flush_connections", lose)
        assert not controllers.loop.step(controllers.world)
    assert (controllers.loop.due, controllers.loop.programmed) == (None, None)
    controllers.step()
    controllers.wait(10.0)
    assert switch.program == switch.desired
    assert switch.connections <= served_by(switch.desired)


def test_an_endpoint_that_returns_meanwhile_is_not_bidden_farewell() -> None:
    """Its connections are good again."""
    switch = Switch()
    controllers = Controllers(switch)
    for services in (BOTH, ONE, BOTH):
        controllers.want(services)
        controllers.step()
    switch.told.clear()
    controllers.wait(10.0)
    assert switch.told == []


def test_an_endpoint_that_gets_the_number_of_one_that_left_is_served_at_once() -> None:
    """Numbers are hashes: the flow that tells of the former gives way, and stays."""
    former, present = programmed(replace(BOTH, hosts=(1,))), programmed(replace(BOTH, hosts=(2,)))
    (old,), (new,) = udp_flows(former, 25), udp_flows(present, 25)
    usurper = replace(new, match=old.match)
    desired = BridgeProgram(tuple(usurper if each is new else each for each in present.flows))
    leaving = leave(former, desired)
    assert leaving is not None
    assert set(leaving.first.flows) - set(desired.flows) == {replace(old, priority=100)}
    assert [str(each) for each in leaving.flushes] == [
        "ct_nw_dst=10.96.0.1,ct_tp_dst=53,ct_nw_proto=17 ct_nw_src=10.0.0.1,ct_tp_src=5353,ct_nw_proto=17"
    ]
    assert leave(leaving.first, desired) == leaving


RECORD = Record(parse_flow("table=25, priority=200,udp,reg4=0x1 actions=drop"), ())
OTHER = Record(parse_flow("table=25, priority=200,udp,reg4=0x2 actions=drop"), ())


def test_each_endpoint_has_its_own_times() -> None:
    """One that leaves later is waited for longer."""
    farewell = Farewell()
    assert farewell.visit((RECORD,), 100.0).flush == (RECORD,)
    later = farewell.visit((RECORD, OTHER), 100.2)
    assert (later.flush, later.stay) == ((OTHER,), (RECORD, OTHER))
    assert farewell.visit((RECORD, OTHER), 100.3).flush == (RECORD,)
    last = farewell.visit((RECORD, OTHER), 101.0)
    assert (last.flush, last.remove, last.stay) == ((RECORD, OTHER), (RECORD,), (OTHER,))
    assert farewell.due == pytest.approx(101.2)


def test_nothing_is_due_without_records() -> None:
    """Also when they vanish by themselves."""
    farewell = Farewell()
    assert farewell.due is None
    farewell.visit((RECORD,), 100.0)
    assert farewell.due == pytest.approx(100.25)
    farewell.visit((), 100.1)
    assert farewell.due is None


def test_the_clients_of_these_tests_find_all_endpoints() -> None:
    """Otherwise nothing could go wrong."""
    assert len(offered(programmed(BOTH))) == len(BOTH.hosts)
    assert offered(programmed(BOTH)) == served_by(programmed(BOTH))
