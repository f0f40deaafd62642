"""Orders of requests in which an operator that is not careful gives something twice; each is played with two operators, one and other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duel import NeverMadeError

from lace_sdn.kube.api.resources import NETWORKS, PODS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duel import Duel

RED, BLUE = 0, 1


def all_quiet(duel: Duel, *players: int) -> None:
    """These see everything and do all that they can do."""
    for _ in range(3):
        for which in players or (0, 1):
            duel.players[which].replica.hear_all()
            duel.players[which].move(60)
    duel.nodes_look()


def attach_all(duel: Duel) -> None:
    duel.nodes_look()
    duel.world.attach()


def recreated_while_its_claim_is_released(duel: Duel) -> None:
    """One has found the network gone and is about to release its claim; it comes back, and the other one gives it that key."""
    one, other = duel.players
    duel.create_network(RED, 0)
    all_quiet(duel)
    duel.delete_network(RED)
    all_quiet(duel)
    duel.now += 61
    one.move_to("delete NetworkKey")
    duel.create_network(RED, 0)
    other.replica.hear_all()
    other.move(60)
    one.move(60)


def taken_over_between_two_looks(duel: Duel) -> None:
    """One has not seen that a key was released and is another's now, but that one's status."""
    one, other = duel.players
    duel.create_network(RED, 0)
    all_quiet(duel)
    duel.delete_network(RED)
    all_quiet(duel, 1)
    duel.now += 61
    other.move(60)
    duel.create_network(BLUE, 0)
    all_quiet(duel, 1)
    one.hear(NETWORKS)
    one.move(60)


def pod_comes_while_its_block_is_freed(duel: Duel) -> None:
    """One has found no endpoint in the block and is about to remove it; the pod's node writes one and asks whether it may."""
    one, _ = duel.players
    duel.create_network(RED, 0)
    duel.create_pod(RED, 0)
    all_quiet(duel)
    duel.remove_pod(0)
    all_quiet(duel)
    duel.now += 61
    one.move_to("delete Allocation")
    duel.create_pod(RED, 0)
    attach_all(duel)
    one.move(60)


def pod_comes_to_a_block_that_a_dead_operator_marked(duel: Duel) -> None:
    one, _ = duel.players
    duel.create_network(RED, 0)
    duel.create_pod(RED, 0)
    all_quiet(duel)
    duel.remove_pod(0)
    all_quiet(duel)
    duel.now += 61
    one.move_to("list NetworkEndpoint")
    duel.create_pod(RED, 0)
    duel.kill(0)
    all_quiet(duel)


def deleted_before_its_endpoint_is_seen(duel: Duel) -> None:
    """One has seen neither the block nor the endpoint of a pod, when the network is deleted."""
    one, _ = duel.players
    duel.create_network(RED, 0)
    all_quiet(duel)
    duel.create_pod(RED, 0)
    all_quiet(duel, 1)
    attach_all(duel)
    duel.delete_network(RED)
    one.hear(NETWORKS)
    one.move(60)


def both_need_a_block(duel: Duel) -> None:
    """Each has seen a pod of its own, on two nodes."""
    one, other = duel.players
    duel.create_network(RED, 0)
    all_quiet(duel)
    duel.create_pod(RED, 0)
    duel.create_pod(RED, 1)
    one.replica.put(PODS, duel.server.get(PODS, "p1", "shop"))
    other.replica.put(PODS, duel.server.get(PODS, "p2", "shop"))
    one.move_to("create Allocation")
    other.move(60)
    one.move(60)


def both_need_a_key(duel: Duel) -> None:
    """Each has seen a network of its own."""
    one, other = duel.players
    duel.create_network(RED, 0)
    one.hear(NETWORKS)
    duel.create_network(BLUE, 0)
    other.replica.put(NETWORKS, duel.server.get(NETWORKS, "blue"))
    one.move_to("create NetworkKey")
    other.move(60)
    one.move(60)


SCHEDULES: Final = (
    recreated_while_its_claim_is_released,
    taken_over_between_two_looks,
    pod_comes_while_its_block_is_freed,
    pod_comes_to_a_block_that_a_dead_operator_marked,
    deleted_before_its_endpoint_is_seen,
    both_need_a_block,
    both_need_a_key,
)


def sentences(schedule: object, duel: Duel) -> Iterator[str]:
    """What is broken by a schedule, or not as it should be after it; nothing if it cannot be played."""
    try:
        schedule(duel)  # type: ignore[operator]
    except NeverMadeError:
        return
    duel.promises.look()
    if not duel.promises.broken:
        duel.finish()
    duel.close()
    yield from duel.promises.broken or duel.faults()
