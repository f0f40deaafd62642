"""NetworkRoutingPolicies resolved: who may initiate to whom, what conflicts, and which Networks share a policy class."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.model.cluster import NO_DOUBT, ClusterState, Condition
from lace_sdn.policy.overlap import conflicts
from lace_sdn.policy.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.objects import Network, Prefix, RoutingPolicy


class Lost(NamedTuple):
    """A (source, destination) that is not installed, because ``winner`` has ``prefix`` for this source already.

    ``policy``: one that relates them; there is a row for each.
    """

    policy: str
    source: str
    destination: str
    winner: str
    prefix: Prefix
    winner_policy: str
    """The policy that relates source and winner; "" when the winner is the source itself."""


@dataclass(frozen=True)
class PolicyClass:
    """Networks of equal reach. ``number`` is the smallest network key among its members."""

    number: int
    members: tuple[str, ...]
    reach: Mapping[str, str]
    """Destination network -> the oldest policy that relates the smallest-keyed member to it."""


@dataclass(frozen=True)
class Relations:
    """``reach``: source network -> destination network -> the policy that relates them; conflicts taken out."""

    reach: Mapping[str, Mapping[str, str]]
    lost: tuple[Lost, ...]
    conditions: tuple[Condition, ...]
    classes: tuple[PolicyClass, ...]

    def is_related(self, source: str, destination: str) -> bool:
        return source == destination or destination in self.reach.get(source, {})


def resolve(state: ClusterState) -> Relations:
    """The relations of ``state``: a pure function, in the order of no input.

    A network without a key takes its part in conflicts, and is related to nobody.
    """
    keyless = {network.name for network in state.networks if not network.key}
    clashes = conflicts(state.networks)
    wanted = _wanted(state)
    reach: dict[str, Mapping[str, str]] = {}
    lost: list[Lost] = []
    before = resolve(state.doubt.former).reach if state.doubt.former else {}
    for network in state.networks:
        accepted, refused = _accept(network.name, wanted.get(network.name, {}), clashes)
        accepted = {name: policy for name, policy in accepted.items() if name not in keyless}
        accepted = _without_doubt(state, network, accepted, before)
        if accepted and network.key:
            reach[network.name] = accepted
        lost.extend(refused)
    lost = _of_every_policy(state, lost)
    return Relations(reach, tuple(lost), tuple(_conditions(state, lost)), _classes(state, reach))


def _without_doubt(
    state: ClusterState,
    source: Network,
    accepted: dict[str, str],
    before: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    """Without what something unread may forbid, and was not there before."""
    if state.doubt == NO_DOUBT:
        return accepted
    networks, former = state.network_by_name, before.get(source.name, {})
    return {
        name: policy
        for name, policy in accepted.items()
        if name in former or not state.doubt.is_about(source, networks[name])
    }


def _wanted(state: ClusterState) -> dict[str, dict[str, str]]:
    """Source -> destination -> oldest policy, destinations in order of (policy age, policy name, network name)."""
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    selection = Selection(sorted(state.networks, key=lambda network: network.name))
    for policy in sorted(state.routing_policies, key=_age):
        sources, destinations = selection.of(policy.source), selection.of(policy.destination)
        inside = [network.name for network in destinations if not network.is_external]
        everywhere = [network.name for network in destinations]
        for source in sources:
            row = wanted[source.name]
            for name in inside if source.is_external else everywhere:
                row.setdefault(name, policy.name)
    return wanted


def _age(policy: RoutingPolicy) -> tuple[str, str]:
    return (policy.created, policy.name)


def _accept(
    source: str, wanted: Mapping[str, str], clashes: Mapping[str, Mapping[str, Prefix]]
) -> tuple[dict[str, str], list[Lost]]:
    """Destinations in their order, each unless it conflicts with the source or with one accepted before."""
    accepted: dict[str, str] = {}
    lost: list[Lost] = []
    for destination, policy in wanted.items():
        rivals = clashes.get(destination, {})
        if destination == source or not rivals:
            accepted[destination] = policy
            continue
        winner = source if source in rivals else next((name for name in accepted if name in rivals), None)
        if winner is None:
            accepted[destination] = policy
        else:
            by = "" if winner == source else accepted[winner]
            lost.append(Lost(policy, source, destination, winner, rivals[winner], by))
    return accepted, lost


def _of_every_policy(state: ClusterState, lost: Iterable[Lost]) -> list[Lost]:
    """The rows, each once for every policy that relates its pair; they come with the oldest."""
    by_pair = {(each.source, each.destination): each for each in lost}
    if not by_pair:
        return []
    losers = [network for network in state.networks if network.name in {name for _, name in by_pair}]
    found = []
    of_losers, of_all = Selection(losers), Selection(state.networks)
    for policy in state.routing_policies:
        destinations = {each.name for each in of_losers.of(policy.destination)}
        sources = {each.name for each in of_all.of(policy.source)} if destinations else set[str]()
        found += [
            each._replace(policy=policy.name)
            for (source, destination), each in (by_pair.items() if sources else ())
            if source in sources and destination in destinations
        ]
    return found


def _conditions(state: ClusterState, lost: Iterable[Lost]) -> Iterable[Condition]:
    """One condition a policy that lost anything, listing every pair."""
    by_policy: dict[str, list[Lost]] = defaultdict(list)
    for each in lost:
        by_policy[each.policy].append(each)
    for policy in state.routing_policies:
        if rows := by_policy.get(policy.name):
            yield Condition(
                "NetworkRoutingPolicy",
                policy.name,
                "Ready",
                status=False,
                reason="OverlappingPrefixes",
                message="; ".join(_describe(row) for row in rows)
                + "; these pairs are not installed, the others are",
            )


def _describe(row: Lost) -> str:
    why = f"by NetworkRoutingPolicy {row.winner_policy}" if row.winner_policy else "the source's own network"
    return (
        f"{row.source} -> {row.destination}: prefix {row.prefix} of {row.destination} overlaps {row.winner}, "
        f"which {row.source} reaches already ({why})"
    )


def _classes(state: ClusterState, reach: Mapping[str, Mapping[str, str]]) -> tuple[PolicyClass, ...]:
    members: dict[frozenset[str], list[Network]] = defaultdict(list)
    for network in state.networks:
        if network.name in reach:
            members[frozenset(reach[network.name])].append(network)
    found = []
    for group in members.values():
        group.sort(key=lambda network: network.key)
        names = tuple(sorted(network.name for network in group))
        found.append(PolicyClass(group[0].key, names, reach[group[0].name]))
    return tuple(sorted(found, key=lambda each: each.number))
