"""A cluster's life in steps: each is what happens around the operator, then time in which it and the nodes do their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memory_api import MemoryServer
from objects import allocation, external, network, node, pod
from promises import Promises
from replica import Replica
from world import World

from lace_sdn.kube.api.resources import ALLOCATIONS, NETWORK_KEYS, NETWORKS, NODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

KEYS: Final = range(1, 5)


class Stage:
    """A server, its world, one operator at a time, and the promises. ``around``: what the operator calls instead of the server."""

    def __init__(
        self, around: Callable[[MemoryServer], Any], replica: Callable[..., Replica] = Replica
    ) -> None:
        self.server = MemoryServer()
        self.world = World(self.server)
        self.promises = Promises(self.world)
        self.now = 0.0
        self._replica = replica
        self._api = around(self.server)
        self._start()

    def _start(self) -> None:
        self.operator = self._replica(self.server, self._api, lambda: self.now, keys=KEYS)

    def settle(self, seconds: float = 1) -> None:
        """Time passes; the operator and the nodes react as long as there is something to react to."""
        until = self.now + seconds
        while True:
            due = self._work()
            is_moving = self.world.attach()
            self.promises.look()
            if is_moving or any(self.operator.behind(each) for each in self.operator.known):
                continue
            if due is None or due > until:
                break
            self.now = max(self.now, due)
        self.now = until

    def _work(self) -> float | None:
        for _ in range(1000):
            self.operator.hear_all()
            try:
                return self.operator.worker.work()
            except Killed:
                self._start()
        raise AssertionError("it does not come to an end")


class Killed(BaseException):
    """The process is gone, at once."""


def run(stage: Stage) -> None:
    """The whole life."""
    for step in STEPS:
        step(stage)
        stage.promises.look()
        stage.settle()
        stage.settle(70)
    # Who was killed last has counted from the start what nobody uses.
    stage.settle(70)


def _begins(stage: Stage) -> None:
    for name in ("n1", "n2", "n3"):
        stage.server.create(NODES, node(name))
    stage.world.network(
        network("red", "10.0.0.0/22", "fd00::/62"), network("blue"), external("out", "0.0.0.0/0")
    )
    stage.world.schedule(pod("a", "n1", net="red"), pod("b", "n2", net="red"), pod("c", "n1", net="blue"))


def _pins(stage: Stage) -> None:
    stage.server.create(ALLOCATIONS, allocation("mine", "red", "n3", "10.0.2.0/24", "fd00:0:0:2::/64"))
    stage.world.schedule(pod("d", "n3", net="red"), pod("e", "n2", net="blue"), pod("f", net="blue"))


def _pods_come_and_go(stage: Stage) -> None:
    stage.world.remove_pod("b")
    stage.settle(30)
    stage.world.schedule(pod("g", "n1", net="red"), pod("h", "n3", net="blue"))


def _keys_run_short(stage: Stage) -> None:
    stage.world.network(network("green", "10.9.0.0/23"), network("black", "10.8.0.0/23"))
    stage.world.schedule(pod("i", "n2", net="green"), pod("j", "n2", net="black"))


def _deleted_under_its_pods(stage: Stage) -> None:
    stage.server.delete(NETWORKS, "blue")
    stage.settle()
    assert ("", "blue") in stage.server.of(NETWORKS)
    stage.world.remove_pod("c", "e")
    stage.settle()
    stage.world.remove_pod("f", "h")


def _recreated(stage: Stage) -> None:
    """Its key is another one's now; when that goes there is one for it."""
    stage.world.network(network("blue", "10.0.0.0/23"))
    stage.world.schedule(pod("k", "n3", net="blue"), pod("l", "n2", net="blue"))
    stage.settle(70)
    stage.world.remove_pod("j")
    stage.server.delete(NETWORKS, "black")


def _node_is_removed(stage: Stage) -> None:
    stage.world.remove_node("n2")
    stage.world.schedule(pod("m", "n1", net="green"))


def _recreated_at_once_with_other_addresses(stage: Stage) -> None:
    stage.world.remove_pod("a", "d", "g")
    stage.server.delete(ALLOCATIONS, "mine")
    stage.server.delete(NETWORKS, "red")
    stage.settle(1)
    stage.world.network(network("red", "10.5.0.0/23"))
    stage.world.schedule(pod("a", "n1", net="red"))


def _key_of_a_former_cluster(stage: Stage) -> None:
    """A Network comes with a status that its backup had; another one says a key that is taken."""
    stage.world.remove_pod("m")
    stage.server.delete(NETWORKS, "green")
    stage.settle(70)
    stage.promises.written_by_users |= {"old", "late"}
    stage.world.network({**network("old"), "status": {"networkKey": 3}})
    stage.world.network({**network("late"), "status": {"networkKey": 1}})
    stage.world.schedule(pod("o", "n1", net="old"), pod("p", "n3", net="late"))
    stage.settle(70)
    stage.server.delete(NETWORKS, "out")


STEPS: Final = (
    _begins,
    _pins,
    _pods_come_and_go,
    _keys_run_short,
    _deleted_under_its_pods,
    _recreated,
    _node_is_removed,
    _recreated_at_once_with_other_addresses,
    _key_of_a_former_cluster,
)


def faults(stage: Stage) -> Iterator[str]:
    """What is not as it should be in the end."""
    server = stage.server
    for each in stage.world.waiting():
        yield f"{each} has no address"
    names = {key[1] for key in server.of(NETWORKS)}
    if names != {"red", "blue", "old", "late"}:
        yield f"there are the Networks {sorted(names)}"
    keys = {int(key[1]): each["spec"]["network"] for key, each in server.of(NETWORK_KEYS).items()}
    if sorted(keys.values()) != sorted(names):
        yield f"keys are claimed for {keys}"
    for key, each in server.of(NETWORKS).items():
        number = (each.get("status") or {}).get("networkKey")
        if keys.get(number) != key[1]:
            yield f"Network {key[1]} has the key {number}, claimed are {keys}"
    homes = sorted(
        (each["spec"]["network"], each["spec"]["node"]) for each in server.of(ALLOCATIONS).values()
    )
    if homes != [("blue", "n3"), ("late", "n3"), ("old", "n1"), ("red", "n1")]:
        yield f"there are blocks of {homes}"
