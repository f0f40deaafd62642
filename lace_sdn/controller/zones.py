"""Whose the conntrack zones of a bridge's ports are, and which must be emptied before their port gets flows. Pure.

A pod must never meet the connections of its predecessor, and must keep its own through restarts of whatever there is. So the row of a pod's
interface in the node's database says for which occupant the zones of its port were emptied last. It is written after that was confirmed, and
removed before another occupant of the same row gets flows: whoever is killed in between leaves a row that says too little, never too much.
A port that is made anew has a row that says nothing. See docs/decisions/0023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.fields import IN_PORT
from lace_sdn.pipeline.constants import GATEWAY_PORT, LAST_POD_PORT, SECOND_ZONE
from lace_sdn.pipeline.tables import CLASSIFIER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Endpoint
    from lace_sdn.openflow.flow import BridgeProgram
    from lace_sdn.switch.ovsdb_plan import PortMap
    from lace_sdn.switch.pod_interface import ZoneNote

GATEWAY: Final = "gateway"
"""The way to the node's own stack, where claims are named by endpoints' ids (``namespace/name``)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """``occupant``, in words that are equal for equal ones only, has ``port``; the row of its interface has ``note``."""

    port: int
    occupant: str
    note: ZoneNote


def claims(
    state: ClusterState, local: Iterable[Endpoint], ports: Mapping[str, int], found: PortMap
) -> dict[str, Claim]:
    """Of the endpoints of a node that have one of ``ports`` (ofport by endpoint's id), and of the gateway."""
    claimed = {GATEWAY: Claim(GATEWAY_PORT, f"port={GATEWAY_PORT} node's stack", found.gateway)}
    for endpoint in local:
        port = ports.get(endpoint.id)
        if port is not None:
            network = state.network_by_name[endpoint.network]
            occupant = (
                f"port={port} pod={endpoint.id} uid={found.uids.get(endpoint.id, '')} network={network.name}/{network.key} "
                f"mac={endpoint.mac} addresses={','.join(map(str, endpoint.addresses))}"
            )
            claimed[endpoint.id] = Claim(port, occupant, found.notes[endpoint.id])
    return claimed


def zones_of(ports: Iterable[int]) -> tuple[int, ...]:
    """The conntrack zones of ofports, in order of these: the own one, and for a pod the second one, of what it calls that leads back to it."""
    return tuple(
        zone
        for port in sorted(ports)
        for zone in ((port, SECOND_ZONE | port) if port <= LAST_POD_PORT else (port,))
    )


def pods_ports(program: BridgeProgram) -> frozenset[int]:
    """The ofports from which a program takes packets of pods."""
    ports = set()
    for flow in program.flows:
        if flow.table > CLASSIFIER.number:
            break
        port = flow.match.get(IN_PORT)
        if flow.table == CLASSIFIER.number and port is not None and port.value <= LAST_POD_PORT:
            ports.add(port.value)
    return frozenset(ports)


@dataclass(frozen=True, slots=True)
class Judgement:
    """By what claims are of (an endpoint's id).

    ``held``: must get no flows before its row has forgotten another occupant; ``fresh``: its zones are emptied before it gets flows.
    """

    held: frozenset[str]
    fresh: frozenset[str]


class Occupants:
    """What the rows are to say. Remembers for whom zones were emptied until the rows have it."""

    def __init__(self) -> None:
        self._emptied: dict[str, str] = {}
        """By row."""

    def judge(self, claims: Mapping[str, Claim]) -> Judgement:
        """Only what rows say, and what was confirmed here, makes a port its occupant's."""
        unsettled = {name: claim for name, claim in claims.items() if not self._is_settled(claim)}
        held = frozenset(name for name, claim in unsettled.items() if self._said(claim))
        return Judgement(held, frozenset(unsettled) - held)

    def settle(self, claims: Iterable[Claim]) -> None:
        """The zones of these were emptied, as a barrier confirmed, and nobody else has put anything there since."""
        self._emptied.update((claim.note.row, claim.occupant) for claim in claims)

    def notes(self, claims: Iterable[Claim], rows: Collection[str]) -> dict[str, str]:
        """What the rows of interfaces are to say: the occupant; "" for nothing. A row that is not named stays as it is. ``rows``: all there are.

        One step after the other: what was emptied is written, and seen in the row, before it is removed for somebody else.
        """
        self._emptied = {row: text for row, text in self._emptied.items() if row in rows}
        wanted = dict(self._emptied)
        for claim in claims:
            row = claim.note.row
            if self._is_settled(claim):
                wanted[row] = claim.occupant
            elif claim.note.occupant:
                wanted[row] = ""
                self._emptied.pop(row, None)
        return wanted

    def _is_settled(self, claim: Claim) -> bool:
        return self._said(claim) == claim.occupant

    def _said(self, claim: Claim) -> str:
        """For whom the zones of the claim's port are empty; "" for nobody."""
        return self._emptied.get(claim.note.row, claim.note.occupant)
