"""Laws of change for Services: nodes take a new state one after the other, in any order, while connections through VIPs live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conversation import Stage, programs, simulated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_states import namespace_labels, served_states, service_connections, service_policies
from states import network_labels
from test_updates import Change, install_one_by_one
from vips import Talk, passes, sent_by, talk

from lace_sdn.controller.stale_endpoints import leave
from lace_sdn.model.objects import Protocol
from lace_sdn.openflow.simulator.conntrack import Parts
from lace_sdn.openflow.simulator.fabric import nth_bucket
from lace_sdn.policy.oracle import service_access, verdict
from lace_sdn.policy.relations import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn

    from lace_sdn.controller.stale_endpoints import Leave
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Service
    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.openflow.simulator import Fabric, Packet
    from lace_sdn.openflow.wire import TupleFilter
    from lace_sdn.policy.oracle import Connection

LAW = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
MOST = 30


@st.composite
def changes(draw: DrawFn) -> Change:
    """Policies, labels and Services come, go and change; so do the endpoints of Services."""
    every = draw(served_states())
    old = draw(somewhat_less(every))
    come = tuple(replace(each, name=f"new-{each.name}") for each in draw(service_policies(old, 1)))
    other = replace(
        every,
        namespaces=tuple(
            each if draw(st.integers(0, 2)) else replace(each, labels=draw(namespace_labels))
            for each in every.namespaces
        ),
        networks=tuple(
            each if draw(st.integers(0, 3)) else replace(each, labels=draw(network_labels))
            for each in every.networks
        ),
        services=tuple(draw(another(each, every)) for each in every.services),
    )
    new = draw(somewhat_less(other))
    order = draw(st.permutations([each.name for each in every.nodes]))
    return Change(old, replace(new, service_policies=(*new.service_policies, *come)), tuple(order))


@st.composite
def somewhat_less(draw: DrawFn, state: ClusterState) -> ClusterState:
    return replace(
        state,
        service_policies=tuple(each for each in state.service_policies if draw(st.integers(0, 4))),
        routing_policies=tuple(each for each in state.routing_policies if draw(st.integers(0, 4))),
        services=tuple(each for each in state.services if draw(st.integers(0, 5))),
    )


@st.composite
def another(draw: DrawFn, service: Service, state: ClusterState) -> Service:
    """Mostly the same; or with other endpoints, fewer ports, or in a Network where it has no endpoint."""
    match draw(st.sampled_from(("same", "same", "endpoints", "ports", "network"))):
        case "endpoints":
            kept = draw(st.integers(0, 7))
            ports = tuple(
                replace(
                    port,
                    backends=tuple(each for i, each in enumerate(port.backends) if kept >> (i % 3) & 1),
                )
                for port in service.ports
            )
            return replace(service, ports=ports)
        case "ports":
            return replace(service, ports=service.ports[1:])
        case "network":
            names = [each.name for each in state.networks if each.subnets]
            empty = tuple(replace(each, backends=()) for each in service.ports)
            return replace(service, network=draw(st.sampled_from(names)), ports=empty)
    return service


@dataclass(frozen=True)
class Live:
    """An established connection through a VIP, and the next packets of both sides."""

    connection: Connection
    server: str
    packets: tuple[Packet, Packet]

    def ends(self, stage: Stage) -> set[str]:
        return {stage.places[each].node for each in (self.connection.source, self.server)}

    def passes(self, stage: Stage) -> tuple[bool, bool]:
        return passes(stage, self.connection.source, self.server, self.packets)


def establish(stage: Stage, client_port: int) -> list[Live]:
    """All that the stage's state allows."""
    live = []
    for number, connection in enumerate(service_connections(stage.state, MOST)):
        held: Talk = talk(stage, connection, client_port + number)
        if held.forward is not None and held.backward is not None:
            live.append(Live(connection, held.reached, (held.forward, held.backward)))
    return live


def outlives(change: Change, connection: Connection) -> bool:
    """By docs/policy-semantics.md: networks that may reach the pod keep it; others while that Service's port admits them."""
    service = change.old.service_by_id[connection.service]
    network = change.old.endpoint_by_id[connection.source].network
    if resolve(change.new).is_related(network, service.network):
        return True
    now = change.new.service_by_id.get(service.id)
    return (
        now is not None
        and now.network == service.network
        and (connection.protocol, connection.port) in {(each.protocol, each.number) for each in now.ports}
        and service_access(change.new, network, now).allowed
    )


def is_allowed(state: ClusterState, connection: Connection) -> bool:
    return connection.service in state.service_by_id and verdict(state, connection).allowed


@LAW
@given(changes())
def test_what_old_and_new_allow_through_vips_is_never_lost(change: Change) -> None:
    """Established connections, whatever becomes of endpoints; and new ones to Services that do not change."""
    stage = Stage.of(change.old)
    live = [each for each in establish(stage, 10000) if outlives(change, each.connection)]
    both = [
        each
        for each in service_connections(change.old, MOST)
        if change.old.service_by_id[each.service] == change.new.service_by_id.get(each.service)
        and is_allowed(change.old, each)
        and is_allowed(change.new, each)
    ]
    for count, node in enumerate(install_one_by_one(stage, change), start=1):
        lost = [each.connection for each in live if each.passes(stage) != (True, True)]
        assert lost == [], node
        refused = [
            each
            for number, each in enumerate(both)
            if not talk(stage, each, 20000 + 1000 * count + number).is_whole
        ]
        assert refused == [], node


@LAW
@given(changes())
def test_a_revoked_connection_through_a_vip_is_cut_by_whichever_node_learns_of_it(change: Change) -> None:
    """In both directions, and it stays cut."""
    stage = Stage.of(change.old)
    live = [each for each in establish(stage, 10000) if not outlives(change, each.connection)]
    informed: set[str] = set()
    for node in install_one_by_one(stage, change):
        informed.add(node)
        heard = [each for each in live if informed & each.ends(stage)]
        assert [each.connection for each in heard if each.passes(stage) != (False, False)] == [], node


@LAW
@given(changes())
def test_what_old_and_new_deny_never_passes_through_a_vip(change: Change) -> None:
    """At no moment of the update does anybody hear of it."""
    stage = Stage.of(change.old)
    asked = {*service_connections(change.old, MOST), *service_connections(change.new, MOST)}
    neither = [
        each for each in asked if not is_allowed(change.old, each) and not is_allowed(change.new, each)
    ]
    vips = replace(
        change.old, services=tuple({**change.new.service_by_id, **change.old.service_by_id}.values())
    )
    everywhere = replace(stage, state=vips)
    for count, node in enumerate(install_one_by_one(stage, change), start=1):
        heard = [
            each
            for number, each in enumerate(neither)
            if talk(everywhere, each, 20000 + 1000 * count + number).seen_by
        ]
        assert heard == [], node


@LAW
@given(changes())
def test_after_the_last_node_only_the_new_state_counts_for_vips(change: Change) -> None:
    stage = Stage.of(change.old)
    establish(stage, 10000)
    list(install_one_by_one(stage, change))
    now = Stage(change.new, stage.wires, stage.places)
    asked = service_connections(change.new, MOST)
    judged = {each: talk(now, each, 20000 + number).is_whole for number, each in enumerate(asked)}
    assert judged == {each: verdict(change.new, each).allowed for each in asked}


@LAW
@given(changes(), st.integers(0, 5), st.integers(0, 7))
def test_datagrams_leave_with_their_endpoint_and_nothing_else_does(
    change: Change, bucket: int, killed: int
) -> None:
    """Also when the controller is killed between two steps: who calls on gets an endpoint of now, all others keep theirs."""
    fabric = simulated(change.old).copy(nth_bucket(bucket))
    stage = Stage.of(change.old, fabric)
    live = [each for each in establish(stage, 10000) if outlives(change, each.connection)]
    wanted = programs(change.new)
    for position, node in enumerate(change.order):
        for _ in say_farewell(fabric, node, wanted[node], stops_early=bool(killed >> position & 1)):
            lost = [
                each.connection for each in live if stays(change, each) and each.passes(stage) != (True, True)
            ]
            assert lost == [], node
    now = Stage(change.new, fabric, stage.places)
    strays = {
        each.connection: reached
        for each in live
        if each.connection.protocol is Protocol.UDP and each.connection.service in change.new.service_by_id
        for said in (verdict(change.new, each.connection),)
        if (reached := sent_by(now, each.connection.source, each.packets[0])[0])
        not in ((*said.backends, each.server) if stays(change, each) else said.backends or ("",))
    }
    assert strays == {}


@LAW
@given(served_states(), st.integers(0, 5))
def test_a_service_with_another_name_serves_the_clients_that_go_on_sending(
    old: ClusterState, bucket: int
) -> None:
    """From the same port to the same VIP: their old connections are forgotten, at the endpoint's node too."""
    new = replace(
        old,
        services=tuple(replace(each, name=f"{each.name}-too", affinity_seconds=0) for each in old.services),
    )
    fabric = simulated(old).copy(nth_bucket(bucket))
    stage = Stage.of(old, fabric)
    before = [each.connection for each in establish(stage, 10000) if each.connection.protocol is Protocol.UDP]
    ports = {each: 10000 + number for number, each in enumerate(service_connections(old, MOST))}
    wanted = programs(new)
    for node in wanted:
        list(say_farewell(fabric, node, wanted[node], stops_early=False))
    now = Stage(new, fabric, stage.places)
    again = {replace(each, destination=f"{each.destination}-too"): ports[each] for each in before}
    assert [each for each, port in again.items() if not talk(now, each, port).is_whole] == []


def stays(change: Change, live: Live) -> bool:
    """TCP ends by itself; a UDP connection stays if its VIP still has the port, and its endpoint serves there."""
    if live.connection.protocol is Protocol.TCP:
        return True
    service = change.new.service_by_id.get(live.connection.service)
    return service is not None and any(
        backend.pod == live.server and (backend.ready or backend.serving)
        for port in service.ports
        if (port.protocol, port.number) == (live.connection.protocol, live.connection.port)
        for backend in port.backends
    )


def say_farewell(fabric: Fabric, node: str, wanted: BridgeProgram, *, stops_early: bool) -> Iterator[None]:
    """In the order of docs/decisions/0012; who ``stops_early`` begins anew from what the bridge has."""
    leaving = leave(fabric.program(node), wanted)
    if leaving is not None:
        yield from forget(fabric, node, leaving)
        if stops_early:
            leaving = leave(fabric.program(node), wanted)
            assert leaving is not None
            yield from forget(fabric, node, leaving)
    fabric.install(node, wanted)
    yield


def forget(fabric: Fabric, node: str, leaving: Leave) -> Iterator[None]:
    fabric.install(node, leaving.first)
    yield
    for each in leaving.flushes:
        fabric.forget_matching(node, each.protocol, parts(each.original), parts(each.reply))
    yield


def parts(of: TupleFilter) -> Parts:
    source, destination = (None if each is None else int(each) for each in (of.source, of.destination))
    return Parts(source, destination, of.source_port, of.destination_port)
