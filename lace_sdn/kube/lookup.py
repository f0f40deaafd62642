"""What many Services ask of one cluster, answered without going through all of it: by prefix, by label."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.model.objects import Address, Pod, Prefix

T = TypeVar("T")


class PrefixTable(Generic[T]):
    """What belongs to the prefix that an address lies in, by one look-up a length of prefixes."""

    def __init__(self, entries: Iterable[tuple[Prefix, T]]) -> None:
        """Of equal prefixes the first counts."""
        self._by_length: dict[tuple[int, int], dict[int, T]] = defaultdict(dict)
        for prefix, value in entries:
            shift = prefix.max_prefixlen - prefix.prefixlen
            self._by_length[prefix.version, shift].setdefault(int(prefix.network_address) >> shift, value)

    def find(self, address: Address) -> T | None:
        """Of one of the prefixes that it lies in; None if in none."""
        for (version, shift), values in self._by_length.items():
            if version == address.version and int(address) >> shift in values:
                return values[int(address) >> shift]
        return None

    def find_all(self, address: Address) -> Iterator[T]:
        """Of every prefix that it lies in."""
        for (version, shift), values in self._by_length.items():
            if version == address.version and int(address) >> shift in values:
                yield values[int(address) >> shift]


class LabelTable:
    """Pods by the terms of selectors."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._by_term: dict[tuple[str, str, str], list[Pod]] = defaultdict(list)
        for pod in pods:
            for key, value in pod.labels:
                self._by_term[pod.namespace, key, value].append(pod)

    def selected(self, namespace: str, selector: Mapping[str, str]) -> list[Pod]:
        """Those with all labels of ``selector``, in their order; an empty one selects none (Kubernetes: Service)."""
        candidates = [self._by_term.get((namespace, *term), []) for term in selector.items()]
        fewest = min(candidates, key=len, default=[])
        return [pod for pod in fewest if selector.items() <= dict(pod.labels).items()]
