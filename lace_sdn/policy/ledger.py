"""The ledger: the allocations made so far. With it nothing is renumbered because something else came or went."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NoReturn

from lace_sdn.model.objects import Address, Allocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT = 1
"""The version of the JSON form."""


class LedgerError(ValueError):
    """A text is no ledger."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What a pod was given. ``pod`` is its id; ``uid`` as in the manifest, "" when it had none."""

    pod: str
    node: str
    network: str
    addresses: tuple[Address, ...]
    uid: str = ""


@dataclass(frozen=True)
class Ledger:
    """``keys`` in order of name, ``blocks`` of (network, node, block), ``leases`` of pod."""

    keys: tuple[tuple[str, int], ...] = ()
    blocks: tuple[Allocation, ...] = ()
    leases: tuple[Lease, ...] = ()

    @cached_property
    def key_by_network(self) -> Mapping[str, int]:
        return dict(self.keys)

    @cached_property
    def lease_by_pod(self) -> Mapping[str, Lease]:
        return {lease.pod: lease for lease in self.leases}

    def without_pods(self, pods: Iterable[str]) -> Ledger:
        """The ledger after these pods were deleted: their next namesakes are bound and addressed anew."""
        gone = frozenset(pods)
        return Ledger(self.keys, self.blocks, tuple(lease for lease in self.leases if lease.pod not in gone))

    def to_json(self) -> str:
        """Text of one line an entry, in a fixed order."""
        parts: dict[str, list[dict[str, Any]]] = {
            "networkKeys": [{"network": name, "key": key} for name, key in self.keys],
            "blocks": [
                {"network": each.network, "node": each.node, "block": str(each.block)} for each in self.blocks
            ],
            "leases": [_lease_json(lease) for lease in self.leases],
        }
        sections = [
            f'"{name}": [' + ",".join(f"\n  {json.dumps(entry)}" for entry in entries) + "\n]"
            for name, entries in parts.items()
        ]
        return "{" + ",\n".join([f'"format": {FORMAT}', *sections]) + "}\n"

    @staticmethod
    def from_json(text: str) -> Ledger:
        """The ledger of ``to_json``.

        Raises:
            LedgerError: the text is not such a ledger; says what was found.
        """
        try:
            data = json.loads(text)
            found = data["format"]
            return _parsed(data) if found == FORMAT else _refuse_format(found)
        except LedgerError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"the text is no ledger: {error!r}") from None


def _refuse_format(found: object) -> NoReturn:
    raise LedgerError(f"the ledger has format {found!r}, expected {FORMAT}")


def _parsed(data: Mapping[str, Any]) -> Ledger:
    return ledger(
        {str(entry["network"]): int(entry["key"]) for entry in data["networkKeys"]},
        [
            Allocation(str(entry["network"]), str(entry["node"]), ip_network(entry["block"]))
            for entry in data["blocks"]
        ],
        [_lease(entry) for entry in data["leases"]],
    )


def ledger(keys: Mapping[str, int], blocks: Iterable[Allocation], leases: Iterable[Lease]) -> Ledger:
    """A ledger in its order, whatever the order of the parts."""
    return Ledger(
        tuple(sorted(keys.items())),
        tuple(sorted(set(blocks), key=_block_order)),
        tuple(sorted(leases, key=lambda lease: lease.pod)),
    )


def _block_order(entry: Allocation) -> tuple[str, str, int, int]:
    return (entry.network, entry.node, entry.block.version, int(entry.block.network_address))


def _lease_json(lease: Lease) -> dict[str, Any]:
    entry: dict[str, Any] = {"pod": lease.pod, "node": lease.node, "network": lease.network}
    entry["addresses"] = [str(address) for address in lease.addresses]
    return {**entry, "uid": lease.uid} if lease.uid else entry


def _lease(entry: Mapping[str, Any]) -> Lease:
    addresses = tuple(ip_address(text) for text in entry["addresses"])
    return Lease(
        str(entry["pod"]), str(entry["node"]), str(entry["network"]), addresses, str(entry.get("uid", ""))
    )
