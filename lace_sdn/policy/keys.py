"""Network keys: 1..16,777,215, unique in the cluster, never renumbered, not reused while anything carries them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from lace_sdn.model.objects import MAX_NETWORK_KEY
from lace_sdn.policy.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lace_sdn.model.objects import Network


def assign_keys(
    networks: Sequence[Network], known: Mapping[str, int], carried: Iterable[str]
) -> tuple[dict[str, int], tuple[Refusal, ...]]:
    """Name -> key of each network, and those refused because another has the key that they ask for.

    Args:
        networks: with the key that each asks for (``status.networkKey``), or 0.
        known: the keys given so far.
        carried: names of networks whose keys something still carries, whether they exist or not.

    Of two that ask for one key the holder keeps it, then the older (then the first by name). The rest get the
    smallest free keys in order of name. The keys of ``carried`` networks that do not exist are in the answer too.
    """
    names = {network.name for network in networks}
    owners = {known[name]: name for name in sorted(set(carried) - names) if name in known}
    for network in sorted(networks, key=_age):
        if network.name in known and network.key in (0, known[network.name]):
            owners.setdefault(known[network.name], network.name)
    refusals = [
        refusal
        for network in sorted(networks, key=_age)
        if network.key and (refusal := _claim(network, owners, known)) is not None
    ]
    _fill(networks, owners, {refusal.name for refusal in refusals})
    return {name: key for key, name in owners.items()}, tuple(refusals)


def _age(network: Network) -> tuple[str, str]:
    return (network.created, network.name)


def _claim(network: Network, owners: dict[int, str], known: Mapping[str, int]) -> Refusal | None:
    """Give the key that is asked for; one that is taken leaves the network with the key it had, if it had one."""
    owner = owners.setdefault(network.key, network.name)
    if owner == network.name:
        return None
    kept = known.get(network.name)
    if kept:
        owners.setdefault(kept, network.name)
    return Refusal(
        "Network",
        network.name,
        Reason.KEY_IN_USE,
        f'{network.key} is the key of Network "{owner}"',
        "expected a key of its own, or none to get the next free one",
    )


def _fill(networks: Sequence[Network], owners: dict[int, str], refused: set[str]) -> None:
    keyed = set(owners.values()) | refused
    free = (key for key in count(1) if key not in owners)
    for name in sorted(network.name for network in networks if network.name not in keyed):
        key = next(free)
        if key <= MAX_NETWORK_KEY:
            owners[key] = name
