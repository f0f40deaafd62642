"""Two operators that both think they lead, each with its own old view of the cluster; their requests come in any order.

What is assumed of time, as in production: nobody sees less than what was so 20 seconds ago, and what was begun is done, or given up, in 20 seconds.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from greenlet import greenlet
from memory_api import MemoryServer
from objects import allocation, network, node, pod
from promises import Promises
from replica import WATCHED, Replica
from world import World

from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.api.resources import (
    ALLOCATIONS,
    NETWORK_ENDPOINTS,
    NETWORK_KEYS,
    NETWORKS,
    NODES,
    PODS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("red", "blue", "green", "black")
PREFIXES = ("10.0.0.0/21", "10.8.0.0/21")
NODE_NAMES = ("n0", "n1", "n2")
PODS_AT_MOST = 8
KEYS = range(1, 5)
OLD = 20.0
"""Seconds."""


class NeverMadeError(Exception):
    """An operator does not come to a request."""


class Player:
    """One operator, stopped before each request and after it."""

    def __init__(self, duel: Duel, replica: Callable[..., Replica]) -> None:
        self.server = duel.server
        self._duel = duel
        self._home = greenlet.getcurrent()
        self.replica = replica(duel.server, self, lambda: duel.now, keys=KEYS)
        self._heard = dict.fromkeys(WATCHED, duel.now)
        self._moved = duel.now
        self._thread = greenlet(self._play)
        self._fails = False
        self.next = ""
        """The request before which, or after which, it stands."""

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.server, name)

        def made(*args: Any, **named: Any) -> Any:
            self.next = f"{name} {args[0].kind}"
            self._home.switch()
            try:
                answer = call(*args, **named)
            finally:
                self._duel.promises.look()
            self.next = ""
            self._home.switch()
            if self._fails:
                self._fails = False
                raise ApiUnreachable("no answer")
            return answer

        return made

    def _play(self) -> None:
        while True:
            self.replica.worker.work()
            self._home.switch()

    def move(self, steps: int = 1, *, fails: bool = False) -> None:
        """To the next stop, or some further. ``fails``: the next answer is lost."""
        self._home = greenlet.getcurrent()
        self._fails = fails
        self._moved = self._duel.now
        for _ in range(steps):
            self._thread.switch()

    def move_to(self, request: str) -> None:
        """Until it is about to make this request."""
        for _ in range(200):
            self.move()
            if self.next == request:
                return
        raise NeverMadeError(request)

    def hear(self, resource: Any, count: int | None = None) -> None:
        self.replica.hear(resource, count)
        if not self.replica.behind(resource):
            self._heard[resource] = self._duel.now

    def catch_up(self) -> None:
        """What may not be older."""
        for resource, when in self._heard.items():
            if when + OLD <= self._duel.now:
                self.hear(resource)
        if self._moved + OLD <= self._duel.now:
            self.move(14)

    def end(self) -> None:
        self._thread.throw()


class Duel:
    def __init__(self, replica: Callable[..., Replica] = Replica) -> None:
        self.server = MemoryServer()
        self.world = World(self.server)
        self.promises = Promises(self.world)
        self.now = 0.0
        self._replica = replica
        self._pods = 0
        for name in NODE_NAMES:
            self.server.create(NODES, node(name))
        self.players = [Player(self, replica), Player(self, replica)]
        self._nodes_saw = deepcopy(self.server)

    # The operators.

    def hear(self, which: int, resource: int, count: int) -> None:
        self.players[which].hear(WATCHED[resource], count)

    def move(self, which: int, steps: int, *, fails: bool) -> None:
        self.players[which].move(steps, fails=fails)

    def kill(self, which: int) -> None:
        self.players[which].end()
        self.players[which] = Player(self, self._replica)

    # The others.

    def create_network(self, name: int, prefix: int) -> None:
        if ("", NAMES[name]) not in self.server.of(NETWORKS):
            self.world.network(network(NAMES[name], PREFIXES[prefix]))

    def delete_network(self, name: int) -> None:
        if ("", NAMES[name]) in self.server.of(NETWORKS):
            self.server.delete(NETWORKS, NAMES[name])

    def create_pod(self, name: int, where: int) -> None:
        if len(self.server.of(PODS)) < PODS_AT_MOST and ("", NODE_NAMES[where]) in self.server.of(NODES):
            self._pods += 1
            self.world.schedule(pod(f"p{self._pods}", NODE_NAMES[where], net=NAMES[name]))

    def remove_pod(self, which: int) -> None:
        names = sorted(key[1] for key in self.server.of(PODS))
        if names:
            self.world.remove_pod(names[which % len(names)])

    def switch_node(self, which: int) -> None:
        if ("", NODE_NAMES[which]) in self.server.of(NODES):
            self.world.remove_node(NODE_NAMES[which])
        else:
            self.server.create(NODES, node(NODE_NAMES[which]))

    def pin(self, name: int, where: int) -> None:
        """The last block of a network, which nobody else comes to."""
        found = self.server.of(NETWORKS).get(("", NAMES[name]))
        own = f"pin-{NAMES[name]}"
        if ("", own) in self.server.of(ALLOCATIONS):
            used = [each["spec"] for each in self.server.of(NETWORK_ENDPOINTS).values()]
            if not any(each["addresses"][0].split(".")[2] in {"7", "15"} for each in used):
                self.server.delete(ALLOCATIONS, own)
        elif found and not found["metadata"].get("deletionTimestamp"):
            start = found["spec"]["ipv4Subnet"]["prefix"].split(".")
            block = f"10.{start[1]}.7.0/24"
            if any(each["spec"]["ipv4Block"] == block for each in self.server.of(ALLOCATIONS).values()):
                return
            self.server.create(ALLOCATIONS, allocation(own, NAMES[name], NODE_NAMES[where], block))

    def nodes_look(self) -> None:
        self._nodes_saw = deepcopy(self.server)

    def begin(self, which: int) -> None:
        """A node that has not seen all that there is begins to attach a pod."""
        waiting = [each for each in self.world.waiting() if each not in self.world.begun()]
        if waiting:
            self.world.begin(waiting[which % len(waiting)], self._nodes_saw)

    def confirm(self, which: int) -> None:
        begun = self.world.begun()
        if begun:
            self.world.confirm(begun[which % len(begun)])

    def advance(self, seconds: int) -> None:
        self.now += seconds
        for each in self.players:
            each.catch_up()

    # The end.

    def finish(self) -> None:
        """Everybody sees everything, and time passes."""
        for _ in range(60):
            self.now += 10
            for each in self.players:
                for resource in WATCHED:
                    each.hear(resource)
                each.move(60)
            self.world.attach()
            for id_ in self.world.begun():
                self.world.confirm(id_)
            self.promises.look()

    def close(self) -> None:
        for each in self.players:
            each.end()

    def faults(self) -> Iterator[str]:
        """What is not as it should be after the end."""
        server = self.server
        keys = {int(key[1]): each["spec"]["network"] for key, each in server.of(NETWORK_KEYS).items()}
        live = {}
        for key, each in server.of(NETWORKS).items():
            if not each["metadata"].get("deletionTimestamp"):
                live[key[1]] = (each.get("status") or {}).get("networkKey")
        for name, number in live.items():
            if number is None or keys.get(number) != name:
                yield f"Network {name} has the key {number}, claimed are {keys}"
        for id_ in self.world.waiting():
            network_name = server.of(PODS)[tuple(id_.split("/"))]["metadata"]["labels"]["net"]
            if network_name in live:
                yield f"{id_} has no address"
        used = {
            (each["spec"]["network"], each["spec"]["node"]) for each in server.of(NETWORK_ENDPOINTS).values()
        }
        for key, each in server.of(ALLOCATIONS).items():
            home = (each["spec"]["network"], each["spec"]["node"])
            if home not in used and not key[1].startswith("pin-"):
                yield f"{key[1]} is left over"
        if len(keys) > len(server.of(NETWORKS)) and not server.of(ALLOCATIONS):
            yield f"claimed are {keys}"


def act(duel: Duel, choose: Callable[[int], int]) -> None:
    """One thing that happens; ``choose(n)`` is one of 0 .. n - 1."""
    acts: tuple[tuple[int, Callable[[], None]], ...] = (
        (24, lambda: duel.hear(choose(2), choose(len(WATCHED)), 1 + choose(3))),
        (30, lambda: duel.move(choose(2), 1 + choose(4), fails=choose(12) == 0)),
        (1, lambda: duel.kill(choose(2))),
        (3, lambda: duel.create_network(choose(len(NAMES)), choose(len(PREFIXES)))),
        (2, lambda: duel.delete_network(choose(len(NAMES)))),
        (6, lambda: duel.create_pod(choose(len(NAMES)), choose(3))),
        (4, lambda: duel.remove_pod(choose(PODS_AT_MOST))),
        (1, lambda: duel.switch_node(choose(3))),
        (1, lambda: duel.pin(choose(len(NAMES)), choose(3))),
        (3, duel.nodes_look),
        (8, lambda: duel.begin(choose(PODS_AT_MOST))),
        (8, lambda: duel.confirm(choose(PODS_AT_MOST))),
        (6, lambda: duel.advance(1 + choose(10))),
    )
    picked = choose(sum(weight for weight, _ in acts))
    for weight, deed in acts:
        picked -= weight
        if picked < 0:
            try:
                deed()
            except ApiError as error:
                if error.status != 409:
                    raise
            duel.promises.look()
            return
