"""NetworkBindingPolicies: which Network a pod (or service) belongs to. Said once, for a start; a running pod stays."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.model.labels import Operator
from lace_sdn.model.objects import DEFAULT_NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.labels import Labels
    from lace_sdn.model.objects import BindingPolicy


class Binder:
    """Answers for many objects; what differs only in labels that no policy asks for is looked up once."""

    def __init__(
        self, policies: Iterable[BindingPolicy], namespaces: Mapping[str, Labels], networks: Iterable[str]
    ) -> None:
        """``namespaces``: name -> labels; ``networks``: the names of those that exist."""
        self._policies = sorted(policies, key=lambda policy: (-policy.priority, policy.created, policy.name))
        self._by_label, self._others = _by_label(self._policies)
        self._namespaces = namespaces
        self._unbound = DEFAULT_NETWORK if DEFAULT_NETWORK in set(networks) else None
        self._inside: dict[str, _Inside] = {}
        self._known: dict[tuple[str, Labels], str | None] = {}

    def network_of(self, namespace: str, labels: Labels) -> str | None:
        """The network's name, which need not exist when a policy names it; None: bound to none, so refused."""
        inside = self._inside.get(namespace)
        if inside is None:
            inside = self._inside[namespace] = self._of_namespace(namespace)
        key = (namespace, tuple(each for each in labels if each[0] in inside.keys))
        if key not in self._known:
            self._known[key] = next(
                (policy.network for policy in inside.policies if policy.objects.matches(labels)),
                self._unbound,
            )
        return self._known[key]

    def _of_namespace(self, namespace: str) -> _Inside:
        around = self._namespaces.get(namespace, ())
        candidates = {*self._others, *(each for label in around for each in self._by_label.get(label, ()))}
        ordered = (self._policies[number] for number in sorted(candidates))
        policies = tuple(policy for policy in ordered if policy.namespaces.matches(around))
        asked = {term.key for policy in policies for term in policy.objects.requirements}
        return _Inside(policies, frozenset(asked))


def _by_label(policies: Iterable[BindingPolicy]) -> tuple[dict[tuple[str, str], list[int]], list[int]]:
    """Their numbers, by a label that a namespace must have for each; and of those that ask for no value."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    others = []
    for number, policy in enumerate(policies):
        term = next((each for each in policy.namespaces.requirements if each.operator is Operator.IN), None)
        if term is None:
            others.append(number)
            continue
        for value in set(term.values):
            found[term.key, value].append(number)
    return dict(found), others


class _Inside(NamedTuple):
    """The policies that bind in a namespace, in order, and the keys of labels that they ask for."""

    policies: tuple[BindingPolicy, ...]
    keys: frozenset[str]
