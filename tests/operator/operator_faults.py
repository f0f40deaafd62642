"""Faults of an operator, as changes to it: each is a mistake that somebody could make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api.client import ApiError
from lace_sdn.kube.api.resources import ALLOCATIONS, NETWORK_ENDPOINTS, NETWORK_KEYS
from lace_sdn.operator import block_plan, facts, plan, writer
from lace_sdn.operator.things import Thing
from lace_sdn.operator.worker import Disuse
from lace_sdn.operator.writer import Writer
from lace_sdn.operator.writes import ClaimKey, CreateBlock, RenewClaim, SetKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


@dataclass(frozen=True)
class Fault:
    """``seed``: makes the mistake, until the patch is undone."""

    name: str
    seed: Callable[[pytest.MonkeyPatch], None]

    def __str__(self) -> str:
        return self.name


def status_before_claim(patch: pytest.MonkeyPatch) -> None:
    right = plan._key

    def wrong(view: Any, network: Any) -> Iterator[Any]:
        for write in right(view, network):
            if isinstance(write, ClaimKey) and network.key != write.number:
                yield SetKey(network, write.number, write.former)
            else:
                yield write

    patch.setattr(plan, "_key", wrong)


def no_finalizer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(facts.NetworkFact, "is_held", property(lambda self: not self.is_deleted))


def finalizer_let_go_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan.NetworkView, "is_carried", property(lambda _self: False))
    patch.setattr(Writer, "_is_carried", lambda _self, _network: False)


def blocks_named_by_node(patch: pytest.MonkeyPatch) -> None:
    right = block_plan._Shelf.take

    def wrong(self: Any, network: Any, node: str, index: int, families: Any) -> CreateBlock:
        return replace(right(self, network, node, index, families), name=f"{network.name}-{node}")

    patch.setattr(block_plan._Shelf, "take", wrong)


def claimed_by_another_is_taken_for_ones_own(patch: pytest.MonkeyPatch) -> None:
    """A 409 is taken for what one has made before."""

    def wrong(self: Any, network: Any, number: int, _former: int) -> bool:
        body = writer._body(
            NETWORK_KEYS, {"name": str(number)}, {"network": network.name, "uid": network.uid}
        )
        try:
            self._seen.put(NETWORK_KEYS, self._api.create(NETWORK_KEYS, body))
        except ApiError:
            Writer._set_key(self, network, number, 0)
        return True

    patch.setattr(Writer, "_claim_key", wrong)


def keys_released_under_what_carries_them(patch: pytest.MonkeyPatch) -> None:
    def wrong(view: Any) -> dict[Thing, Any]:
        idle = list(view.claims.values()) if view.network is None or view.network.is_deleted else []
        return {Thing("NetworkKey", str(each.number), each.uid): each for each in idle}

    patch.setattr(plan, "_idle_claims", wrong)
    patch.setattr(Writer, "_release_key", _just_delete_key)


def _just_delete_key(self: Any, claimed: Any) -> bool:
    self._api.delete(NETWORK_KEYS, str(claimed.number))
    self._seen.drop(NETWORK_KEYS, str(claimed.number))
    return True


def claims_never_renewed(patch: pytest.MonkeyPatch) -> None:
    """A network of the same name uses the claim of the former one as it is."""
    right = plan._key

    def wrong(view: Any, network: Any) -> Iterator[Any]:
        for write in right(view, network):
            if not isinstance(write, RenewClaim):
                yield write
            elif network.key != write.claim.number:
                yield SetKey(network, write.claim.number, network.key)

    patch.setattr(plan, "_key", wrong)


def keys_replaced_by_an_old_view(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Writer, "_is_still_taken", lambda _self, _network, _number: True)


def blocks_freed_by_an_old_view(patch: pytest.MonkeyPatch) -> None:
    """Neither marked nor asked about."""

    def wrong(self: Any, block: Any, _why: Any) -> bool:
        self._api.delete(ALLOCATIONS, block.name)
        self._seen.drop(ALLOCATIONS, block.name)
        return True

    patch.setattr(Writer, "_free_block", wrong)


def blocks_freed_without_a_mark(patch: pytest.MonkeyPatch) -> None:
    def wrong(self: Any, block: Any, _why: Any) -> bool:
        found, _ = self._api.list(NETWORK_ENDPOINTS, field_selector=f"spec.node={block.node}")
        if any(writer._is_inside(each, block) for each in found):
            return False
        self._api.delete(ALLOCATIONS, block.name, uid=block.uid)
        self._seen.drop(ALLOCATIONS, block.name)
        return True

    patch.setattr(Writer, "_free_block", wrong)


def nothing_waits(patch: pytest.MonkeyPatch) -> None:
    """Whatever has no use is taken away at once."""
    patch.setattr(Disuse, "ripe", lambda self, network, _now: frozenset(self._since.get(network, ())))
    patch.setattr(Disuse, "due", lambda self, network: 0.0 if self._since.get(network) else None)


def pins_overlooked(patch: pytest.MonkeyPatch) -> None:
    right = plan.plan_blocks

    def wrong(view: Any, *, takes_pods: bool) -> Any:
        return right(
            replace(view, blocks=tuple(each for each in view.blocks if each.is_ours)), takes_pods=takes_pods
        )

    patch.setattr(plan, "plan_blocks", wrong)


def marks_never_taken_back(patch: pytest.MonkeyPatch) -> None:
    right = plan.plan_blocks

    def wrong(view: Any, *, takes_pods: bool) -> Any:
        found = right(view, takes_pods=takes_pods)
        found.writes = [each for each in found.writes if isinstance(each, CreateBlock)]
        return found

    patch.setattr(plan, "plan_blocks", wrong)


def deleted_networks_get_pods(patch: pytest.MonkeyPatch) -> None:
    """A network that is being deleted keeps its blocks as long as pods are bound to it."""
    patch.setattr(
        block_plan,
        "_is_left",
        lambda view, block: block.is_ours and block.node not in view.wanted | view.held.keys(),
    )


FAULTS = (
    Fault("status before claim", status_before_claim),
    Fault("no finalizer", no_finalizer),
    Fault("finalizer let go at once", finalizer_let_go_at_once),
    Fault("blocks named by node", blocks_named_by_node),
    Fault("claimed by another is taken for one's own", claimed_by_another_is_taken_for_ones_own),
    Fault("keys released under what carries them", keys_released_under_what_carries_them),
    Fault("claims never renewed", claims_never_renewed),
    Fault("keys replaced by an old view", keys_replaced_by_an_old_view),
    Fault("blocks freed by an old view", blocks_freed_by_an_old_view),
    Fault("blocks freed without a mark", blocks_freed_without_a_mark),
    Fault("nothing waits", nothing_waits),
    Fault("pins overlooked", pins_overlooked),
    Fault("marks never taken back", marks_never_taken_back),
    Fault("pods hold a network that is being deleted", deleted_networks_get_pods),
)
