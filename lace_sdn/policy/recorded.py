"""What may be in force while new numbers cannot be recorded: everything that needs none, and nothing that they might open. Pure.

A number (a network's key, a node's block, a pod's address) is used only when it is on disk: after a restart it might be given to another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lace_sdn.policy.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.model.objects import Network
    from lace_sdn.policy.allocation import Allocated
    from lace_sdn.policy.ledger import Lease, Ledger


def is_recorded(after: Ledger, known: Ledger) -> bool:
    """Whether ``after`` holds no number that ``known`` does not hold: then only numbers were given back."""
    pairs: tuple[tuple[Iterable[object], Iterable[object]], ...] = (
        (after.keys, known.keys),
        (after.blocks, known.blocks),
        (after.leases, known.leases),
    )
    return all(set(now) <= set(before) for now, before in pairs)


def with_recorded_keys(networks: Iterable[Network], keys: Mapping[str, int]) -> tuple[Network, ...]:
    """Networks with other keys than these have none (0): their addresses are nobody's, and nothing is related to them."""
    return tuple(each if keys.get(each.name) == each.key else replace(each, key=0) for each in networks)


def only_recorded(allocated: Allocated, known: Ledger) -> Allocated:
    """Without the endpoints and blocks that ``known`` does not hold; their pods are refused."""
    leases, recorded = allocated.ledger.lease_by_pod, known.lease_by_pod
    waiting = {
        each.id for each in allocated.endpoints if not _is_same(leases[each.id], recorded.get(each.id))
    }
    blocks = set(known.blocks)
    return replace(
        allocated,
        endpoints=tuple(each for each in allocated.endpoints if each.id not in waiting),
        blocks=tuple(each for each in allocated.blocks if each in blocks),
        refusals=allocated.refusals
        + tuple(not_recorded("Pod", each, "its address") for each in sorted(waiting)),
    )


def not_recorded(kind: str, name: str, what: str) -> Refusal:
    """``what``: the number that is not on disk."""
    found = f"{what} cannot be recorded now, for the state file cannot be read and written"
    return Refusal(kind, name, Reason.NOT_RECORDED, found, "expected it there before it is used")


def _is_same(lease: Lease, recorded: Lease | None) -> bool:
    """A lease without a uid is that of any pod of its name (``current_lease``)."""
    if recorded is None:
        return False
    return lease == (recorded if recorded.uid else replace(recorded, uid=lease.uid))
