"""The test's side of holder.py: a process that can be asked, killed and started again, and a bridge in it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import framing
from dummy import wait_until

from lace_sdn.switch.contract import BundleRefused, Installed, SwitchLost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.wire import ConnectionFilter, Metered

BOUND_S = 30.0
"""Longer than anything here takes; a request that takes longer fails the test."""


class HolderProcess:
    """``holder.py`` as a process, with the OpenFlow socket ``openflow``. Use as a context."""

    def __init__(self, openflow: Path) -> None:
        self.openflow = openflow
        self._folder = tempfile.TemporaryDirectory(prefix="laceholder-", dir="/tmp")
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: socket.socket | None = None

    @property
    def log(self) -> str:
        """What the process wrote, all starts together."""
        return Path(self._folder.name, "log").read_text()

    def start(self) -> Self:
        """Raises TimeoutError if the process does not come up, with its log as a note."""
        control = Path(self._folder.name, "control")
        control.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener, Path(self._folder.name, "log").open("ab") as log:
            listener.bind(str(control))
            listener.listen(1)
            listener.settimeout(BOUND_S)
            command = (sys.executable, Path(__file__).with_name("holder.py"), self.openflow, control)
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                self._stream = listener.accept()[0]
            except TimeoutError as error:
                self.kill()
                error.add_note(self.log)
                raise
        self._stream.settimeout(BOUND_S)
        return self

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._stream is not None:
            self._stream.close()
        self._process = self._stream = None

    def ask(self, name: str, *arguments: object) -> Any:
        """The answer of the holder's method ``name``. Raises what a bridge raises, AssertionError for what nobody should."""
        assert self._stream is not None
        framing.send(self._stream, (name, arguments))
        kind, value = framing.receive(self._stream)
        if kind == "refused":
            raise BundleRefused(*value)
        if kind == "lost":
            raise SwitchLost(value)
        assert kind == "value", f"{name}: {value}\n{self.log}"
        return value

    def wait_for_bridge(self, datapath_id: int) -> HeldBridge:
        """Wait until the bridge has connected."""
        wait_until(lambda: datapath_id in self.ask("bridges"), f"bridge {datapath_id:016x}", BOUND_S)
        return HeldBridge(self, datapath_id)

    @contextmanager
    def unable_to_flush(self) -> Iterator[None]:
        """Meanwhile switches do not know the message that makes them forget connections."""
        self.ask("know_flushes", False)
        yield
        self.ask("know_flushes", True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()


class HeldBridge:
    """A ProgrammableBridge in another process."""

    def __init__(self, holder: HolderProcess, datapath_id: int) -> None:
        self.holder = holder
        self.datapath_id = datapath_id
        self.name = ""

    @property
    def is_connected(self) -> bool:
        return self.datapath_id in self.holder.ask("bridges")

    def dump(self) -> Installed:
        return self.holder.ask("dump", self.datapath_id)

    def commit(self, delta: Delta) -> None:
        self.holder.ask("commit", self.datapath_id, delta)

    def metered(self) -> Mapping[int, Metered]:
        return self.holder.ask("metered", self.datapath_id)

    def flush_zone(self, zone: int) -> None:
        self.holder.ask("flush_zone", self.datapath_id, zone)

    def flush_connections(self, which: Sequence[ConnectionFilter]) -> None:
        self.holder.ask("flush_connections", self.datapath_id, tuple(which))


def library_name() -> str:
    """The library that the setting chooses, as the holder sees it."""
    return os.environ.get("LACE_SDN_OPENFLOW", "os_ken")
