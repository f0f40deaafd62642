"""What a node's controller writes itself is known at once, and what it knows of Networks decides who may come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "operator"))

from objects import binding, endpoint, network, pod

from lace_sdn.controller.api_world import ApiWorld
from lace_sdn.kube.api.resources import BINDING_POLICIES, NETWORK_ENDPOINTS, NETWORKS
from lace_sdn.policy.refusal import Refusal

Data = dict[str, Any]
POD: Data = {**pod("a", "n1"), "metadata": {"name": "a", "namespace": "shop", "uid": "u1"}}


@pytest.fixture
def world() -> ApiWorld:
    return ApiWorld(None, "n1")  # type: ignore[arg-type]


def made(uid: str, version: int) -> Data:
    body = endpoint(POD, "red", "10.0.0.2")
    body["metadata"] |= {"uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": NETWORK_ENDPOINTS.api_version, **body}


def test_what_was_deleted_is_gone_before_the_watch_says_so(world: ApiWorld) -> None:
    world.put_endpoint(made("e1", 5))
    world.drop_endpoint(made("e1", 5))
    assert world.endpoints() == []


def test_another_one_of_the_name_stays(world: ApiWorld) -> None:
    """It was made meanwhile, and the watch was quicker: its pod runs with the address."""
    old = made("e1", 5)
    world.put_endpoint(made("e2", 9))
    world.drop_endpoint(old)
    assert len(world.taken()) == 1


def bound(world: ApiWorld, **more: Data) -> str:
    """Why no pod may come into Network red, of which ``more`` is said."""
    red: Data = {**network("red"), **more}
    red["spec"]["ipv4Subnet"]["hostLocalPrefixLength"] = 24
    red["metadata"] = {**red["metadata"], "name": "red", "uid": "n1", "resourceVersion": "1"}
    its = binding("red", net="red")
    its["metadata"] |= {"uid": "b1", "resourceVersion": "2"}
    world.stores[NETWORKS].put({"apiVersion": NETWORKS.api_version, **red})
    world.stores[BINDING_POLICIES].put({"apiVersion": BINDING_POLICIES.api_version, **its})
    found = world.network_of("shop", {"net": "red"})
    return f"{found.found}; {found.expected}" if isinstance(found, Refusal) else ""


def test_a_network_with_a_key_takes_pods(world: ApiWorld) -> None:
    assert bound(world, status={"networkKey": 7}) == ""


def test_a_network_without_a_key_is_not_said_to_be_missing(world: ApiWorld) -> None:
    """It was created with its pods, a moment ago; or the operator has no key for it."""
    assert bound(world) == (
        'is bound to Network "red", which has no key yet (status.networkKey); '
        "expected one of the operator; `kubectl describe network red` says why there is none"
    )


def test_a_network_that_is_being_deleted_takes_none(world: ApiWorld) -> None:
    ending = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    said = bound(world, status={"networkKey": 7}, metadata=ending)
    assert said == 'is bound to Network "red", which is being deleted; expected one that stays'
