"""The oracle's part about networks: which one an underlay address is in, and which may start connections to which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.policy.connection import Verdict
from lace_sdn.policy.external import NOBODY
from lace_sdn.policy.selection import selects

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.model.objects import Address, Network, Prefix


def external_network(state: ClusterState, address: Address) -> str:
    """The external network that an underlay address belongs to: longest prefix, then the older; "" for none."""
    nobody = [(prefix.prefixlen, "") for prefix in NOBODY if address in prefix]
    theirs = [
        (prefix.prefixlen, network.name)
        for network in sorted(state.networks, key=lambda each: (each.created, each.name), reverse=True)
        for prefix in network.external_prefixes
        if address in prefix
    ]
    # The last of the longest counts: the oldest, or nobody.
    longest = max((length for length, _ in theirs + nobody), default=0)
    return next((name for length, name in reversed(theirs + nobody) if length == longest), "")


def network_verdict(state: ClusterState, source_name: str, destination_name: str) -> Verdict:
    """Whether endpoints of one network may start connections to those of another one."""
    source, destination = state.network_by_name[source_name], state.network_by_name[destination_name]
    for network in (source, destination):
        if not network.key:
            return Verdict(allowed=False, reason=f"{network.name} has no key")
    policy = _relating_policy(state, source, destination)
    if policy is None:
        return Verdict(allowed=False, reason=f"no policy relates {source_name} to {destination_name}")
    if state.doubt.is_about(source, destination) and not _was_related(state, source_name, destination_name):
        return Verdict(allowed=False, reason=f"policy {policy[1]} waits until everything can be read")
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


def _was_related(state: ClusterState, source: str, destination: str) -> bool:
    """Before there was a doubt."""
    former = state.doubt.former
    if former is None or not {source, destination} <= former.network_by_name.keys():
        return False
    return network_verdict(former, source, destination).allowed


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
    if _clash(state, source, destination):
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
        winner = next((held for held in routed if _clash(state, held, other)), None)
        if other is destination:
            return winner.name if winner else None
        if winner is None:
            routed.append(other)
    return None


def _clash(state: ClusterState, one: Network, other: Network) -> bool:
    return any(
        _ambiguous(one, mine, other, theirs) for mine in _kept(state, one) for theirs in _kept(state, other)
    )


def _kept(state: ClusterState, network: Network) -> list[Prefix]:
    """Its prefixes, without those that an older external network has too."""
    older = {
        prefix
        for each in state.networks
        if (each.created, each.name) < (network.created, network.name)
        for prefix in each.external_prefixes
    }
    return [each for each in network.prefixes if not network.is_external or each not in older]


def _ambiguous(one: Network, mine: Prefix, other: Network, theirs: Prefix) -> bool:
    """Overlap of pod networks; an external prefix equal to or inside a pod prefix."""
    if mine.version != theirs.version or not mine.overlaps(theirs) or (one.is_external and other.is_external):
        return False
    if not one.is_external and not other.is_external:
        return True
    outside, pods = (mine, theirs) if one.is_external else (theirs, mine)
    return outside.prefixlen >= pods.prefixlen
