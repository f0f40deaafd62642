"""What the lab really does: every connection that pods, hosts and nodes could start, tried with real packets and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from lace_sdn.lab import agent_client, places
from lace_sdn.lab.probes import Observation, Probe
from lace_sdn.policy.ends import NODE_PREFIX, addresses_of
from lace_sdn.policy.oracle import verdict
from lace_sdn.policy.reachability import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lace_sdn.lab.names import Lab
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Service, ServicePort
    from lace_sdn.policy.oracle import Connection
    from lace_sdn.policy.reachability import Expectation

PATIENCE = 15.0
"""Seconds until what is meant to be answered is given up: a machine under load is no fault of the network."""
SILENCE = 1.0
"""Seconds in which what is meant to reach nobody would have arrived."""
ONE_PORT = 20001
"""The source port of the first place in ``measure_from_one_port``; each has another, for addresses may be had by several."""
ROUNDS = 6
"""How often a Service is tried until each of its endpoints has answered. Each round misses one of them by less than one in ten."""


class Found(StrEnum):
    ALLOW = "allow"
    """The meant place saw the packet, nobody else did, and its answer returned; of a Service: one of its endpoints, each time."""
    DENY = "deny"
    """Nobody saw it."""
    REJECT = "reject"
    """Nobody saw it, and the source was told so at once."""
    HALF = "half"
    """The meant place saw it, and no answer of its returned."""
    LEAK = "leak"
    """A place saw it that was not meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``detail`` says for HALF and LEAK what was seen. ``backends``: who answered; ``is_sticky``: not all of them need."""

    found: Found
    detail: str = ""
    backends: frozenset[str] = frozenset()
    is_sticky: bool = False


def measure(
    lab: Lab, state: ClusterState, intended: Mapping[Connection, Expectation]
) -> dict[Connection, Finding]:
    """Try every connection, a Service until each of its endpoints has answered."""
    seen: dict[Connection, list[Observation]] = {connection: [] for connection in intended}
    findings: dict[Connection, Finding] = {}
    waiting = list(intended)
    for _ in range(ROUNDS):
        asked = [each for each in waiting for _ in range(_attempts(intended[each]))]
        probes = [_probe(state, each, intended[each]) for each in asked]
        for connection, observation in zip(asked, agent_client.probe(lab, probes), strict=True):
            seen[connection].append(observation)
        findings |= {each: _judged(state, each, seen[each]) for each in waiting}
        waiting = [each for each in waiting if _is_incomplete(intended[each], findings[each])]
        if not waiting:
            break
    return findings


def measure_from_one_port(
    lab: Lab, state: ClusterState, intended: Mapping[Connection, Expectation]
) -> dict[Connection, Finding]:
    """Try every connection once, all at the same time, and all of a place from one source port (an echo: with one identifier).

    Each that was made is asked again when all have been: HALF if it has fallen silent, or if its packets go elsewhere now.
    Of a Service one endpoint answers.
    """
    ports = {
        name: ONE_PORT + rank for rank, name in enumerate(dict.fromkeys(each.source for each in intended))
    }
    asked: dict[
        Probe, Probe
    ] = {}  # an address that several have is called once, as patiently as any of them needs
    key = {}
    for connection, meant in intended.items():
        probe = replace(_probe(state, connection, meant), source_port=ports[connection.source])
        key[connection] = replace(probe, patience=0.0)
        asked[key[connection]] = max(asked.get(key[connection], probe), probe, key=lambda each: each.patience)
    seen = dict(zip(asked, agent_client.probe(lab, list(asked.values())), strict=True))
    return {each: replace(_judged(state, each, [seen[key[each]]]), is_sticky=True) for each in intended}


def is_as_intended(meant: Expectation, finding: Finding) -> bool:
    """Whether what was found is what is meant; half a connection or a leak never is."""
    if finding.found.value != meant.outcome.value:
        return False
    if not meant.is_allowed or meant.backends is None:
        return True
    return finding.backends <= meant.backends if finding.is_sticky else finding.backends == meant.backends


def judge(state: ClusterState, connection: Connection, seen: Observation) -> Finding:
    """What an observation means for a connection to a pod, a host or a node's own process.

    Others may bear the address too: one that the source may reach, or the source itself, gets what is sent there.
    """
    meant = connection.destination
    if meant in (*seen.seen_at, *seen.answered_by):
        strangers = [place for place in seen.seen_at if place != meant]
        if strangers:
            return Finding(Found.LEAK, f"reached {', '.join(strangers)} too")
        if seen.seen_at == seen.answered_by == (meant,) and not seen.lost:
            return Finding(Found.ALLOW, backends=frozenset({meant}))
        return Finding(Found.HALF, _half(seen))
    strangers = sorted({*seen.seen_at, *seen.answered_by} - _rightful(state, connection))
    if strangers:
        return Finding(Found.LEAK, f"reached {', '.join(strangers)} instead")
    is_refused = seen.refused and not seen.seen_at and not _is_its_own(state, connection)
    return Finding(Found.REJECT if is_refused else Found.DENY)


def judge_service(state: ClusterState, connection: Connection, seen: Sequence[Observation]) -> Finding:
    """What several attempts mean for a connection to a Service, by its VIP or a NodePort: each must end alike, at an endpoint."""
    service, port = _called(state, connection) or (state.service_by_id[connection.service], None)
    members = set(places.names_of(state, service, port.backends)) if port else set()
    others = set[str]() if connection.service else _rightful(state, connection) - members
    reached = {place for each in seen for place in (*each.seen_at, *each.answered_by)}
    strangers = sorted(reached - members - others)
    if strangers:
        return Finding(Found.LEAK, f"reached {', '.join(strangers)}, no endpoint of it")
    # A node's own address at a NodePort leads into its bridge; at a pod's own address a node's port is not called.
    is_its_own = _is_its_own(state, connection) and connection.source != connection.destination
    if reached <= others and (reached or is_its_own):
        return Finding(Found.DENY)
    if not any(each.seen_at for each in seen):
        return _unseen(seen)
    for each in seen:
        if len(each.seen_at) != 1 or each.answered_by != each.seen_at or each.lost:
            return Finding(Found.HALF, _half(each))
    backends = frozenset(place for each in seen for place in each.answered_by)
    if service.affinity_seconds and len(backends) > 1:
        return Finding(Found.HALF, f"one client, and {', '.join(sorted(backends))} answered it")
    return Finding(Found.ALLOW, backends=backends, is_sticky=bool(service.affinity_seconds))


def _unseen(seen: Sequence[Observation]) -> Finding:
    refused = sum(each.refused for each in seen)
    if refused in (0, len(seen)):
        return Finding(Found.REJECT if refused else Found.DENY)
    return Finding(Found.HALF, f"refused {refused} times of {len(seen)}")


def _half(seen: Observation) -> str:
    if not seen.seen_at:
        return "refused" if seen.refused else "an attempt that nobody saw"
    if seen.lost:
        return f"reached {', '.join(seen.seen_at)}, silent when others from its source port were made"
    answered = ", ".join(seen.answered_by)
    return f"reached {', '.join(seen.seen_at)}, " + (
        f"answered by {answered}" if answered else "no answer returned"
    )


def _attempts(meant: Expectation) -> int:
    """Enough to meet most of several endpoints."""
    several = len(meant.backends or ()) if meant.is_allowed else 0
    return 3 * several if several > 1 else 1


def _is_incomplete(meant: Expectation, finding: Finding) -> bool:
    """All is well so far, but some of the endpoints have not answered yet."""
    is_part = finding.found is Found.ALLOW and finding.backends < (meant.backends or frozenset())
    return meant.is_allowed and is_part and not finding.is_sticky


def _judged(state: ClusterState, connection: Connection, seen: list[Observation]) -> Finding:
    if connection.service or _called(state, connection):
        return judge_service(state, connection, seen)
    return judge(state, connection, seen[-1])


def _called(state: ClusterState, connection: Connection) -> tuple[Service, ServicePort] | None:
    """The port of a Service that is called, by a VIP or by a NodePort; None where there is none."""
    asked = (connection.protocol, connection.port)
    if connection.service:
        service = state.service_by_id[connection.service]
        return next(
            ((service, port) for port in service.ports if (port.protocol, port.number) == asked), None
        )
    if not connection.destination.startswith(NODE_PREFIX) or not connection.port:
        return None
    ports = ((service, port) for service in state.services for port in service.ports)
    return next((each for each in ports if (each[1].protocol, each[1].node_port) == asked), None)


def _probe(state: ClusterState, connection: Connection, meant: Expectation) -> Probe:
    address = str(_address(state, connection))
    patience = SILENCE if meant.outcome is Outcome.DENY else PATIENCE
    return Probe(connection.source, address, connection.protocol, connection.port, patience)


def _address(state: ClusterState, connection: Connection) -> Address:
    addresses = addresses_of(state, connection.destination)
    return next(address for address in addresses if address.version == connection.family)


def _is_its_own(state: ClusterState, connection: Connection) -> bool:
    """To its own address a place speaks without the network, and refuses itself."""
    return _address(state, connection) in addresses_of(state, connection.source)


def _rightful(state: ClusterState, connection: Connection) -> set[str]:
    """Who else than the meant one bears the address and may get what the source sends there."""
    return {
        bearer
        for bearer in places.bearers(state, _address(state, connection))
        if bearer != connection.destination
        and (bearer == connection.source or verdict(state, replace(connection, destination=bearer)).allowed)
    }
