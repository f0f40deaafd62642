"""NetworkBindingPolicies: which Network a pod (or service) belongs to. Said once, for a start; a running pod stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.model.objects import DEFAULT_NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.labels import Labels
    from lace_sdn.model.objects import BindingPolicy


class Binder:
    """Answers for many objects; equal labels are looked up once."""

    def __init__(
        self, policies: Iterable[BindingPolicy], namespaces: Mapping[str, Labels], networks: Iterable[str]
    ) -> None:
        """``namespaces``: name -> labels; ``networks``: the names of those that exist."""
        self._policies = sorted(policies, key=lambda policy: (-policy.priority, policy.created, policy.name))
        self._namespaces = namespaces
        self._unbound = DEFAULT_NETWORK if DEFAULT_NETWORK in set(networks) else None
        self._known: dict[tuple[str, Labels], str | None] = {}
        self._by_namespace: dict[str, list[BindingPolicy]] = {}

    def network_of(self, namespace: str, labels: Labels) -> str | None:
        """The network's name, which need not exist when a policy names it; None: bound to none, so refused."""
        key = (namespace, labels)
        if key not in self._known:
            self._known[key] = self._look_up(namespace, labels)
        return self._known[key]

    def _look_up(self, namespace: str, labels: Labels) -> str | None:
        for policy in self._of_namespace(namespace):
            if policy.objects.matches(labels):
                return policy.network
        return self._unbound

    def _of_namespace(self, namespace: str) -> list[BindingPolicy]:
        """Those that its labels match, in their order."""
        if namespace not in self._by_namespace:
            around = self._namespaces.get(namespace, ())
            self._by_namespace[namespace] = [
                each for each in self._policies if each.namespaces.matches(around)
            ]
        return self._by_namespace[namespace]
