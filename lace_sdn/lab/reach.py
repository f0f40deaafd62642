"""What the lab really does: every connection that pods could start, tried with real packets and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from lace_sdn.lab import agent_client
from lace_sdn.lab.probes import Observation, Probe
from lace_sdn.policy.oracle import verdict
from lace_sdn.policy.reachability import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.policy.oracle import Connection
    from lace_sdn.policy.reachability import Expectation

SECOND_PATIENCE = 3.0
"""Seconds for packets that were missed: a machine under load is no fault of the network."""
ROUNDS = 6
"""How often a Service is tried until each of its endpoints has answered. Each round misses one of them by less than one in ten."""


class Found(StrEnum):
    ALLOW = "allow"
    """The meant pod saw the packet, nobody else did, and its answer returned; of a Service: one of its endpoints, each time."""
    DENY = "deny"
    """Nobody saw it."""
    REJECT = "reject"
    """Nobody saw it, and the source was told so at once."""
    HALF = "half"
    """The meant pod saw it, and no answer of its returned."""
    LEAK = "leak"
    """A pod saw it that was not meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``detail`` says for HALF and LEAK what was seen. ``backends``: who answered; ``is_sticky``: only one of them need."""

    found: Found
    detail: str = ""
    backends: frozenset[str] = frozenset()
    is_sticky: bool = False


def measure(
    lab: Lab, state: ClusterState, intended: Mapping[Connection, Expectation]
) -> dict[Connection, Finding]:
    """Try every connection. Where packets are missing that were intended to pass, try once more with more patience."""
    findings = _measure(lab, state, intended, agent_client.PATIENCE)
    missed = {
        connection: intended[connection]
        for connection, finding in findings.items()
        if intended[connection].outcome is not Outcome.DENY and finding.found in (Found.DENY, Found.HALF)
    }
    return findings | _measure(lab, state, missed, SECOND_PATIENCE) if missed else findings


def is_as_intended(meant: Expectation, finding: Finding) -> bool:
    """Whether what was found is what is meant; half a connection or a leak never is."""
    if finding.found.value != meant.outcome.value:
        return False
    if not meant.is_allowed or meant.backends is None:
        return True
    return finding.backends <= meant.backends if finding.is_sticky else finding.backends == meant.backends


def judge(state: ClusterState, connection: Connection, seen: Observation) -> Finding:
    """What an observation means for a connection to a pod.

    Pods of other networks may bear the address too: one that the source may reach, or the source itself, gets what is sent there.
    """
    meant = connection.destination
    if meant in seen.seen_at:
        strangers = [pod for pod in seen.seen_at if pod != meant]
        if strangers:
            return Finding(Found.LEAK, f"reached {', '.join(strangers)} too")
        if seen.answered_by == (meant,):
            return Finding(Found.ALLOW, backends=frozenset({meant}))
        return Finding(Found.HALF, _half(seen))
    strangers = sorted({*seen.seen_at, *seen.answered_by} - _rightful(state, connection))
    if strangers:
        return Finding(Found.LEAK, f"reached {', '.join(strangers)} instead")
    # To its own address a pod speaks without the network, and refuses itself.
    is_its_own = _address(state, connection) in map(str, state.endpoint_by_id[connection.source].addresses)
    return Finding(Found.REJECT if seen.refused and not seen.seen_at and not is_its_own else Found.DENY)


def judge_service(state: ClusterState, connection: Connection, seen: Sequence[Observation]) -> Finding:
    """What several attempts mean for a connection to a Service: each must end alike, at one of its endpoints."""
    service = state.service_by_id[connection.service]
    members = {
        each.pod
        for port in service.ports
        if (port.protocol, port.number) == (connection.protocol, connection.port)
        for each in port.backends
    }
    strangers = sorted({pod for each in seen for pod in (*each.seen_at, *each.answered_by)} - members)
    if strangers:
        return Finding(Found.LEAK, f"reached {', '.join(strangers)}, no endpoint of it")
    if not any(each.seen_at for each in seen):
        refused = sum(each.refused for each in seen)
        if refused in (0, len(seen)):
            return Finding(Found.REJECT if refused else Found.DENY)
        return Finding(Found.HALF, f"refused {refused} times of {len(seen)}")
    for each in seen:
        if len(each.seen_at) != 1 or each.answered_by != each.seen_at:
            return Finding(Found.HALF, _half(each))
    backends = frozenset(pod for each in seen for pod in each.answered_by)
    if service.affinity_seconds and len(backends) > 1:
        return Finding(Found.HALF, f"one client, and {', '.join(sorted(backends))} answered it")
    return Finding(Found.ALLOW, backends=backends, is_sticky=bool(service.affinity_seconds))


def _half(seen: Observation) -> str:
    if not seen.seen_at:
        return "refused" if seen.refused else "an attempt that nobody saw"
    answered = ", ".join(seen.answered_by)
    return f"reached {', '.join(seen.seen_at)}, " + (
        f"answered by {answered}" if answered else "no answer returned"
    )


def _measure(
    lab: Lab, state: ClusterState, intended: Mapping[Connection, Expectation], patience: float
) -> dict[Connection, Finding]:
    seen: dict[Connection, list[Observation]] = {connection: [] for connection in intended}
    findings: dict[Connection, Finding] = {}
    waiting = list(intended)
    for _ in range(ROUNDS):
        asked = [each for each in waiting for _ in range(_attempts(each, intended[each]))]
        observations = agent_client.probe(lab, [_probe(state, each) for each in asked], patience)
        for connection, observation in zip(asked, observations, strict=True):
            seen[connection].append(observation)
        findings |= {each: _judged(state, each, seen[each]) for each in waiting}
        waiting = [each for each in waiting if _is_incomplete(intended[each], findings[each])]
        if not waiting:
            break
    return findings


def _attempts(connection: Connection, meant: Expectation) -> int:
    """Enough to meet most of several endpoints."""
    several = len(meant.backends or ()) if connection.service and meant.is_allowed else 0
    return 3 * several if several > 1 else 1


def _is_incomplete(meant: Expectation, finding: Finding) -> bool:
    """All is well so far, but some of the endpoints have not answered yet."""
    is_part = finding.found is Found.ALLOW and finding.backends < (meant.backends or frozenset())
    return meant.is_allowed and is_part and not finding.is_sticky


def _judged(state: ClusterState, connection: Connection, seen: list[Observation]) -> Finding:
    return (
        judge_service(state, connection, seen) if connection.service else judge(state, connection, seen[-1])
    )


def _probe(state: ClusterState, connection: Connection) -> Probe:
    return Probe(connection.source, _address(state, connection), connection.protocol, connection.port)


def _address(state: ClusterState, connection: Connection) -> str:
    if connection.service:
        addresses = state.service_by_id[connection.service].vips
    else:
        addresses = state.endpoint_by_id[connection.destination].addresses
    return str(next(address for address in addresses if address.version == connection.family))


def _rightful(state: ClusterState, connection: Connection) -> set[str]:
    """Who else than the meant pod bears the address and may get what the source sends there."""
    address = _address(state, connection)
    bearers = [endpoint for endpoint in state.endpoints if address in map(str, endpoint.addresses)]
    rightful = set()
    for bearer in bearers:
        asked = replace(connection, destination=bearer.id)
        if bearer.id == connection.source or verdict(state, asked).allowed:
            rightful.add(bearer.id)
    return rightful
