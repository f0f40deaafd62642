"""Promises of a node's cable to the underlay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import datapath, links, netns

if TYPE_CHECKING:
    from lace_sdn.lab.names import Lab

pytestmark = pytest.mark.lab


def _set_down(namespace: str, device: str) -> None:
    with netns.netlink(namespace) as route:
        route.link("set", index=route.link_lookup(ifname=device)[0], state="down")


def _is_up(namespace: str, device: str) -> bool:
    with netns.netlink(namespace) as route:
        (link,) = route.get_links(ifname=device)
        return link.get("state") == "up"


def test_a_cable_that_a_killed_command_left_down_is_put_up(lab: Lab) -> None:
    node, underlay = lab.node_namespace("node1"), lab.underlay_namespace
    links.ensure_underlay(underlay)
    netns.ensure(node)
    links.ensure_uplink(node, underlay, "n-1", datapath.NODE_UPLINK, None)
    _set_down(node, datapath.NODE_UPLINK)
    _set_down(underlay, "n-1")
    links.ensure_uplink(node, underlay, "n-1", datapath.NODE_UPLINK, None)
    assert _is_up(node, datapath.NODE_UPLINK)
    assert _is_up(underlay, "n-1")
