"""Cookies: who a flow belongs to. 16 bits owner (Lace SDN), 8 bits category, 8 bits edition, 32 bits object."""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import TYPE_CHECKING

from lace_sdn.openflow.flow import COOKIE_OWNER, LEARNED_CATEGORY
from lace_sdn.policy.numbers import numbers
from lace_sdn.policy.services import port_name

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState


class Category(IntEnum):
    """What kind of object stands behind a flow."""

    PIPELINE = 1
    NODE = 2
    NETWORK = 3
    ENDPOINT = 4
    POLICY_CLASS = 5
    SERVICE = 6
    """The object is the number of a Service's port, or of the Service's name where a flow is about all its ports."""
    AFFINITY = LEARNED_CATEGORY
    """What the switch learned by itself: which endpoint a client of a Service's port had."""
    SERVICE_CLASS = 8


def cookie(category: Category, object_id: int = 0, *, edition: int = 0) -> int:
    """The cookie of a flow that belongs to the object numbered ``object_id`` (32 bits) in its category.

    ``edition`` (8 bits of it are kept): what was learned under another one is forgotten.
    """
    return COOKIE_OWNER << 48 | category << 40 | (edition ^ edition >> 8) % 256 << 32 | object_id


def affinity_cookie(port_number: int, seconds: int, *, by_outside: bool) -> int:
    """Of what is learned of the clients of a Service's port: another one for those outside, which are counted by themselves."""
    edition = (seconds ^ seconds >> 8) % 128 | by_outside << 7
    return cookie(Category.AFFINITY, port_number, edition=edition)


def name_id(name: str) -> int:
    """32 bits of a name: the same everywhere and always. Two names may share them; ``describe`` then says both."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")


def category_of(value: int) -> Category | None:
    """The category of a cookie; None if it is not ours."""
    number = value >> 40 & 0xFF
    known = any(number == each for each in Category)
    return Category(number) if value >> 48 == COOKIE_OWNER and known else None


def describe(value: int, state: ClusterState) -> str:
    """The object behind a cookie, in the words of ``state``: ``Pod shop/web-0``, ``Network blue``, ``class of a, b``."""
    object_id = value & 0xFFFFFFFF
    match category_of(value):
        case None:
            return "foreign"
        case Category.PIPELINE:
            return "pipeline"
        case Category.NODE:
            names = [f"Node {node.name}" for node in state.nodes if name_id(node.name) == object_id]
        case Category.ENDPOINT:
            names = [f"Pod {each.id}" for each in state.endpoints if name_id(each.id) == object_id]
        case Category.NETWORK:
            names = [f"Network {network.name}" for network in state.networks if network.key == object_id]
        case Category.POLICY_CLASS | Category.SERVICE_CLASS as category:
            kind = "policy" if category is Category.POLICY_CLASS else "service"
            names = [
                f"{kind} class of Network {each.name}" for each in state.networks if each.key == object_id
            ]
        case Category.SERVICE:
            names = [f"Service {name}" for name in _services(state, object_id)]
        case Category.AFFINITY:
            names = [f"client of Service {name} (learned)" for name in _services(state, object_id)]
    return " or ".join(names) or f"gone ({object_id:#x})"


def _services(state: ClusterState, object_id: int) -> list[str]:
    """Services by the number of their name, and their ports by their own number."""
    ports = numbers(port_name(service, port) for service in state.services for port in service.ports)
    by_name = [service.id for service in state.services if name_id(service.id) == object_id]
    return [*by_name, *(name for name, number in ports.items() if number == object_id)]
