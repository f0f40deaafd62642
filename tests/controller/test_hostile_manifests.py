"""One tenant's file that costs much to read, in the folder of a running controller: switches are answered, others' changes are in force."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Self

import pytest
from dummy import DummySwitch, wait_until
from hostile_texts import BRACKETS
from test_process import BOTH, SCTP_SERVICE, Controller

from lace_sdn.openflow import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.switch

BOUND_S = 240.0
STILL = "bad.yaml: is still being read; the file is left out"
OVER = "mended: bad.yaml: is still being read"
ECHO_REQUEST, ECHO_REPLY = 2, 3


@pytest.fixture
def controller() -> Iterator[Controller]:
    with ExitStack() as stack:
        switch = stack.enter_context(DummySwitch())
        its = stack.enter_context(Controller(switch, "system"))
        its.publish(BOTH.read_text())
        its.add_pods()
        yield its


class Echoes:
    """Asks the controller for one echo after the other and counts the answers. It is no switch, so it is hung up on, and calls again."""

    def __init__(self, path: Path) -> None:
        self.answers = 0
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(ConnectionError):
                connection.settimeout(BOUND_S)
                connection.connect(str(self._path))
                connection.sendall(wire.hello(1))
                self._ask(connection, connection.makefile("rb"))

    def _ask(self, connection: socket.socket, stream: BinaryIO) -> None:
        while not self._stop.wait(0.01):
            connection.sendall(bytes((6, ECHO_REQUEST, 0, 8, 0, 0, 0, 9)))
            while header := stream.read(8):
                stream.read(int.from_bytes(header[2:4], "big") - 8)
                if header[1] == ECHO_REPLY:
                    self.answers += 1
                    break
            else:
                return


def is_served(controller: Controller, wanted: bool) -> bool:
    return ("sctp" in controller.flows("table=22")) is wanted


def test_switches_are_answered_and_others_changes_are_in_force(controller: Controller) -> None:
    """While the file is read, and before anything else is known of it."""
    (controller.source / "bad.yaml").write_text(BRACKETS)
    fresh = controller.switch.folder / "fresh"
    with Echoes(controller.switch.folder / "openflow.sock") as echoes:
        for text in (SCTP_SERVICE, "") * 2:
            before = echoes.answers
            fresh.write_text(BOTH.read_text() + text)
            fresh.rename(controller.source / "cluster.yaml")
            wait_until(partial(is_served, controller, bool(text)), "the change", BOUND_S)
            assert echoes.answers > before
        assert STILL in controller.log
        assert OVER not in controller.log
        wait_until(lambda: OVER in controller.log, "the end of reading", BOUND_S)
    assert echoes.answers > 100
