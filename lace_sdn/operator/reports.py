"""What every object is to say of itself: put together from the conditions of ``observe()`` and ``resolve()``, and from what allocation lacks.

Pure. Nothing is judged a second time here: an object says Ready when nothing was said against it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lace_sdn.kube.endpoint_report import some, some_of
from lace_sdn.model.objects import NetworkType
from lace_sdn.operator.conditions import Said, Wanted
from lace_sdn.policy.refusal import Reason
from lace_sdn.policy.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.kube.problems import Problem
    from lace_sdn.model.cluster import ClusterState, Condition
    from lace_sdn.model.objects import BindingPolicy, RoutingPolicy, ServicePolicy
    from lace_sdn.operator.block_plan import Shortage
    from lace_sdn.operator.facts import NetworkFact
    from lace_sdn.operator.programmed import Progress
    from lace_sdn.policy.relations import Lost, Relations

Identity = tuple[str, str]
"""Kind, and name or namespace/name."""

READY: Final = "Ready"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A network that is being deleted: what still carries it. ``pods`` and ``blocks`` by name."""

    pods: tuple[str, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What the operator knows beside the state. ``progress``: of policies, by kind and name."""

    networks: Mapping[str, NetworkFact] = field(default_factory=dict)
    keyless: frozenset[str] = frozenset()
    shortages: Mapping[str, Shortage] = field(default_factory=dict)
    leaving: Mapping[str, Leaving] = field(default_factory=dict)
    progress: Mapping[Identity, Progress] = field(default_factory=dict)
    generations: Mapping[Identity, int] = field(default_factory=dict)


class Against:
    """What was said against each object, by the type of condition."""

    def __init__(self, conditions: Iterable[Condition], problems: Iterable[Problem]) -> None:
        self._said: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
        for each in conditions:
            if not each.status:
                self._said[each.kind, each.name, each.type].append((each.reason, each.message))
        for problem in problems:
            kind, _, name = problem.subject.partition(" ")
            words = " ".join(filter(None, (problem.field, problem.found)))
            message = "; ".join(filter(None, (words, problem.expected, problem.consequence)))
            self._said[kind, name.strip('"'), READY].append(("Refused", message))

    def ready(self, kind: str, name: str) -> Said | None:
        """All of it as one condition; None if there is nothing."""
        found = list(dict.fromkeys(self._said.get((kind, name, READY), ())))
        if not found:
            return None
        return Said(READY, False, found[0][0], "; ".join(message for _, message in found))

    def names(self, kind: str) -> set[str]:
        return {name for of, name, _ in self._said if of == kind}


def reports(
    state: ClusterState, relations: Relations, against: Against, seen: Seen
) -> dict[Identity, Wanted]:
    """What each Network and policy is to say; Allocations only if something is wrong with them."""
    found: dict[Identity, Wanted] = {}
    lost = _lost_by_network(relations)
    for name, network in seen.networks.items():
        wanted = _network(network, lost.get(name, []), against, seen)
        if wanted:
            found["Network", name] = wanted
    selection = Selection(state.networks)
    for kind, policies in (
        ("NetworkRoutingPolicy", state.routing_policies),
        ("ServiceRoutingPolicy", state.service_policies),
    ):
        for policy in policies:
            found[kind, policy.name] = _policy(kind, policy, selection, against, seen)
    for binding in state.binding_policies:
        found["NetworkBindingPolicy", binding.name] = _binding(binding, against, seen)
    for name in against.names("Allocation"):
        said = against.ready("Allocation", name)
        if said:
            found["Allocation", name] = Wanted((said,))
    return found


def _lost_by_network(relations: Relations) -> dict[str, list[Lost]]:
    found: dict[str, list[Lost]] = defaultdict(list)
    for each in relations.lost:
        found[each.destination].append(each)
    return found


def _network(network: NetworkFact, lost: list[Lost], against: Against, seen: Seen) -> Wanted | None:
    """None while its key is on the way: what is so for milliseconds is not written."""
    said = _network_ready(network, against, seen)
    if said is None:
        return None
    if network.type is NetworkType.EXTERNAL:
        return Wanted((said, _conflict(lost)))
    return Wanted((said, _conflict(lost), _exhausted(network, seen.shortages.get(network.name))))


def _network_ready(network: NetworkFact, against: Against, seen: Seen) -> Said | None:
    if network.is_deleted:
        return Said(
            READY, False, "Terminating", _terminating(seen.leaving.get(network.name, Leaving((), ())))
        )
    if network.type is NetworkType.L2:
        message = "type l2 is not supported by this version; expected l3 or external; its pods are refused"
        return Said(READY, False, "NotSupported", message)
    if network.name in seen.keyless:
        message = "no network key is left; expected fewer Networks; its pods are refused until a key is free"
        return Said(READY, False, "KeysExhausted", message)
    if not network.key:
        return None
    bad = against.ready("Network", network.name)
    return bad or Said(READY, True, "Allocated", f"has the network key {network.key}")


def _terminating(leaving: Leaving) -> str:
    if leaving.pods:
        one = len(leaving.pods) == 1
        are = "1 pod is" if one else f"{len(leaving.pods)} pods are"
        return f"{are} in it: {some_of(leaving.pods)}; expected none; the Network is removed when {'it is' if one else 'they are'} gone"
    if leaving.blocks:
        return f"Allocations have blocks of it: {some_of(leaving.blocks)}; expected none; the Network is removed when they are"
    return "nothing carries it any more; it is being removed"


def _conflict(lost: list[Lost]) -> Said:
    if not lost:
        return Said("Conflict", False, "NoOverlap", "no policy leads to it where its prefixes overlap others")
    rows = (
        f"{each.source} -> {each.destination}: prefix {each.prefix} overlaps that of {each.winner}, "
        + (
            f"which NetworkRoutingPolicy {each.winner_policy} relates to"
            if each.winner_policy
            else "the source itself"
        )
        for each in lost
    )
    message = f"{some(rows)}; these pairs are not installed"
    return Said("Conflict", True, "OverlappingPrefixes", message)


def _exhausted(network: NetworkFact, shortage: Shortage | None) -> Said:
    if shortage is None:
        return Said("BlockExhausted", False, "BlocksLeft", "every node with pods of it has a block")
    one = len(shortage.nodes) == 1
    nodes = (
        "1 node with pods of it has none" if one else f"{len(shortage.nodes)} nodes with pods of it have none"
    )
    cut = ", ".join(f"{each.prefix} cut into /{each.host_local_length}" for each in network.cut.subnets)
    message = (
        f"no block is left of {shortage.size} ({cut}), {nodes}: {some_of(shortage.nodes)}; "
        "expected a larger prefix or smaller blocks (hostLocalPrefixLength); pods there wait"
    )
    return Said("BlockExhausted", True, "BlockExhausted", message)


def _policy(
    kind: str, policy: RoutingPolicy | ServicePolicy, selection: Selection, against: Against, seen: Seen
) -> Wanted:
    sources, destinations = len(selection.of(policy.source)), len(selection.of(policy.destination))
    ready = against.ready(kind, policy.name)
    if ready is None and not (sources and destinations):
        field_name = "destSelector" if sources else "srcSelector"
        message = f"spec.{field_name} selects no Network; expected one at least; it relates nothing until there is one"
        ready = Said(READY, False, "MatchesNothing", message)
    ready = ready or Said(READY, True, "Resolved", "what it selects is related as it says")
    fields = {"sourceNetworks": sources, "destinationNetworks": destinations}
    progress = seen.progress.get((kind, policy.name))
    if progress is None:
        return Wanted((ready,), fields)
    generation = seen.generations.get((kind, policy.name), 0)
    nodes = {"programmed": progress.programmed, "total": progress.total}
    return Wanted((ready, _programmed(progress, generation)), {**fields, "nodes": nodes})


def _programmed(progress: Progress, generation: int) -> Said:
    text = f"programmed on {progress.programmed} of {progress.total} nodes for generation {generation}"
    if progress.waiting:
        return Said("Programmed", False, "Waiting", f"{text}; waiting for {some_of(progress.waiting)}")
    if not progress.total:
        return Said("Programmed", False, "NoNodes", f"{text}; there is no Node")
    if progress.milliseconds:
        text += f", in at most {progress.milliseconds} ms"
    return Said("Programmed", True, "Programmed", text)


def _binding(binding: BindingPolicy, against: Against, seen: Seen) -> Wanted:
    ready = against.ready("NetworkBindingPolicy", binding.name)
    network = seen.networks.get(binding.network)
    if network is not None and network.is_deleted:
        message = f'Network "{binding.network}" is being deleted; expected another one; pods that it binds are refused'
        ready = Said(READY, False, Reason.NETWORK_TERMINATING, message)
    return Wanted((ready or Said(READY, True, "Resolved", f'binds to Network "{binding.network}"'),))
