"""Cookies: who a flow belongs to. 16 bits owner (Lace SDN), 8 bits category, 8 reserved, 32 bits object."""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import TYPE_CHECKING

from lace_sdn.openflow.flow import COOKIE_OWNER

if TYPE_CHECKING:
    from lace_sdn.model.cluster import ClusterState


class Category(IntEnum):
    """What kind of object stands behind a flow."""

    PIPELINE = 1
    NODE = 2
    NETWORK = 3
    ENDPOINT = 4
    POLICY_CLASS = 5


def cookie(category: Category, object_id: int = 0) -> int:
    """The cookie of a flow that belongs to the object numbered ``object_id`` (32 bits) in its category."""
    return COOKIE_OWNER << 48 | category << 40 | object_id


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
        case Category.POLICY_CLASS:
            names = [
                f"policy class of Network {each.name}" for each in state.networks if each.key == object_id
            ]
    return " or ".join(names) or f"gone ({object_id:#x})"
