"""Which flows of the world outside are meant, and what a mistake makes of them: words for seeded faults."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from conversation import programs
from faults import Fault, above_others, has, replaced, with_actions, without_terms
from outside_arena import NETWORKS, NODES

from lace_sdn.openflow.actions import Ct, Move, Resubmit, SetField
from lace_sdn.openflow.fields import (
    CT_LABEL,
    IN_PORT,
    REG,
)
from lace_sdn.openflow.match import term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import GATEWAY_PORT, HOST_KEY, Priority
from lace_sdn.pipeline.outside_rows import TO_HOST
from lace_sdn.pipeline.registers import (
    DESTINATION_TYPE,
    ENTERED,
    NODE_PORT,
    PERMITTED,
    SOURCE_NETWORK,
)
from lace_sdn.policy.numbers import numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults import Programs

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.flow import Flow

FROM_GATEWAY = term(IN_PORT, GATEWAY_PORT)
RELATED = Priority.RELATED


right = cache(programs)


@cache
def _wrong(fault: OutsideFault, state: ClusterState, wired: ClusterState) -> Programs:
    wrong = fault.of(dict(right(state, wired)), state)
    if state is wired:
        assert wrong != right(state, wired), f"{fault.name} changes nothing"
    return wrong


class OutsideFault(Fault):
    """Compiled once for each state."""

    def compile(self, state: ClusterState, wired: ClusterState) -> Programs:
        return _wrong(self, state, wired)


def key(network: str) -> int:
    return NETWORKS[network].key


def prioritised(*priorities: int) -> Callable[[Flow], bool]:
    return lambda flow: flow.priority in priorities


def wide(*fields: object) -> Callable[[Flow], Flow]:
    return lambda flow: above_others(without_terms(*fields)(flow))  # type: ignore[arg-type]


def without(*actions: Action) -> Callable[[Flow], Flow]:
    return with_actions(lambda each: None if each in actions else each)


def without_nat(action: Action) -> Action:
    return replace(action, nat=None) if isinstance(action, Ct) else action


def to_next_port(action: Action) -> Action:
    """The masquerade of the next port."""
    if not (isinstance(action, Ct) and action.nat and action.nat.address):
        return action
    return replace(action, nat=replace(action.nat, address=action.nat.address + 1))


def exec_without(register: object) -> Callable[[Flow], Flow]:
    """``exec`` of a commit does not write ``register``."""

    def of(action: Action) -> Action:
        if not isinstance(action, Ct):
            return action
        kept = tuple(
            each for each in action.execute if not (isinstance(each, Move) and each.target == register)
        )
        return replace(action, execute=kept)

    return with_actions(of)


def is_prefix_row(flow: Flow) -> bool:
    """A row of ``OutsidePrefix``, for an address of any length."""
    return Priority.CLASS_PREFIX <= flow.priority <= Priority.CLASS_PREFIX + 128


def is_nobodys(flow: Flow) -> bool:
    """A row for addresses that are nobody's."""
    network = any(
        isinstance(each, SetField) and each.field in (REG[1], REG[11]) and each.value for each in flow.actions
    )
    return is_prefix_row(flow) and not network


def shortest_first(flow: Flow) -> Flow:
    return replace(flow, priority=2 * Priority.CLASS_PREFIX + 128 - flow.priority)


def to_host(flow: Flow) -> bool:
    found = flow.match.get(DESTINATION_TYPE.field)
    mask = DESTINATION_TYPE.slice.mask
    return found is not None and found.mask & mask == mask and found.value & mask == TO_HOST.value


def is_service_of_node(flow: Flow) -> bool:
    return has(NODE_PORT.equals(1))(flow)


def leads_back(flow: Flow) -> bool:
    """A row of ``EntryReturn``."""
    return flow.priority == Priority.NORMAL and flow.match.get(CT_LABEL) is not None


def to_another_entry(flow: Flow) -> Flow:
    """The way back to node0 for what came in by node2, and so on."""
    known = sorted(numbers(node.name for node in NODES).values())
    found = flow.match.get(CT_LABEL)
    assert found is not None
    number = known[known.index(found.value >> ENTERED.low) - 1]
    terms = (each for each in flow.match.terms if each.field is not CT_LABEL)
    return replace(flow, match=type(flow.match)(*terms, ENTERED.equals(number)))


def without_permit(flow: Flow) -> Flow:
    """The question of whether a Service may be used is answered by yes."""
    return replaced(Resubmit(tables.PERMIT_NEW.number), PERMITTED.set(1))(flow)


def is_probe(flow: Flow) -> bool:
    """A row that says which packets are a node's own probes."""
    return SOURCE_NETWORK.set(HOST_KEY) in flow.actions
