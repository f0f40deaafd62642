"""Promises about what one port gets of what all ports share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scenario import scenarios

from lace_sdn.openflow.actions import Controller, Learn, MeterAction, Resubmit
from lace_sdn.pipeline import compile_node, offline_ports
from lace_sdn.pipeline.constants import GATEWAY_PORT, REJECTED_OCTETS
from lace_sdn.pipeline.cookies import Category
from lace_sdn.pipeline.cookies import cookie as cookie_of
from lace_sdn.pipeline.limits import OTHER_PORTS, REMEMBERED_CLIENTS, limit_of
from lace_sdn.pipeline.registers import SOURCE_TYPE
from lace_sdn.pipeline.tables import CONTROLLER_LIMIT, SERVICE_LEARN
from lace_sdn.switch.contract import OURS, is_learned

if TYPE_CHECKING:
    from scenario import Scenario


@pytest.mark.parametrize("scenario", scenarios(), ids=str)
def test_what_goes_to_the_controller_has_passed_a_meter_of_its_port(scenario: Scenario) -> None:
    """On every node of the book; ports that have none of their own share one."""
    state = scenario.built.state
    for node in state.nodes:
        ports = offline_ports(state, node.name)
        program = compile_node(state, node.name, ports)
        to_controller = [flow for flow in program.flows if Controller in map(type, flow.actions)]
        assert {flow.actions[-2:] for flow in to_controller} == {
            (Resubmit(CONTROLLER_LIMIT.number), Controller(REJECTED_OCTETS))
        }
        limits = [flow.actions for flow in program.flows if flow.table == CONTROLLER_LIMIT.number]
        assert sorted(limits[:-1], key=str) == sorted(
            ((MeterAction(each),) for each in ports.values()), key=str
        )
        assert limits[-1] == (MeterAction(GATEWAY_PORT),)
        assert {meter.id for meter in program.meters} >= {*ports.values(), GATEWAY_PORT}


def test_what_is_learned_of_clients_is_limited_and_of_those_outside_apart_from_pods() -> None:
    """Their addresses can be forged, as many as one likes."""
    scenario = next(each for each in scenarios() if each.folder.name == "affinity")
    state = scenario.built.state
    for node in state.nodes:
        flows = compile_node(state, node.name, offline_ports(state, node.name)).flows
        learning = {flow.match: flow.actions[0] for flow in flows if flow.table == SERVICE_LEARN.number}
        assert learning
        by_side: dict[bool, set[int]] = {False: set(), True: set()}
        for match, action in learning.items():
            assert isinstance(action, Learn)
            assert action.limit == REMEMBERED_CLIENTS
            assert is_learned(action.cookie)
            by_side[match.get(SOURCE_TYPE.field) is not None].add(action.cookie)
        assert by_side[False].isdisjoint(by_side[True])
        assert len(by_side[False]) == len(by_side[True])


def test_only_learned_flows_have_the_bit_that_keeps_them_out_of_dumps() -> None:
    cookie, mask = OURS
    kept = [each for each in Category if cookie_of(each) & mask == cookie]
    assert kept == [each for each in Category if each is not Category.AFFINITY]


def test_a_meter_says_whose_port_it_is_for() -> None:
    """Those of nobody say nothing."""
    found = limit_of(7)
    assert found is not None
    assert (found.port, found.kind) == (7, "refusals")
    assert limit_of(0) is None
    assert OTHER_PORTS
