"""A controller with a real Open vSwitch whose I/O calls can be made to fail: a change, a fault, and whether it is in force afterwards.

The judge is ``ovs-ofctl``: the flows after a change, without a fault and with one, are the same text.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

sys.path.insert(0, str(Path(__file__).parents[1]))

from dummy import DummySwitch, wait_until

if TYPE_CHECKING:
    from types import TracebackType

BOUND_S = 240.0
"""Seconds within which everything must be in force again: a fault of 5 s, the longest pause (15 s), and a machine that is ten times too busy."""
LOOK = 0.1
PODS = ("left/one", "right/one")
PROGRAM = Path(__file__).with_name("injected.py")
KINDS = {
    "open": ("EMFILE", "EACCES", "ENOSPC", "bug"),
    "read": ("EIO", "bug"),
    "write": ("ENOSPC", "half", "bug"),
    "flush": ("ENOSPC", "bug"),
    "fsync": ("EIO", "bug"),
    "connect": ("ECONNREFUSED", "hang", "bug"),
    "connect_ex": ("ECONNREFUSED", "hang", "bug"),
    "accept": ("EMFILE", "ECONNABORTED", "bug"),
    "send": ("ECONNRESET", "half", "hang", "bug"),
    "sendall": ("ECONNRESET", "half", "hang", "bug"),
    "recv": ("ECONNRESET", "eof", "hang", "bug"),
    "recv_into": ("ECONNRESET", "eof", "hang", "bug"),
}
FOR_OTHERS = ("EIO", "EACCES", "bug")
"""How a call can fail, the most likely way first."""


@dataclass(frozen=True)
class Case:
    """One fault while a change is carried out. ``seconds``: 0 for a single call."""

    site: str
    kind: str
    seconds: float = 0.0
    first: int = 1

    def __str__(self) -> str:
        span = f"for {self.seconds:g} s" if self.seconds else "once"
        return f"{self.site} {self.kind} {span} from call {self.first}"

    @property
    def plan(self) -> dict[str, Any]:
        return {"site": self.site, "kind": self.kind, "seconds": self.seconds, "first": self.first}


def kinds_of(site: str) -> tuple[str, ...]:
    return KINDS.get(site.split(maxsplit=1)[0], FOR_OTHERS)


class Source(Protocol):
    """Where the controller reads from. ``options``: of the command line."""

    options: tuple[str, ...]

    def prepare(self, switch: DummySwitch) -> None:
        """The policy is there, the rest is not."""

    def change(self) -> None:
        """The policy goes, and something comes that needs a new number."""

    def revert(self) -> None:
        """As in the beginning."""

    def is_said(self, status: dict[str, Any], *, is_changed: bool) -> bool:
        """Whether the controller says that all is in force, with the change or without it. ``status``: its status file."""

    def close(self) -> None:
        """Whatever serves the source ends."""


@dataclass(frozen=True)
class Outcome:
    """Seconds from the change until the policy's flows were gone, and until all was in force."""

    revoked: float
    converged: float
    has_failed: bool
    """Whether the fault happened: a call may not be made in this run."""


class FaultySite:
    """``with FaultySite(source) as site``: a controller that has programmed the bridge once with each of the two states."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.switch = DummySwitch()
        self._process: subprocess.Popen[bytes] | None = None
        self.calls: dict[str, int] = {}
        """Of one change without a fault: site -> how often it was called."""

    def __enter__(self) -> Self:
        self.switch.start()
        try:
            self._source.prepare(self.switch)
            self._write_plan({})
            self._start()
            wait_until(lambda: self._has_bridge() and bool(self.rows()), "the first flows", BOUND_S)
            for number, pod in enumerate(PODS, start=1):
                self._add_port(number, pod)
            self.before = self._settled(is_changed=False)
            self._source.change()
            self.after = self._settled(is_changed=True)
            assert self.before - self.after, "the policy has no flows"
            self._revert()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._source.close()
        self.switch.stop()

    def record(self) -> dict[str, int]:
        """The sites of one change that nothing disturbs."""
        self._load({})
        self._source.change()
        self._await(self.after)
        time.sleep(1.0)
        self.calls = self._load({})["calls"]
        self._revert()
        return self.calls

    def suffer(self, case: Case) -> Outcome:
        """One case; raises TimeoutError when the change is not in force within the bound, with nothing else changed."""
        self._load(case.plan)
        started = time.monotonic()
        self._source.change()
        gone = self.before - self.after
        wait_until(
            lambda: not gone & self.rows(), f"{case}: the flows of the policy still stand; their end", BOUND_S
        )
        revoked = time.monotonic() - started
        self._await_all(str(case))
        converged = time.monotonic() - started
        failed = self._load({})["failed"]
        self._revert()
        return Outcome(revoked, converged, failed)

    def suffer_at_start(self, case: Case) -> float:
        """The same with a controller that is started while the change was made, and again, as kubelet does, when it ends. Seconds."""
        self._end()
        self._source.change()
        self._write_plan(case.plan)
        started = time.monotonic()
        self._start()
        self._await_all(f"{case} at the start")
        seconds = time.monotonic() - started
        self._load({})
        self._revert()
        return seconds

    def record_start(self) -> dict[str, int]:
        """The sites of a start."""
        self._end()
        self._write_plan({})
        self._source.change()
        self._start()
        self._await(self.after)
        time.sleep(1.0)
        calls: dict[str, int] = self._load({})["calls"]
        self._revert()
        return calls

    # Parts.

    @property
    def log(self) -> str:
        return (self.switch.folder / "controller.log").read_text()

    def rows(self) -> frozenset[str]:
        """The flows, as a program of Open vSwitch says them; not asked for without a rest: the machine is for the controller."""
        time.sleep(LOOK)
        return frozenset(
            line.strip() for line in self.switch.ofctl("dump-flows", "br-int", "--no-stats").splitlines()[1:]
        )

    def _has_bridge(self) -> bool:
        return self.switch.management_socket("br-int").exists()

    def _add_port(self, number: int, pod: str) -> None:
        self.switch.vsctl(
            *("add-port", "br-int", f"pod{number}", "--", "set", "Interface", f"pod{number}"),
            *("type=dummy", f"ofport_request={number}", f'external_ids:iface-id="{pod}"'),
            *(f"external_ids:pod-uid={uid}" for uid in self._uid(pod)),
        )

    def _uid(self, pod: str) -> tuple[str, ...]:
        uid = getattr(self._source, "uid_of", None)
        return (uid(pod),) if uid else ()

    def _settled(self, *, is_changed: bool) -> frozenset[str]:
        """What stands when the controller says that all is in force, for both pods, and for a second more."""
        wait_until(lambda: self._is_said(is_changed=is_changed), "all in force", BOUND_S)
        time.sleep(1.0)
        wait_until(lambda: self._is_said(is_changed=is_changed), "all in force", BOUND_S)
        return self.rows()

    def _is_said(self, *, is_changed: bool) -> bool:
        status = self.status
        pods = status.get("nodes", {}).get("node1", {}).get("endpoints")
        return pods == sorted(PODS) and self._source.is_said(status, is_changed=is_changed)

    def _await(self, rows: frozenset[str], why: str = "") -> None:
        wait_until(lambda: self.rows() == rows, f"{why}: what was wanted", BOUND_S)

    def _await_all(self, why: str) -> None:
        """The change is on the bridge, and the controller says so."""
        wait_until(lambda: self._is_alive() and self.rows() == self.after, f"{why}: the change", BOUND_S)
        wait_until(lambda: self._is_alive() and self._is_said(is_changed=True), f"{why}: the status", BOUND_S)

    @property
    def status(self) -> dict[str, Any]:
        """Nothing while there is none."""
        try:
            found: dict[str, Any] = json.loads((self.switch.folder / "status").read_text())
        except FileNotFoundError:
            return {}
        return found

    def _revert(self) -> None:
        self._source.revert()
        self._await(self.before, "the first state again")
        wait_until(lambda: self._is_said(is_changed=False), "the status of the first state", BOUND_S)

    def _start(self) -> None:
        switch = self.switch
        command = (
            *(sys.executable, PROGRAM, switch.folder, *self._source.options, "--verbose"),
            *("--listen", switch.folder / "openflow.sock", "--ovsdb", f"node1={switch.db}"),
            *("--status", switch.folder / "status", "--hosts", switch.folder / "hosts"),
        )
        (switch.folder / "hosts" / "node1").mkdir(parents=True, exist_ok=True)
        with (switch.folder / "controller.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _is_alive(self) -> bool:
        """As kubelet has it: what ended is started again, without the fault that ended it."""
        assert self._process is not None
        if self._process.poll() is not None:
            self._write_plan({})
            self._start()
        return True

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(BOUND_S)

    def _write_plan(self, plan: dict[str, Any]) -> None:
        (self.switch.folder / "plan.new").write_text(json.dumps(plan))
        (self.switch.folder / "plan.new").rename(self.switch.folder / "plan")

    def _load(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Have the controller begin with a plan; what was called until then."""
        assert self._process is not None
        said = self.switch.folder / "sites"
        said.unlink(missing_ok=True)
        self._write_plan(plan)
        assert self._process.poll() is None, "the controller has ended"
        self._process.send_signal(signal.SIGUSR1)
        wait_until(said.exists, "the controller's word", BOUND_S)
        found: dict[str, Any] = json.loads(said.read_text())
        return found
