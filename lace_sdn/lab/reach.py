"""What the lab really does: every connection that pods could start, tried with real packets and judged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lace_sdn.lab import agent_client
from lace_sdn.lab.probes import Observation, Probe
from lace_sdn.policy.oracle import verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.policy.oracle import Connection

SECOND_PATIENCE = 3.0
"""Seconds for packets that were missed: a machine under load is no fault of the network."""


class Found(StrEnum):
    ALLOW = "allow"
    """The meant pod saw the packet, nobody else did, and its answer returned."""
    DENY = "deny"
    """Nobody saw it."""
    HALF = "half"
    """The meant pod saw it, and no answer of its returned."""
    LEAK = "leak"
    """A pod saw it that was not meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``detail`` says for HALF and LEAK what was seen."""

    found: Found
    detail: str = ""


def measure(lab: Lab, state: ClusterState, intended: Mapping[Connection, bool]) -> dict[Connection, Finding]:
    """Try every connection. Where packets are missing that were intended to pass, try once more with more patience."""
    findings = _measure(lab, state, intended, agent_client.PATIENCE)
    missed = [
        connection
        for connection, finding in findings.items()
        if intended[connection] and finding.found in (Found.DENY, Found.HALF)
    ]
    return findings | _measure(lab, state, missed, SECOND_PATIENCE) if missed else findings


def is_as_intended(intended: bool, finding: Finding) -> bool:
    """Whether what was found is what is meant; half a connection or a leak never is."""
    return finding.found is (Found.ALLOW if intended else Found.DENY)


def judge(state: ClusterState, connection: Connection, seen: Observation) -> Finding:
    """What an observation means for a connection.

    Pods of other networks may bear the address too: one that the source may reach, or the source itself, gets what is sent there.
    """
    meant = connection.destination
    if meant in seen.seen_at:
        strangers = [pod for pod in seen.seen_at if pod != meant]
        if strangers:
            return Finding(Found.LEAK, f"reached {', '.join(strangers)} too")
        if seen.answered_by == (meant,):
            return Finding(Found.ALLOW)
        answered = ", ".join(seen.answered_by)
        return Finding(Found.HALF, f"answered by {answered}" if answered else "arrived, no answer returned")
    strangers = sorted({*seen.seen_at, *seen.answered_by} - _rightful(state, connection))
    return (
        Finding(Found.LEAK, f"reached {', '.join(strangers)} instead") if strangers else Finding(Found.DENY)
    )


def _measure(
    lab: Lab, state: ClusterState, connections: Iterable[Connection], patience: float
) -> dict[Connection, Finding]:
    asked = list(connections)
    probes = [_probe(state, connection) for connection in asked]
    observations = agent_client.probe(lab, probes, patience)
    return {
        connection: judge(state, connection, seen)
        for connection, seen in zip(asked, observations, strict=True)
    }


def _probe(state: ClusterState, connection: Connection) -> Probe:
    return Probe(connection.source, _address(state, connection), connection.protocol, connection.port)


def _address(state: ClusterState, connection: Connection) -> str:
    addresses = state.endpoint_by_id[connection.destination].addresses
    return str(next(address for address in addresses if address.version == connection.family))


def _rightful(state: ClusterState, connection: Connection) -> set[str]:
    """Who else than the meant pod bears the address and may get what the source sends there."""
    address = _address(state, connection)
    bearers = [endpoint for endpoint in state.endpoints if address in map(str, endpoint.addresses)]
    rightful = set()
    for bearer in bearers:
        asked = type(connection)(
            connection.source, bearer.id, connection.protocol, connection.port, connection.family
        )
        if bearer.id == connection.source or verdict(state, asked).allowed:
            rightful.add(bearer.id)
    return rightful
