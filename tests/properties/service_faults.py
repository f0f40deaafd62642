"""Faults of a compiler in the tables of Services, as changes to what it compiled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arena import NETWORKS
from faults import Fault, above_others, both, dropped, edit, every, has, replaced, with_actions, without_terms

from lace_sdn.openflow.actions import Ct, Goto, Learn, Move, Nat, Pop, Push, Resubmit, SetField
from lace_sdn.openflow.fields import CT_MARK, IPV4_DST, REG, TCP_DST
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import HAIRPIN_SOURCE, TWIN_SOURCE, Priority
from lace_sdn.pipeline.registers import (
    ADMITTED,
    DESTINATION_NETWORK,
    HAIRPIN,
    SECOND_ZONE,
    SERVICE_CLASS,
    SERVICE_PORT,
    SERVICE_SCOPE,
    SOURCE_NETWORK,
    THROUGH,
    TRANSLATED,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.flow import Flow


def without_nat(action: Action) -> Action:
    return replace(action, nat=None) if isinstance(action, Ct) else action


def forgotten_service(action: Action) -> Action:
    """``exec`` does not write the Service's port."""
    if not isinstance(action, Ct):
        return action
    kept = tuple(
        each for each in action.execute if not (isinstance(each, Move) and each.target == THROUGH.slice)
    )
    return replace(action, execute=kept)


def is_row(flow: Flow) -> bool:
    return flow.priority > 0


def wide(*fields: object) -> Callable[[Flow], Flow]:
    return lambda flow: above_others(without_terms(*fields)(flow))  # type: ignore[arg-type]


def translated_as(source: object) -> Callable[[Flow], bool]:
    return lambda flow: any(
        isinstance(each, Ct) and each.nat is not None and each.nat.address == source for each in flow.actions
    )


def of_another_network(flow: Flow) -> Flow:
    right, wrong = (DESTINATION_NETWORK.set(NETWORKS[name].key) for name in ("bob", "cat"))
    return replaced(right, wrong)(flow)


def is_class_row(flow: Flow) -> bool:
    return flow.match.get(SERVICE_CLASS.field) is not None


def is_translated(flow: Flow) -> bool:
    """A flow for connections that were translated and are not admitted yet."""
    mark = flow.match.get(CT_MARK)
    return mark is not None and bool(mark.value & TRANSLATED.slice.mask)


def to_another_endpoint(action: Action) -> Action:
    """Every endpoint's row translates to bob0's address, whichever it was."""
    if not (isinstance(action, Ct) and action.nat and action.nat.address and action.nat.address.version == 4):
        return action
    return replace(action, nat=Nat(is_source=False, address=action.nat.address + 1, port=action.nat.port))


def to_another_port(action: Action) -> Action:
    if not (isinstance(action, Ct) and action.nat and action.nat.port):
        return action
    return replace(action, nat=replace(action.nat, port=action.nat.port + 1))


def without_network(action: Action) -> Action:
    if not isinstance(action, Learn):
        return action
    return replace(action, matches=tuple(each for each in action.matches if each != SOURCE_NETWORK.slice))


SERVICE_FAULTS = (
    Fault("the gate of Services open", edit(tables.SERVICE_GATE, every, without_terms(REG[0]))),
    Fault("a VIP of another network", edit(tables.SERVICE_VIP, is_row, of_another_network)),
    Fault(
        "a VIP without its scope",
        edit(
            tables.SERVICE_VIP,
            is_row,
            with_actions(
                lambda each: (
                    None if isinstance(each, SetField) and each.field is SERVICE_SCOPE.field else each
                )
            ),
        ),
    ),
    Fault(
        "a Service's port without its number",
        edit(
            tables.SERVICE_PORT,
            is_row,
            with_actions(
                lambda each: None if isinstance(each, SetField) and each.field is SERVICE_PORT.field else each
            ),
        ),
    ),
    Fault(
        "an endpoint's address mistaken", edit(tables.ENDPOINT_DNAT, every, with_actions(to_another_endpoint))
    ),
    Fault(
        "no mark of translation",
        edit(
            tables.ENDPOINT_DNAT,
            every,
            with_actions(
                lambda each: replace(each, execute=each.execute[1:]) if isinstance(each, Ct) else each
            ),
        ),
    ),
    Fault(
        "the Service in no label of the sender",
        both(
            edit(tables.ENDPOINT_DNAT, every, with_actions(forgotten_service)),
            edit(tables.SOURCE_COMMIT, is_translated, with_actions(forgotten_service)),
        ),
    ),
    Fault(
        "the Service in no label of the receiver",
        edit(tables.DESTINATION_COMMIT, is_row, with_actions(forgotten_service)),
    ),
    Fault("permit of services for any class", edit(tables.PERMIT, is_class_row, wide(SERVICE_CLASS.field))),
    Fault(
        "permit of services without a Service", edit(tables.PERMIT, is_class_row, wide(SERVICE_SCOPE.field))
    ),
    Fault("permit of services of any network", edit(tables.PERMIT, is_class_row, wide(REG[11]))),
    Fault("a Service of any responder", edit(tables.SERVICE_SCOPE, is_row, wide(REG[11]))),
    Fault("a local endpoint at every port", edit(tables.LOCAL_BACKEND, is_row, wide(TCP_DST))),
    Fault("a local endpoint of any Service", edit(tables.LOCAL_BACKEND, is_row, wide(SERVICE_PORT.field))),
    Fault("a local endpoint at every address", edit(tables.LOCAL_BACKEND, is_row, wide(IPV4_DST))),
    Fault(
        "no check of local endpoints",
        edit(
            tables.DESTINATION_STATE,
            every,
            replaced(Resubmit(tables.LOCAL_BACKEND.number), Resubmit(tables.SERVICE_SCOPE.number)),
        ),
    ),
    Fault(
        "the frame's Service believed for ever",
        edit(
            tables.DESTINATION_STATE,
            has(ADMITTED.equals(1)),
            replaced(THROUGH.copy_to(SERVICE_PORT), SERVICE_PORT.set(0)),
        ),
    ),
    Fault(
        "no translation back at the sender's port",
        edit(tables.SOURCE_CONNTRACK, every, with_actions(without_nat)),
    ),
    Fault(
        "no translation back at the receiver's port", edit(tables.DISPATCH, every, with_actions(without_nat))
    ),
    Fault(
        "direct connections keep a port that a VIP's has",
        edit(tables.REPLY_CHECK, every, with_actions(without_nat)),
    ),
    Fault(
        "no look for replies that a VIP's connection has",
        edit(tables.SOURCE_COMMIT, lambda flow: flow.priority == Priority.SHARED_REPLIES, dropped),
    ),
    Fault(
        "what was turned round stays so",
        edit(
            tables.REPLY_CHECK,
            every,
            with_actions(lambda each: None if isinstance(each, Push | Pop) else each),
        ),
    ),
    Fault(
        "the answer to oneself in the wrong zone",
        edit(
            tables.RETURN_ZONE,
            is_row,
            with_actions(lambda each: None if each == SECOND_ZONE.set(1) else each),
        ),
    ),
    Fault(
        "a pod that calls itself sees itself",
        edit(tables.DESTINATION_COMMIT, translated_as(HAIRPIN_SOURCE[4]), with_actions(without_nat)),
    ),
    Fault(
        "a pod's connection to itself forgotten",
        edit(
            tables.ROUTE,
            lambda flow: flow.match.get(CT_MARK) is not None and HAIRPIN.set(1) in flow.actions,
            dropped,
        ),
    ),
    Fault(
        "out by the port instead of back into it",
        edit(tables.OUTPUT, lambda flow: flow.priority > 0, dropped),
    ),
    Fault(
        "an endpoint sees a client with its own address",
        edit(tables.DESTINATION_COMMIT, translated_as(TWIN_SOURCE[4]), dropped),
    ),
    Fault("what was translated and not admitted is lost", edit(tables.SOURCE_COMMIT, is_translated, dropped)),
    Fault(
        "affinity to what is no endpoint any more",
        edit(tables.SERVICE_ENDPOINT, lambda flow: flow.match.get(REG[4]) is not None, wide(REG[4])),
    ),
    Fault(
        "what is remembered of a client counts in every network",
        edit(tables.SERVICE_LEARN, is_row, with_actions(without_network)),
    ),
    Fault("what is translated and not admitted stays so", edit(tables.SOURCE_STATE, is_translated, dropped)),
    Fault(
        "what is translated and not admitted is not asked about",
        edit(
            tables.SOURCE_STATE,
            is_translated,
            replaced(Goto(tables.SERVICE_ADMIT.number), Goto(tables.ROUTE.number)),
        ),
    ),
    Fault("refusals forgotten", edit(tables.REJECT, every, dropped)),
    Fault("an unknown port is silent", edit(tables.SERVICE_PORT, lambda flow: not is_row(flow), dropped)),
    Fault("an endpoint's port mistaken", edit(tables.ENDPOINT_DNAT, every, with_actions(to_another_port))),
    Fault(
        "the Service's port not in the frame",
        edit(
            tables.ROUTE,
            every,
            with_actions(
                lambda each: None if isinstance(each, Move) and each.source == SERVICE_PORT.slice else each
            ),
        ),
    ),
)
