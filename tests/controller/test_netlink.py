"""The process that makes pods' links: asked again after it hung, or ended."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from lace_sdn.controller import netlink
from lace_sdn.controller.netlink import Netlink
from lace_sdn.node import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def links() -> Iterator[Netlink]:
    its = Netlink()
    assert its.namespaces(["/proc/self/ns/net", "/nowhere"]) == ["/proc/self/ns/net"]
    yield its
    its.close()


def _pid(links: Netlink) -> int:
    assert links._process is not None
    return links._process.pid


def test_one_that_hangs_is_ended_and_another_one_answers(
    links: Netlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _pid(links)
    os.kill(before, signal.SIGSTOP)
    with monkeypatch.context() as hurried:
        hurried.setattr(netlink, "PATIENCE", 0.05)
        with pytest.raises(NodeError, match="no answer within"):
            links.links()
    assert links.namespaces(["/proc/self/ns/net"]) == ["/proc/self/ns/net"]
    assert _pid(links) != before


def test_one_that_was_killed_is_missed_once_at_most(links: Netlink) -> None:
    before = _pid(links)
    os.kill(before, signal.SIGKILL)
    try:
        found = links.namespaces(["/proc/self/ns/net"])
    except NodeError:
        found = links.namespaces(["/proc/self/ns/net"])
    assert found == ["/proc/self/ns/net"]
    assert _pid(links) != before
