"""While nothing can be recorded: what needs no new number is in force, and nothing passes that the whole would not let pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import read
from lace_sdn.pipeline import compile_node
from lace_sdn.pipeline.compiler import offline_ports
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.oracle import verdict
from lace_sdn.policy.reachability import connections
from lace_sdn.policy.recorded import is_recorded

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.policy.connection import Connection

BOOK = Path(__file__).parents[2] / "flows"
SCENARIOS = sorted(BOOK.glob("*/cluster.yaml"))
CORP = BOOK / "corp-inside-internet" / "cluster.yaml"


def allowed(state: ClusterState) -> set[Connection]:
    return {each for each in connections(state) if verdict(state, each).allowed}


def subset(draw: st.DataObject, entries: tuple[object, ...]) -> tuple[object, ...]:
    kept = draw.draw(st.lists(st.booleans(), min_size=len(entries), max_size=len(entries)))
    return tuple(each for each, is_kept in zip(entries, kept, strict=True) if is_kept)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.parent.name)
@given(draw=st.data())
@settings(max_examples=5, deadline=None)
def test_what_is_in_force_is_recorded_and_opens_nothing(scenario: Path, draw: st.DataObject) -> None:
    """Whatever part of the ledger is on disk; the tables of every node can be made of it."""
    manifests = read(scenario)
    whole = build(manifests, Ledger())
    ledger = whole.ledger
    known = Ledger(
        subset(draw, ledger.keys),  # type: ignore[arg-type]
        subset(draw, ledger.blocks),  # type: ignore[arg-type]
        subset(draw, ledger.leases),  # type: ignore[arg-type]
    )
    frozen = build(manifests, known, is_frozen=True).state
    leases = known.lease_by_pod
    assert {(each.name, each.key) for each in frozen.networks if each.key} <= set(known.keys)
    assert set(frozen.allocations) <= set(known.blocks)
    assert all(leases[each.id].addresses == each.addresses for each in frozen.endpoints)
    assert allowed(frozen) <= allowed(build(manifests, known).state)
    for node in frozen.nodes:
        compile_node(frozen, node.name, offline_ports(frozen, node.name))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.parent.name)
def test_with_all_on_disk_nothing_is_missing(scenario: Path) -> None:
    manifests = read(scenario)
    ledger = build(manifests, Ledger()).ledger
    assert build(manifests, ledger, is_frozen=True).state == build(manifests, ledger).state


def test_a_network_without_a_recorded_key_still_takes_its_addresses_away() -> None:
    """Those of corp belong to nobody, not to the internet around it."""
    manifests = read(CORP)
    ledger = build(manifests, Ledger()).ledger
    keys = tuple(each for each in ledger.keys if each[0] != "corp")
    frozen = build(manifests, Ledger(keys, ledger.blocks, ledger.leases), is_frozen=True).state
    without = replace(
        manifests, objects=tuple(each for each in manifests.objects if each.identity.name != "corp")
    )
    whole = allowed(build(manifests, ledger).state)
    assert frozen.network_by_name["corp"].key == 0
    assert allowed(frozen) == {each for each in whole if each.destination != "host wiki"}
    assert allowed(build(without, ledger).state) - whole


def test_numbers_that_were_given_back_need_no_record() -> None:
    ledger = build(read(CORP), Ledger()).ledger
    assert is_recorded(Ledger(ledger.keys, ledger.blocks, ledger.leases[1:]), ledger)
    assert not is_recorded(ledger, Ledger(ledger.keys, ledger.blocks, ledger.leases[1:]))
