"""The meaning, from the objects alone: may this connection be started?

Written from docs/policy-semantics.md, not from the compiler, and plain on purpose: the compiler is tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.policy.selection import selects

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Network, Prefix, Protocol


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection that ``source`` (``namespace/pod``) would start. ``port``: 1..65535, 0 for ICMP. ``family``: 4 or 6."""

    source: str
    destination: str
    protocol: Protocol
    port: int
    family: int = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """``policy``: the NetworkRoutingPolicy that allows it, "" if none is needed or none does."""

    allowed: bool
    reason: str
    policy: str = ""


def verdict(state: ClusterState, connection: Connection) -> Verdict:
    """Allowed inside one network, or if some policy relates the two networks in this direction and is not in conflict.

    Raises KeyError for an endpoint that is not in ``state``.
    """
    source = state.endpoint_by_id[connection.source]
    destination = state.endpoint_by_id[connection.destination]
    for endpoint in (source, destination):
        if not any(address.version == connection.family for address in endpoint.addresses):
            return Verdict(allowed=False, reason=f"{endpoint.id} has no IPv{connection.family} address")
    if source.network == destination.network:
        return Verdict(allowed=True, reason=f"both are in Network {source.network}")
    return network_verdict(state, source.network, destination.network)


def network_verdict(state: ClusterState, source_name: str, destination_name: str) -> Verdict:
    """Whether endpoints of one network may start connections to those of another one."""
    source, destination = state.network_by_name[source_name], state.network_by_name[destination_name]
    policy = _relating_policy(state, source, destination)
    if policy is None:
        return Verdict(allowed=False, reason=f"no policy relates {source_name} to {destination_name}")
    winner = _winner_over(state, source, destination)
    if winner is not None:
        return Verdict(
            allowed=False,
            reason=f"{destination_name} overlaps {winner}, which {source_name} reaches already (policy {policy[1]} lost)",
        )
    return Verdict(
        allowed=True,
        reason=f"NetworkRoutingPolicy {policy[1]} relates {source_name} to {destination_name}",
        policy=policy[1],
    )


def _relating_policy(state: ClusterState, source: Network, destination: Network) -> tuple[str, str] | None:
    """(created, name) of the oldest policy that relates the two; two external networks are never related."""
    if source.is_external and destination.is_external:
        return None
    return min(
        (
            (policy.created, policy.name)
            for policy in state.routing_policies
            if selects(policy.source, source) and selects(policy.destination, destination)
        ),
        default=None,
    )


def _winner_over(state: ClusterState, source: Network, destination: Network) -> str | None:
    """The network whose prefix keeps ``destination`` from being routed for ``source``: itself, or one with precedence."""
    if _clash(source, destination):
        return source.name
    related = [
        (_relating_policy(state, source, other), other) for other in state.networks if other is not source
    ]
    in_order = sorted(
        ((policy, other) for policy, other in related if policy is not None),
        key=lambda pair: (pair[0], pair[1].name),
    )
    routed = [source]
    for _, other in in_order:
        winner = next((held for held in routed if _clash(held, other)), None)
        if other is destination:
            return winner.name if winner else None
        if winner is None:
            routed.append(other)
    return None


def _clash(one: Network, other: Network) -> bool:
    return any(_ambiguous(one, mine, other, theirs) for mine in one.prefixes for theirs in other.prefixes)


def _ambiguous(one: Network, mine: Prefix, other: Network, theirs: Prefix) -> bool:
    """Overlap of pod networks; equality of external ones; an external prefix equal to or inside a pod prefix."""
    if mine.version != theirs.version or not mine.overlaps(theirs):
        return False
    if one.is_external == other.is_external:
        return not one.is_external or mine == theirs
    outside, pods = (mine, theirs) if one.is_external else (theirs, mine)
    return outside.prefixlen >= pods.prefixlen
