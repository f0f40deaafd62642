"""Faults of a compiler, as changes to what it compiled: each is a mistake that somebody could make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arena import NETWORKS, without_policy
from conversation import programs

from lace_sdn.openflow.actions import Ct, Goto, Move, Resubmit, SetField
from lace_sdn.openflow.fields import (
    CT_LABEL,
    ETH_DST,
    ETH_SRC,
    IPV4_DST,
    IPV4_SRC,
    REG,
    TUN_DST,
    TUN_ID,
    TUN_SRC,
    Field,
    Term,
)
from lace_sdn.openflow.flow import BridgeProgram, Flow, program
from lace_sdn.openflow.match import Match, ct_state
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import Priority
from lace_sdn.pipeline.registers import (
    ADMITTED,
    DESTINATION_NETWORK,
    INITIATOR,
    LOOKUP,
    OUTPUT_PORT,
    PERMITTED,
    RESPONDER,
    SOURCE_NETWORK,
    SOURCE_ZONE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.actions import Action, Actions

    Edit = Callable[[dict[str, BridgeProgram], ClusterState], dict[str, BridgeProgram]]

Programs = dict[str, BridgeProgram]


@dataclass(frozen=True)
class Fault:
    """``of``: the program of each node after the mistake, from the right ones and the state they are for."""

    name: str
    of: Callable[[Programs, ClusterState], Programs]

    def compile(self, state: ClusterState, wired: ClusterState) -> Programs:
        """What a compiler with this fault says. Raises AssertionError when the fault changes nothing."""
        right = programs(state, wired)
        wrong = self.of(dict(right), state)
        if state is wired:
            assert wrong != right, f"{self.name} changes nothing"
        return wrong

    def __str__(self) -> str:
        return self.name


def edit(
    table: tables.Table,
    where: Callable[[Flow], bool],
    change: Callable[[Flow], Flow | None],
    nodes: frozenset[str] | None = None,
) -> Callable[[Programs, ClusterState], Programs]:
    """Flows of ``table`` for which ``where`` holds become ``change`` of them (None: dropped), on ``nodes`` or all."""

    def of(compiled: Programs, _state: ClusterState) -> Programs:
        changed = {}
        for node, each in compiled.items():
            flows: dict[object, Flow] = {}
            for flow in each.flows:
                hit = flow.table == table.number and where(flow) and (nodes is None or node in nodes)
                after = change(flow) if hit else flow
                if after is not None:
                    flows.setdefault(after.key, after)
            changed[node] = program(flows.values(), each.groups, each.meters)
        return changed

    return of


def without_terms(*fields: Field) -> Callable[[Flow], Flow]:
    return lambda flow: replace(
        flow, match=Match(*(term for term in flow.match.terms if term.field not in fields))
    )


def with_term(term: Term) -> Callable[[Flow], Flow]:
    return lambda flow: replace(
        flow, match=Match(*(each for each in flow.match.terms if each.field is not term.field), term)
    )


def with_actions(change: Callable[[Action], Action | None]) -> Callable[[Flow], Flow]:
    """Each action becomes ``change`` of it; None: left out."""

    def of(flow: Flow) -> Flow:
        kept: Actions = tuple(after for each in flow.actions if (after := change(each)) is not None)
        return replace(flow, actions=kept)

    return of


def both(one: Edit, other: Edit) -> Edit:
    return lambda compiled, state: other(one(compiled, state), state)


def dropped(_flow: Flow) -> None:
    return None


def every(_flow: Flow) -> bool:
    return True


def has(*terms: Term) -> Callable[[Flow], bool]:
    return lambda flow: all(term in flow.match.terms for term in terms)


def key(network: str) -> int:
    return NETWORKS[network].key


def shorter(field: Field, by_bits: int) -> Callable[[Flow], Flow]:
    """The prefix of ``field`` is ``by_bits`` shorter."""

    def of(flow: Flow) -> Flow:
        old = flow.match.get(field)
        assert old is not None
        mask = old.mask << by_bits & field.all_ones
        return above_others(with_term(Term(field, old.value & mask, mask))(flow))

    return of


def above_others(flow: Flow) -> Flow:
    """Where a widened row overlaps others it wins: at equal priorities each switch could choose as it likes."""
    return replace(flow, priority=flow.priority + 20)


def is_ipv4_of(network: str) -> Callable[[Flow], bool]:
    """Rows that lead IPv4 addresses to ``network`` for others than itself."""
    wanted = DESTINATION_NETWORK.set(key(network))
    return lambda flow: (
        wanted in flow.actions
        and flow.match.get(IPV4_DST) is not None
        and flow.priority < Priority.OWN_PREFIX
    )


def is_remote(flow: Flow) -> bool:
    return any(isinstance(each, SetField) and each.field is TUN_DST for each in flow.actions)


def is_host_route(flow: Flow) -> bool:
    term = flow.match.get(IPV4_DST)
    return is_remote(flow) and term is not None and term.mask == IPV4_DST.all_ones


def swapped(one: int, other: int) -> Callable[[Flow], Flow]:
    """Rows of one network become those of the other."""

    def of(flow: Flow) -> Flow:
        found = flow.match.get(REG[2])
        assert found is not None
        return with_term(DESTINATION_NETWORK.equals(other if found.value == one else one))(flow)

    return of


def replaced(old: Action, new: Action) -> Callable[[Flow], Flow]:
    return with_actions(lambda each: new if each == old else each)


def unwritten(field: Field) -> Callable[[Flow], Flow]:
    """``exec`` of the commit writes nothing to ``field``."""

    def of(action: Action) -> Action:
        if not isinstance(action, Ct):
            return action
        kept = tuple(
            each
            for each in action.execute
            if (each.target.field if isinstance(each, Move) else each.field) is not field
        )
        return replace(action, execute=kept)

    return with_actions(of)


def halves_swapped(action: Action) -> Action:
    if not isinstance(action, Ct):
        return action
    turned = {INITIATOR.slice: RESPONDER.slice, RESPONDER.slice: INITIATOR.slice}
    return replace(
        action,
        execute=tuple(
            Move(each.source, turned.get(each.target, each.target)) if isinstance(each, Move) else each
            for each in action.execute
        ),
    )


def is_commit(flow: Flow) -> bool:
    return any(isinstance(each, Ct) and each.commit for each in flow.actions)


def node0_is_stale(compiled: Programs, state: ClusterState) -> Programs:
    """node0 has not heard of the policy dan-to-bob yet."""
    wired = without_policy("dan-to-bob")
    return {**compiled, "node0": programs(wired)["node0"]} if len(state.routing_policies) == 6 else compiled


def everywhere_open(compiled: Programs, state: ClusterState) -> Programs:
    """The receiver's question is asked, and the answer not heard, by every node."""
    return edit(tables.DESTINATION_GATE, every, without_terms(REG[0]))(compiled, state)


def unasked(flow: Flow) -> Flow:
    """An admitted connection is permitted for ever."""
    asks = Resubmit(tables.PERMIT_ESTABLISHED.number)
    return replaced(asks, PERMITTED.set(1))(flow)


ESTABLISHED = edit(tables.SOURCE_STATE, has(ADMITTED.equals(1)), unasked)


def never_asked_again(compiled: Programs, state: ClusterState) -> Programs:
    once = ESTABLISHED(compiled, state)
    return edit(tables.DESTINATION_STATE, has(ADMITTED.equals(1)), unasked)(once, state)


def in_zone_1(action: Action) -> Action:
    is_zone = isinstance(action, SetField) and action.field is SOURCE_ZONE.field
    return SOURCE_ZONE.set(1) if is_zone else action


def has_source(flow: Flow) -> bool:
    return flow.match.get(IPV4_SRC) is not None


equal_tuples_are_one = edit(tables.TUPLE_CHECK, lambda flow: flow.priority == Priority.LOW, dropped)


FAULTS = (
    Fault("row of a policy dropped", edit(tables.PERMIT, has(LOOKUP.equals(key("bob"))), dropped)),
    Fault(
        "row of a network for itself dropped",
        edit(tables.DESTINATION_NETWORK, has(SOURCE_NETWORK.equals(key("xen"))), dropped),
    ),
    Fault(
        "prefix of a destination widened",
        edit(tables.DESTINATION_NETWORK, is_ipv4_of("bob"), shorter(IPV4_DST, 4)),
    ),
    Fault(
        "block of another node widened",
        edit(
            tables.ROUTE,
            lambda flow: is_remote(flow) and not is_host_route(flow) and flow.match.get(IPV4_DST) is not None,
            shorter(IPV4_DST, 8),
        ),
    ),
    Fault(
        "two networks of one prefix swapped",
        edit(
            tables.ROUTE,
            lambda flow: (
                has(DESTINATION_NETWORK.equals(key("ann")))(flow)
                or has(DESTINATION_NETWORK.equals(key("dan")))(flow)
            ),
            swapped(key("ann"), key("dan")),
        ),
    ),
    Fault("one node stale", node0_is_stale),
    Fault(
        "gates of the sender's node removed",
        both(
            edit(tables.SOURCE_GATE, every, without_terms(REG[0])),
            edit(tables.SOURCE_RENEWAL, has(PERMITTED.equals(1)), without_terms(REG[0])),
        ),
    ),
    Fault("gate of the receiver's node removed", everywhere_open),
    Fault(
        "one conntrack zone for all pods",
        edit(tables.CLASSIFIER, every, with_actions(in_zone_1)),
    ),
    Fault(
        "established packets of the initiator without its network",
        both(
            equal_tuples_are_one,
            edit(tables.PERMIT_ESTABLISHED, has(ct_state("-rpl+trk")), without_terms(REG[1])),
        ),
    ),
    Fault(
        "replies without the responder's network",
        edit(tables.PERMIT_ESTABLISHED, has(ct_state("+rpl+trk")), without_terms(REG[1])),
    ),
    Fault(
        "tunnel packets from anywhere",
        edit(tables.CLASSIFIER, lambda flow: flow.match.get(TUN_SRC) is not None, without_terms(TUN_SRC)),
    ),
    Fault(
        "tunnel packets with any key",
        edit(
            tables.TUNNEL_DECODE,
            has(Term(TUN_ID, key("bob"), TUN_ID.all_ones)),
            lambda flow: above_others(without_terms(TUN_ID)(flow)),
        ),
    ),
    Fault(
        "tunnel packets with any inner source MAC", edit(tables.TUNNEL_DECODE, every, without_terms(ETH_SRC))
    ),
    Fault(
        "spoof guard without addresses",
        both(
            edit(tables.SPOOF_GUARD, has_source, without_terms(IPV4_SRC)),
            edit(tables.ZONE, has_source, without_terms(IPV4_SRC)),
        ),
    ),
    Fault("spoof guard without MAC", edit(tables.SPOOF_GUARD, every, without_terms(ETH_SRC))),
    Fault("label halves swapped", edit(tables.SOURCE_COMMIT, is_commit, with_actions(halves_swapped))),
    Fault("commit without mark", edit(tables.DESTINATION_COMMIT, is_commit, unwritten(ADMITTED.field))),
    Fault("commit without label", edit(tables.SOURCE_COMMIT, is_commit, unwritten(CT_LABEL))),
    Fault("admitted connections never asked about again", never_asked_again),
    Fault(
        "the world outside before pod networks",
        edit(
            tables.DESTINATION_NETWORK,
            lambda flow: flow.priority == Priority.DEFAULT,
            lambda flow: replace(flow, priority=2 * Priority.OWN_PREFIX),
        ),
    ),
    Fault(
        "route to a single pod after that to a block",
        edit(tables.ROUTE, is_host_route, lambda flow: replace(flow, priority=Priority.ROUTE - 1)),
    ),
    Fault(
        "verdict not cleared between the halves",
        both(
            equal_tuples_are_one,
            edit(
                tables.DISPATCH, every, with_actions(lambda each: None if each == PERMITTED.set(0) else each)
            ),
        ),
    ),
    Fault(
        "delivered to the next port",
        edit(
            tables.ROUTE,
            lambda flow: not is_remote(flow),
            with_actions(
                lambda each: (
                    OUTPUT_PORT.set(each.value % 10 + 1)
                    if isinstance(each, SetField) and each.field is REG[3]
                    else each
                )
            ),
        ),
    ),
    Fault(
        "delivered with the MAC of nobody",
        edit(
            tables.ROUTE,
            lambda flow: not is_remote(flow),
            with_actions(
                lambda each: (
                    SetField(ETH_DST, 0x020000000F00)
                    if isinstance(each, SetField) and each.field is ETH_DST
                    else each
                )
            ),
        ),
    ),
    Fault(
        "new connections not committed by the receiver's node",
        edit(
            tables.DESTINATION_COMMIT,
            is_commit,
            lambda flow: replace(flow, actions=(Goto(tables.OUTPUT.number),)),
        ),
    ),
)
