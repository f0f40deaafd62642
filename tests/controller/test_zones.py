"""A pod never meets the connections of the pod that had its port before, and keeps its own: whoever is killed, and when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lace_sdn.controller.zones import GATEWAY, Claim, Occupants, claims, pods_ports, zones_of
from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import Endpoint, Network, NetworkType
from lace_sdn.openflow.flow import program
from lace_sdn.pipeline.endpoints import LocalEndpoint
from lace_sdn.pipeline.fixed import Fixed
from lace_sdn.switch.ovsdb_plan import PortMap
from lace_sdn.switch.pod_interface import ZoneNote


def pod(
    name: str = "a", *, network: str = "blue", address: str = "10.0.0.2", mac: str = "02:00:0a:00:00:02"
) -> Endpoint:
    return Endpoint("ns", name, "node-1", network, (ip_address(address),), mac)


def claimed(endpoint: Endpoint, *, port: int = 1, uid: str = "u1", key: int = 7) -> Claim:
    networks = tuple(Network(name, NetworkType.L3, key, ()) for name in ("blue", "red"))
    found = PortMap({endpoint.id: port}, {endpoint.id: uid}, {endpoint.id: ZoneNote("row")})
    return claims(ClusterState(networks=networks), (endpoint,), found.ports, found)[endpoint.id]


OTHERS = {
    "another port": claimed(pod(), port=2),
    "another pod": claimed(pod("b")),
    "a namesake": claimed(pod(), uid="u2"),
    "another network": claimed(pod(network="red")),
    "the network made anew": claimed(pod(), key=8),
    "another address": claimed(pod(address="10.0.0.3")),
    "another MAC": claimed(pod(mac="02:00:0a:00:00:03")),
}


def test_the_same_pod_is_the_same_occupant() -> None:
    assert claimed(pod()) == claimed(pod())


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_whoever_differs_is_another_occupant(other: Claim) -> None:
    assert other.occupant != claimed(pod()).occupant


def test_the_way_to_the_nodes_stack_is_claimed_too() -> None:
    found = PortMap(gateway=ZoneNote("gateway's row", "somebody"))
    gateway = claims(ClusterState(), (), {}, found)[GATEWAY]
    assert (gateway.port, gateway.note.row) == (0x7001, "gateway's row")


def test_a_pods_port_has_two_zones_and_the_gateway_one() -> None:
    assert zones_of({0x7001, 2, 1}) == (1, 0x8001, 2, 0x8002, 0x7001)


def test_ports_of_pods_are_found_in_a_program_of_any_form() -> None:
    blue = LocalEndpoint("ns/a", "blue", 7, 3, "02:00:0a:00:00:02", (ip_address("10.0.0.2"),))
    assert pods_ports(program(flow for unit in (Fixed(), blue) for flow in unit.flows())) == {3}


# What the controller does with rows, step by step.

CLAIM, OTHER = Claim(1, "x", ZoneNote("row")), Claim(1, "y", ZoneNote("row"))


def saying(claim: Claim, occupant: str) -> Claim:
    return replace(claim, note=ZoneNote(claim.note.row, occupant))


def test_a_row_that_says_nothing_is_of_a_port_whose_zones_are_to_be_emptied() -> None:
    assert Occupants().judge({"a": CLAIM}).fresh == {"a"}


def test_a_row_that_says_the_occupant_is_believed() -> None:
    judged = Occupants().judge({"a": saying(CLAIM, "x")})
    assert (judged.fresh, judged.held) == (frozenset(), frozenset())


def test_a_row_that_says_another_occupant_is_emptied_first() -> None:
    occupants = Occupants()
    claim = saying(CLAIM, "y")
    assert occupants.judge({"a": claim}).held == {"a"}
    assert occupants.notes([claim], {"row"}) == {"row": ""}


def test_what_was_emptied_is_written() -> None:
    occupants = Occupants()
    occupants.settle([CLAIM])
    assert occupants.notes([CLAIM], {"row"}) == {"row": "x"}
    assert not occupants.judge({"a": CLAIM}).fresh


def test_what_was_not_yet_written_is_written_before_it_is_removed() -> None:
    """Otherwise the writing, which is under way, would come last."""
    occupants = Occupants()
    occupants.settle([CLAIM])
    assert occupants.judge({"a": OTHER}).held == {"a"}
    assert occupants.notes([OTHER], {"row"}) == {"row": "x"}
    assert occupants.notes([saying(OTHER, "x")], {"row"}) == {"row": ""}
    assert occupants.judge({"a": OTHER}).fresh == {"a"}


# Any controllers, killed at any moment, before a database that is slow.


@dataclass
class Node:
    """A port, its zones, and the row of its interface: what is written is in force and seen some moves later."""

    entries: set[str] = field(default_factory=set)
    """The occupants whose connections the zones may hold."""
    rows: dict[str, str] = field(default_factory=lambda: {"row-0": ""})
    seen: dict[str, str] = field(default_factory=lambda: {"row-0": ""})
    wanted: dict[str, str] = field(default_factory=dict)
    flying: dict[str, str] = field(default_factory=dict)
    occupant: str = "x"
    number: int = 0
    in_force: str = ""
    controller: Occupants = field(default_factory=Occupants)

    @property
    def row(self) -> str:
        return f"row-{self.number}"

    def do(self, move: str) -> None:
        getattr(self, move.replace(" ", "_"))()
        if self.in_force:
            self.entries.add(self.in_force)
            assert self.entries <= {self.in_force}, "a pod met the connections of another"

    def step(self) -> None:
        self._step(5)

    def step_killed_before_the_flush(self) -> None:
        self._step(1)

    def step_killed_after_the_flush(self) -> None:
        self._step(2)

    def step_killed_after_the_flows(self) -> None:
        self._step(3)

    def _step(self, until: int) -> None:
        """As NodeLoop does it; the flows of who has none any more go first."""
        row = next(iter(self.seen))
        claim = Claim(1, self.occupant + row, ZoneNote(row, self.seen[row]))
        judged = self.controller.judge({"a": claim})
        if judged.held or judged.fresh:
            self.in_force = ""
        if judged.fresh and until > 1:
            self.entries.clear()
        if not judged.held and until > 2:
            self.in_force = claim.occupant
        if until > 3:
            self.controller.settle([claim] if judged.fresh else [])
            self.wanted = self.controller.notes([claim], set(self.seen))
        else:
            self.restart()

    def restart(self) -> None:
        """What the former one had sent is written by now, or never."""
        self.controller, self.wanted, self.flying = Occupants(), {}, {}
        self.see()

    def send(self) -> None:
        """One transaction at a time."""
        if not self.flying:
            self.flying = {row: text for row, text in self.wanted.items() if self.rows.get(row, text) != text}

    def write(self) -> None:
        self.rows |= {row: text for row, text in self.flying.items() if row in self.rows}
        self.flying = {}

    def see(self) -> None:
        self.seen = dict(self.rows)

    def x(self) -> None:
        self.occupant = "x"

    def y(self) -> None:
        self.occupant = "y"

    def port_made_anew(self) -> None:
        self.number += 1
        self.rows = {self.row: ""}

    def settle_down(self) -> None:
        for move in ("step", "send", "write", "see") * 4:
            self.do(move)


MOVES = (
    *("step", "step killed before the flush", "step killed after the flush", "step killed after the flows"),
    *("restart", "send", "write", "see", "x", "y", "port made anew"),
)


@given(st.lists(st.sampled_from(MOVES), max_size=60))
def test_nobody_meets_anothers_connections_and_all_get_their_flows(moves: list[str]) -> None:
    """After any moves; and once nothing happens any more a restart takes nobody's connections."""
    node = Node()
    for move in moves:
        node.do(move)
    node.settle_down()
    assert node.in_force == node.occupant + node.row
    node.restart()
    node.do("step")
    assert node.entries == {node.in_force}
    assert (
        node.controller.judge({"a": Claim(1, node.in_force, ZoneNote(node.row, node.rows[node.row]))}).fresh
        == frozenset()
    )
