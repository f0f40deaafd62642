"""Whose packet it is, over all that is compiled: nothing goes on behind a ``ct``, or out by a port, unasked (decision 0027)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scenario import scenarios

from lace_sdn.openflow.actions import Controller, Ct, Goto, InPort, Output, OutputTo, Resubmit
from lace_sdn.pipeline import compile_node, offline_ports, tables
from lace_sdn.pipeline.registers import IN_ZONE, SOURCE_TYPE, SourceType

if TYPE_CHECKING:
    from scenario import Scenario

    from lace_sdn.openflow.flow import Flow

ASKING = {
    each.number
    for each in (
        tables.SOURCE_ZONE_CHECK,
        tables.SERVICE_ADMIT,
        tables.COMMIT_ZONE_CHECK,
        tables.DESTINATION_ZONE_CHECK,
        tables.OTHER_CONNECTION_ZONE_CHECK,
        tables.OUTPUT_ZONE_CHECK,
        tables.REPLY_ZONE_CHECK,
    )
}
"""Where a ``ct`` may lead to."""
GATES = {
    each.number
    for each in (
        tables.SERVICE_GATE,
        tables.SOURCE_GATE,
        tables.REPLY_CHECK,
        tables.DISPATCH,
        tables.DESTINATION_GATE,
    )
}
ANSWERS = {tables.ARP_RESPONDER.number}
"""What the switch itself answers, to who asked."""


def leads_on(flow: Flow) -> bool:
    return any(isinstance(each, (Goto, Ct)) for each in flow.actions)


def is_asked(flow: Flow) -> bool:
    found = flow.match.get(IN_ZONE.field)
    return found is not None and bool(found.value & IN_ZONE.slice.mask)


@pytest.mark.parametrize("scenario", scenarios(), ids=str)
def test_every_lookup_is_followed_by_the_question_whose_it_is(scenario: Scenario) -> None:
    asked, state = 0, scenario.built.state
    for node in state.nodes:
        program = compile_node(state, node.name, offline_ports(state, node.name))
        for flow in program.flows:
            for each in flow.actions:
                if isinstance(each, Ct):
                    assert each.table in ASKING, str(flow)
                    asked += 1
            if flow.table in ASKING and leads_on(flow):
                assert Resubmit(tables.ZONE.number) in flow.actions, str(flow)
            if flow.table in GATES and leads_on(flow):
                source = flow.match.get(SOURCE_TYPE.field)
                comes_by_tunnel = (
                    flow.table == tables.DISPATCH.number
                    and source is not None
                    and source.value & SOURCE_TYPE.slice.mask == SourceType.TUNNEL
                )
                assert is_asked(flow) or comes_by_tunnel, str(flow)
            if any(isinstance(each, (Output, OutputTo, InPort)) for each in flow.actions):
                assert is_asked(flow) or flow.table in ANSWERS, str(flow)
            if any(isinstance(each, Controller) for each in flow.actions):
                assert flow.table in (tables.SIZE_GATE.number, tables.REJECT.number), str(flow)
    assert asked
