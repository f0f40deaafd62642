"""Promises of load balancing: which endpoints clients on a node are spread over. Oracle and compiler choose alike."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.labels import labels
from lace_sdn.model.objects import (
    ZONE_LABEL,
    Backend,
    Endpoint,
    Namespace,
    Network,
    NetworkType,
    Node,
    Protocol,
    Service,
    ServicePort,
)
from lace_sdn.policy.balancing import WhenNone, choose
from lace_sdn.policy.oracle import Connection, verdict

ONE = Node("one", (), labels({ZONE_LABEL: "east"}))
TWO = Node("two", (), labels({ZONE_LABEL: "west"}))
NO_ZONE = Node("one", ())


def backend(host: int, node: str = "one", **more: Any) -> Backend:
    return Backend(ip_address(f"10.0.0.{host}"), 8080, node, **more)


READY, ELSEWHERE = backend(1), backend(2, "two")
ENDING = backend(3, ready=False, terminating=True)
ENDING_ELSEWHERE = backend(4, "two", ready=False, terminating=True)
ENDED = backend(5, ready=False, serving=False, terminating=True)
UNREADY = backend(6, ready=False, serving=False)
EAST = backend(7, for_zones=("east",))
WEST = backend(8, "two", for_zones=("west",))
NODE_ONE = backend(9, for_nodes=("one",), for_zones=("east",))
NODE_TWO = backend(10, "two", for_nodes=("two",), for_zones=("west",))

CHOICES: dict[str, tuple[tuple[Backend, ...], bool, Node, tuple[Backend, ...] | WhenNone]] = {
    "all that are ready": ((READY, ELSEWHERE, UNREADY), False, ONE, (READY, ELSEWHERE)),
    "none that ends while one is ready": ((READY, ENDING), False, ONE, (READY,)),
    "those that end and serve, if none is ready": ((ENDING, ENDED, UNREADY), False, ONE, (ENDING,)),
    "nobody: refused": ((ENDED, UNREADY), False, ONE, WhenNone.REJECT),
    "nobody at all: refused": ((), False, ONE, WhenNone.REJECT),
    "Local: those of the node": ((READY, ELSEWHERE), True, ONE, (READY,)),
    "Local: those that end, if none of the node is ready": ((ENDING, ELSEWHERE), True, ONE, (ENDING,)),
    "Local: none here, some elsewhere: silence": ((ELSEWHERE,), True, ONE, WhenNone.DROP),
    "Local: one that ends elsewhere is some": ((ENDING_ELSEWHERE,), True, ONE, WhenNone.DROP),
    "Local: none anywhere: refused": ((UNREADY,), True, ONE, WhenNone.REJECT),
    "the own zone, where there is one": ((EAST, WEST), False, TWO, (WEST,)),
    "every zone, if the own has none": ((EAST,), False, TWO, (EAST,)),
    "every zone, if one endpoint has no hint": ((EAST, WEST, READY), False, ONE, (READY, EAST, WEST)),
    "every zone, if the node has none": ((EAST, WEST), False, NO_ZONE, (EAST, WEST)),
    "the own node": ((NODE_ONE, NODE_TWO), False, TWO, (NODE_TWO,)),
    "the own zone, if the node has none": (
        (replace(NODE_TWO, for_nodes=("three",)), NODE_ONE),
        False,
        TWO,
        (replace(NODE_TWO, for_nodes=("three",)),),
    ),
    "hints of an unready endpoint do not count": (
        (EAST, replace(UNREADY, for_zones=())),
        False,
        ONE,
        (EAST,),
    ),
    "hints do not count for those that end": (
        (replace(ENDING, for_zones=("west",)), replace(ENDING_ELSEWHERE, for_zones=("east",))),
        False,
        ONE,
        (replace(ENDING, for_zones=("west",)), replace(ENDING_ELSEWHERE, for_zones=("east",))),
    ),
}
EVERY_CHOICE = pytest.mark.parametrize(
    ("listed", "is_local", "node", "expected"), CHOICES.values(), ids=list(CHOICES)
)


def service(listed: tuple[Backend, ...], is_local: bool) -> Service:
    port = ServicePort(Protocol.TCP, 80, "", listed)
    return Service("shop", "api", "net", (ip_address("10.96.0.1"),), (port,), is_local=is_local)


@EVERY_CHOICE
def test_a_client_is_spread_over(
    listed: tuple[Backend, ...],
    is_local: bool,
    node: Node,
    expected: tuple[Backend, ...] | WhenNone,
) -> None:
    its = service(listed, is_local)
    found = choose(its.ports[0], 4, node, is_local=its.is_local)
    assert (set(found.chosen) or found.when_none) == (
        set(expected) if isinstance(expected, tuple) else expected
    )


@EVERY_CHOICE
def test_the_oracle_says_the_same(
    listed: tuple[Backend, ...],
    is_local: bool,
    node: Node,
    expected: tuple[Backend, ...] | WhenNone,
) -> None:
    client = Endpoint("shop", "client", node.name, "net", (ip_address("10.0.0.99"),), "02:00:00:00:00:01")
    state = ClusterState(
        nodes=(node,),
        namespaces=(Namespace("shop"),),
        networks=(Network("net", NetworkType.L3, 1),),
        endpoints=(client,),
        services=(service(listed, is_local),),
    )
    said = verdict(state, Connection("shop/client", "service shop/api", Protocol.TCP, 80))
    if isinstance(expected, tuple):
        assert said.backends == tuple(sorted(f"{each.address}:{each.port}" for each in expected))
    else:
        assert (said.allowed, said.is_rejected) == (False, expected is WhenNone.REJECT)


def test_existing_connections_stay_with_endpoints_that_serve() -> None:
    its = service((READY, ENDING, ENDED, UNREADY, ELSEWHERE), is_local=True)
    assert set(choose(its.ports[0], 4, ONE, is_local=its.is_local).serving) == {READY, ENDING, ELSEWHERE}


def test_families_do_not_mix() -> None:
    six = replace(READY, address=ip_address("fd00::1"))
    its = service((READY, six), is_local=False)
    assert choose(its.ports[0], 6, ONE, is_local=its.is_local).chosen == (six,)
