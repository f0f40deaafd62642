"""What is in doubt stays as it was: the oracle and the compiler's relations say the same of any state and any former one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[1] / "properties"))
from outside_states import outside_states

from lace_sdn.model.cluster import Doubt
from lace_sdn.policy.oracle import network_verdict, service_access
from lace_sdn.policy.relations import resolve
from lace_sdn.policy.services import resolve_services

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from lace_sdn.model.cluster import ClusterState


@st.composite
def doubtful_states(draw: DrawFn) -> ClusterState:
    """With a former state that had some of its policies, Networks and Namespaces, or none."""
    state = draw(outside_states())
    former = replace(
        state,
        networks=tuple(each for each in state.networks if draw(st.integers(0, 5))),
        namespaces=tuple(each for each in state.namespaces if draw(st.integers(0, 5))),
        routing_policies=tuple(each for each in state.routing_policies if draw(st.booleans())),
        service_policies=tuple(each for each in state.service_policies if draw(st.booleans())),
        services=(),
        endpoints=(),
        allocations=(),
    )
    doubt = Doubt(draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from((None, former))))
    return replace(state, doubt=doubt)


def related(state: ClusterState) -> set[tuple[str, str]]:
    relations = resolve(state)
    names = [each.name for each in state.networks]
    return {(one, other) for one in names for other in names if relations.is_related(one, other)}


def used(state: ClusterState) -> set[tuple[str, str]]:
    access = resolve_services(state, resolve(state))
    return {
        (network.name, service.id)
        for network in state.networks
        for service in state.services
        if access.may_use(network.name, service)
    }


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(state=doubtful_states())
def test_oracle_and_relations_agree(state: ClusterState) -> None:
    names = [each.name for each in state.networks]
    allowed = {
        (one, other)
        for one in names
        for other in names
        if one == other or network_verdict(state, one, other).allowed
    }
    assert related(state) == allowed
    assert used(state) == {
        (name, service.id)
        for name in names
        for service in state.services
        if service_access(state, name, service).allowed
    }


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(state=doubtful_states())
def test_a_doubt_only_takes_away(state: ClusterState) -> None:
    """And nothing, of what there was already."""
    without = replace(state, doubt=Doubt())
    assert related(state) <= related(without)
    assert used(state) <= used(without)
    same = replace(state, doubt=replace(state.doubt, former=without))
    assert (related(same), used(same)) == (related(without), used(without))
