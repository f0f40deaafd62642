"""Which endpoints of a Service a node's clients are spread over, as kube-proxy chooses them.

Sources: Kubernetes, "Virtual IPs and Service Proxies" (traffic policies, terminating endpoints, traffic distribution) and
"Topology Aware Routing".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lace_sdn.model.objects import Backend, Node, ServicePort

    Backends = tuple[Backend, ...]


class WhenNone(Enum):
    """What happens to a client's packet when no endpoint is chosen."""

    REJECT = "reject"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Choice:
    """``chosen``: new connections are spread over them; ``serving``: those that existing ones may still be with."""

    chosen: Backends
    serving: Backends
    when_none: WhenNone = WhenNone.REJECT


def choose(port: ServicePort, family: int, node: Node, *, is_local: bool) -> Choice:
    """For clients whose packets come to ``node``'s bridge first, over IPv``family``. ``is_local``: by its own endpoints alone."""
    listed = tuple(each for each in port.backends if each.address.version == family)
    serving = tuple(each for each in listed if each.ready or each.serving)
    if is_local:
        local = _best(each for each in listed if each.node == node.name)
        when_none = WhenNone.DROP if _best(listed) else WhenNone.REJECT
        return Choice(local, serving, when_none)
    ready = tuple(each for each in listed if each.ready)
    return Choice(_nearest(ready, node) if ready else _best(listed), serving)


def _best(backends: Iterable[Backend]) -> Backends:
    """Ready ones, and only if there is none those that end and still serve."""
    found = tuple(backends)
    ready = tuple(each for each in found if each.ready)
    return ready or tuple(each for each in found if each.serving and each.terminating)


def _nearest(ready: Backends, node: Node) -> Backends:
    """Hints for nodes, then for zones; each only if all have them and one is for here."""
    for_here: tuple[Callable[[Backend], bool], ...] = (
        lambda each: node.name in each.for_nodes,
        lambda each: bool(node.zone) and node.zone in each.for_zones,
    )
    are_given = (all(each.for_nodes for each in ready), all(each.for_zones for each in ready))
    for is_given, is_here in zip(are_given, for_here, strict=True):
        near = tuple(each for each in ready if is_here(each)) if is_given else ()
        if near:
            return near
    return ready
