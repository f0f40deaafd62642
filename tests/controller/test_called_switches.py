"""A switch that calls nobody is called; one that waits for its flows begins when they are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from served import rows
from test_node_loop import PEERING, PORTS, RecordingBridge, world

from lace_sdn.controller.called_switches import CalledSwitches
from lace_sdn.controller.node_loop import NodeLoop

SOCKET = Path("/run/ovs/br-int.mgmt")
REMOTE = "unix:/run/ovs/db.sock"


class OpenCall:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Site:
    def __init__(self) -> None:
        self.calls: list[OpenCall] = []
        self.called = CalledSwitches(self.call)
        self.loop = NodeLoop("node-1")
        self.loop.found = rows(PORTS)

    def call(self, path: Path) -> OpenCall:
        self.calls.append(OpenCall(path))
        return self.calls[-1]

    def connect(self, address: str) -> None:
        self.loop.bridge = RecordingBridge()
        self.loop.bridge.address = address

    def see(self, socket: str, *, is_waiting: bool = False) -> None:
        self.called.see("node-1", REMOTE, replace(rows(PORTS), socket=socket, is_waiting=is_waiting))

    def wait(self) -> None:
        self.see("br-int.mgmt", is_waiting=True)


@pytest.fixture
def site() -> Site:
    return Site()


def test_it_is_called_by_its_own_socket_once(site: Site) -> None:
    site.wait()
    site.wait()
    assert [call.path for call in site.calls] == [SOCKET]


def test_it_begins_when_its_flows_are_confirmed_and_not_before(site: Site) -> None:
    site.wait()
    assert not site.called.is_complete(site.loop)
    site.connect(str(SOCKET))
    assert not site.called.is_complete(site.loop)
    site.loop.step(world("1", PEERING))
    assert site.called.is_complete(site.loop)


def test_flows_on_the_connection_of_a_former_switch_are_none(site: Site) -> None:
    site.connect("/run/lace-sdn/openflow.sock")
    site.loop.step(world("1", PEERING))
    site.wait()
    assert not site.called.is_complete(site.loop)


def test_when_it_has_begun_it_is_called_by_the_socket_of_its_controller(site: Site) -> None:
    site.wait()
    site.see("br-int.controller")
    assert site.calls[0].is_closed
    assert site.calls[1].path == SOCKET.with_name("br-int.controller")
    site.connect(str(site.calls[1].path))
    site.loop.step(world("1", PEERING))
    assert not site.called.is_complete(site.loop)


def test_one_that_connects_by_itself_is_not_called(site: Site) -> None:
    site.see("br-int.controller")
    site.see("")
    assert [call.is_closed for call in site.calls] == [True]


def test_a_switch_elsewhere_cannot_be_called_and_that_is_said(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.called.see("node-1", "tcp:192.0.2.1:6640", replace(rows(PORTS), socket="br-int.controller"))
    assert not site.calls
    assert "works on its own machine only, and its database is at tcp:192.0.2.1:6640" in caplog.text
