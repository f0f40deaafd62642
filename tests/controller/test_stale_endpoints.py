"""What must be forgotten when UDP endpoints go, in which order, and that a killed controller's successor goes on."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from served import FOUR, SIX, Dns, programmed

from lace_sdn.controller.stale_endpoints import Leave, leave
from lace_sdn.openflow.actions import GroupAction
from lace_sdn.openflow.diff import apply, diff
from lace_sdn.openflow.fields import IpProto
from lace_sdn.openflow.wire import ConnectionFilter, TupleFilter
from lace_sdn.pipeline.tables import ENDPOINT_DNAT
from lace_sdn.pipeline.tables import SERVICE_PORT as SERVICE_PORT_TABLE

if TYPE_CHECKING:
    from lace_sdn.model.objects import Address
    from lace_sdn.openflow.flow import BridgeProgram

BOTH = Dns()
DUAL = Dns(vips=(FOUR, SIX))
WITH_WEB = Dns(web=(1, 2))
OPEN = Dns(vips=(FOUR, SIX), node_port=30053)


def to_port(vip: Address | None = FOUR, port: int = 53) -> ConnectionFilter:
    """All connections to a port of a VIP, or (None) to a port of every address."""
    return ConnectionFilter(IpProto.UDP, TupleFilter(destination=vip, destination_port=port))


def to_endpoint(text: str, vip: Address | None = FOUR, port: int = 53) -> ConnectionFilter:
    """Those of them that an endpoint answers."""
    return replace(to_port(vip, port), reply=TupleFilter(source=ip_address(text), source_port=5353))


UNTOUCHED: dict[str, tuple[tuple[Dns, ...], tuple[Dns, ...]]] = {
    "nothing changes": ((BOTH,), (BOTH,)),
    "an endpoint comes": ((replace(BOTH, hosts=(1,)),), (BOTH,)),
    "a Service comes": ((), (DUAL,)),
    "an IPv6 VIP comes": ((BOTH,), (DUAL,)),
    "a TCP endpoint goes": ((WITH_WEB,), (replace(WITH_WEB, web=(1,)),)),
    "a TCP port goes": ((WITH_WEB,), (BOTH,)),
    "nothing changes behind a NodePort": ((OPEN,), (OPEN,)),
    "an endpoint comes behind a NodePort": ((replace(OPEN, hosts=(1,)),), (OPEN,)),
    "a NodePort comes": ((DUAL,), (OPEN,)),
}


@pytest.mark.parametrize(("before", "after"), UNTOUCHED.values(), ids=list(UNTOUCHED))
def test_nothing_is_forgotten_when(before: tuple[Dns, ...], after: tuple[Dns, ...]) -> None:
    assert leave(programmed(*before), programmed(*after)) is None


MOVED = replace(BOTH, vips=(ip_address("10.96.0.2"),))
FORGOTTEN: dict[str, tuple[tuple[Dns, ...], tuple[Dns, ...], set[ConnectionFilter]]] = {
    "one endpoint of two goes": ((BOTH,), (replace(BOTH, hosts=(2,)),), {to_endpoint("10.0.0.1")}),
    "all endpoints go": (
        (BOTH,),
        (replace(BOTH, hosts=()),),
        {to_endpoint("10.0.0.1"), to_endpoint("10.0.0.2")},
    ),
    "the Service goes": ((BOTH,), (), {to_port()}),
    "the VIP changes": ((BOTH,), (MOVED,), {to_port()}),
    "the port changes": ((BOTH,), (replace(BOTH, port=54),), {to_port()}),
    "another Service takes the VIP": ((BOTH,), (replace(BOTH, name="other"),), {to_port()}),
    "another Service takes the VIP, with one endpoint": (
        (BOTH,),
        (replace(BOTH, name="other", hosts=(2,)),),
        {to_port()},
    ),
    "the VIP changes and an endpoint goes": ((BOTH,), (replace(MOVED, hosts=(1,)),), {to_port()}),
    "an endpoint of both families goes": (
        (DUAL,),
        (replace(DUAL, hosts=(2,)),),
        {to_endpoint("10.0.0.1"), to_endpoint("fd00::1", SIX)},
    ),
    "the IPv6 VIP goes": ((DUAL,), (BOTH,), {to_port(SIX)}),
    "one of two Services goes": ((BOTH, replace(MOVED, name="other")), (BOTH,), {to_port(MOVED.vips[0])}),
    "an endpoint of one of two Services goes": (
        (BOTH, replace(MOVED, name="other")),
        (BOTH, replace(MOVED, name="other", hosts=(2,))),
        {to_endpoint("10.0.0.1", MOVED.vips[0])},
    ),
    "the NodePort goes": ((OPEN,), (DUAL,), {to_port(None, 30053)}),
    "the NodePort changes": ((OPEN,), (replace(OPEN, node_port=30054),), {to_port(None, 30053)}),
    "another Service takes the NodePort": (
        (OPEN,),
        (DUAL, Dns("other", vips=(MOVED.vips[0],), node_port=30053)),
        {to_port(None, 30053)},
    ),
    "an endpoint behind a NodePort goes": (
        (OPEN,),
        (replace(OPEN, hosts=(2,)),),
        {
            to_endpoint("10.0.0.1"),
            to_endpoint("fd00::1", SIX),
            to_endpoint("10.0.0.1", None, 30053),
            to_endpoint("fd00::1", None, 30053),
        },
    ),
}
EVERY_DEPARTURE = pytest.mark.parametrize(
    ("before", "after", "expected"), FORGOTTEN.values(), ids=list(FORGOTTEN)
)


def departure(before: tuple[Dns, ...], after: tuple[Dns, ...]) -> Leave:
    found = leave(programmed(*before), programmed(*after))
    assert found is not None
    return found


@EVERY_DEPARTURE
def test_just_these_are_forgotten_when(
    before: tuple[Dns, ...], after: tuple[Dns, ...], expected: set[ConnectionFilter]
) -> None:
    """Each once; with all connections of a port those of its endpoints too."""
    said = departure(before, after).flushes
    assert {each for each in said if each == whole(each) or whole(each) not in said} == expected
    assert len(said) == len(set(said))


def whole(of: ConnectionFilter) -> ConnectionFilter:
    """All connections to the port that it is about."""
    return ConnectionFilter(of.protocol, of.original)


def test_an_endpoint_that_went_before_its_port_is_forgotten_when_the_port_returns() -> None:
    """Within the time in which the record of both stays."""
    empty = replace(BOTH, hosts=())
    alone = interrupted(programmed(replace(BOTH, hosts=(1,))), programmed(empty))
    assert flushes(interrupted(alone, programmed()), programmed(empty)) == {to_endpoint("10.0.0.1")}


@EVERY_DEPARTURE
def test_no_new_connection_begins_before_the_old_are_forgotten(
    before: tuple[Dns, ...], after: tuple[Dns, ...], expected: set[ConnectionFilter]
) -> None:
    """Groups are those desired, and so is every flow that leads to one or is jumped to, but the silent ports."""
    first, desired = departure(before, after).first, programmed(*after)
    assert first.groups == desired.groups
    extra = set(first.flows) - set(desired.flows)
    assert {each.table for each in extra} <= {ENDPOINT_DNAT.number, SERVICE_PORT_TABLE.number}
    assert not any(isinstance(action, GroupAction) for each in extra for action in each.actions)


@EVERY_DEPARTURE
def test_the_record_of_what_is_to_be_forgotten_stays(
    before: tuple[Dns, ...], after: tuple[Dns, ...], expected: set[ConnectionFilter]
) -> None:
    first = departure(before, after).first
    removed = {each.key for each in programmed(*before).flows} - {each.key for each in first.flows}
    assert not {key for key in removed if key[0] == ENDPOINT_DNAT.number}


def test_a_port_that_goes_is_silent_until_it_is_gone() -> None:
    """Neither spread nor refused: its flow gives the number and ends."""
    first = departure((BOTH,), ()).first
    [flow] = [each for each in first.flows if each.table == SERVICE_PORT_TABLE.number and each.priority]
    assert [type(each).__name__ for each in flow.actions] == ["SetField"]


HOSTS = st.lists(st.integers(1, 4), max_size=3, unique=True).map(sorted).map(tuple)
VIPS = st.sampled_from(((FOUR,), (SIX,), (FOUR, SIX)))
OTHER_VIP = (ip_address("10.96.0.2"),)
FIRST = st.builds(
    Dns,
    name=st.sampled_from("ab"),
    vips=VIPS,
    port=st.sampled_from((53, 54)),
    hosts=HOSTS,
    web=HOSTS,
    node_port=st.sampled_from((0, 30053, 30054)),
)
SECOND = st.builds(
    Dns, name=st.just("other"), vips=st.just(OTHER_VIP), hosts=HOSTS, node_port=st.sampled_from((0, 30055))
)
CLUSTERS = st.tuples(st.lists(FIRST, max_size=1).map(tuple), st.lists(SECOND, max_size=1).map(tuple)).map(
    lambda each: each[0] + each[1]
)


def interrupted(installed: BridgeProgram, desired: BridgeProgram) -> BridgeProgram:
    """What a controller leaves that was killed after the first bundle."""
    leaving = leave(installed, desired)
    return leaving.first if leaving else desired


@example(
    (Dns(name="b", hosts=(1,), node_port=30053),),
    (Dns(name="a", node_port=30053),),
    (Dns(name="a", port=54, node_port=30053),),
)
@example(
    (Dns(name="a", hosts=(), node_port=30053),),
    (Dns(name="b", hosts=(1,)),),
    (Dns(name="b", hosts=(), node_port=30053),),
)
@given(CLUSTERS, CLUSTERS, CLUSTERS)
def test_a_killed_controllers_successor_forgets_the_same(
    older: tuple[Dns, ...], before: tuple[Dns, ...], after: tuple[Dns, ...]
) -> None:
    """Whatever was installed, a compiled program or one that a kill had left behind.

    It finds the ports that came in between, too: no connection by these to an endpoint that left is to live either.
    """
    desired = programmed(*after)
    for installed in (programmed(*before), interrupted(programmed(*older), programmed(*before))):
        left = interrupted(installed, desired)
        said, meant = flushes(left, desired), flushes(installed, desired)
        assert not beside(meant, said)
        assert {each.original for each in beside(said, meant)}.isdisjoint(called(installed))
        assert interrupted(left, desired) == left


def beside(said: set[ConnectionFilter], other: set[ConnectionFilter]) -> set[ConnectionFilter]:
    """What the others do not forget, neither by itself nor with all connections of its port."""
    return {each for each in said if each not in other and whole(each) not in other}


def called(installed: BridgeProgram) -> set[TupleFilter]:
    """Every UDP port, of a VIP or a NodePort, of a program."""
    leaving = leave(installed, programmed())
    return {each.original for each in leaving.flushes} if leaving else set()


def flushes(installed: BridgeProgram, desired: BridgeProgram) -> set[ConnectionFilter]:
    leaving = leave(installed, desired)
    return set(leaving.flushes) if leaving else set()


@given(CLUSTERS, CLUSTERS, CLUSTERS)
def test_it_ends_at_the_desired_program(
    older: tuple[Dns, ...], before: tuple[Dns, ...], after: tuple[Dns, ...]
) -> None:
    """And then there is nothing more to forget."""
    installed = interrupted(programmed(*older), programmed(*before))
    desired = programmed(*after)
    left = apply(installed, diff(installed, interrupted(installed, desired)))
    assert apply(left, diff(left, desired)) == desired
    assert leave(desired, desired) is None


@given(CLUSTERS, CLUSTERS)
def test_every_endpoint_that_goes_is_forgotten(before: tuple[Dns, ...], after: tuple[Dns, ...]) -> None:
    """By the whole port or by itself, for every VIP: judged by the Services, not by the programs."""
    said = flushes(programmed(*before), programmed(*after))
    gone = {each for each in bindings(before) if each not in bindings(after)}
    assert {
        each for each in gone if not {to_port(*each[:2]), to_endpoint(*each[2:], *each[:2])} & said
    } == set()


def bindings(services: tuple[Dns, ...]) -> set[tuple[Address | None, int, str]]:
    """VIP and port, or None and NodePort; the address of an endpoint."""
    return {
        (*called, str(backend.address))
        for each in services
        for vip in each.vips
        for called in ((vip, each.port), (None, each.node_port))
        for backend in each.service.ports[0].backends
        if backend.address.version == vip.version and called[1]
    }
