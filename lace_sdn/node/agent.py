"""The loop of a node: looks at plan, interface and host, and puts right what differs, until a signal ends it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroute2.netlink.exceptions import NetlinkError

from lace_sdn.node import NodeError, Outcome, nft, sysctl
from lace_sdn.node.files import PlanFile, write_status
from lace_sdn.node.nft import NftTable
from lace_sdn.node.routing import MISSING, Routing
from lace_sdn.pipeline.constants import GATEWAY_INTERFACE

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.pipeline.host import HostProgram

log = logging.getLogger(__name__)

# Seconds.
LOOK = 0.2
"""The plan's file and the interface's index are looked at this often; it costs two system calls."""
NFT_INTERVAL = 5.0
SHOWN = 20
"""Problems at most in the status and the log: one cause may have thousands."""
SHARE = 20
"""Reading the host back takes a twentieth of the time at most, however many routes there are."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``interval``: seconds between two passes over the host."""

    plan: Path
    status: Path
    interval: float = 0.5


def require_host() -> None:
    """Raises NodeError where this process cannot do its work."""
    if os.geteuid() != 0:
        raise NodeError("this changes the node's routes and nft table: run it as root")
    nft.require()


def remove() -> Outcome:
    """Take away everything that an agent made in this namespace; what is not there stays so."""
    outcome = Outcome()
    routing = Routing()
    try:
        routing.remove(outcome)
    finally:
        routing.close()
    nft.remove(outcome)
    return outcome


class Agent:
    """Holds the plan that is followed, and nothing of the host that it could not read again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._plan = PlanFile(settings.plan)
        self._table = NftTable()
        self._table_problems: list[str] = []
        self._routing = Routing()
        self._interface = 0
        self._due = self._table_due = 0.0
        self._settled: tuple[str, int] | None = None
        self._said: set[str] = set()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; what is in force stays."""
        # Waited for, not handled: a handler runs at any place, also where it would wait for what its own thread holds.
        ends = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        self._keep_looking()
        while signal.sigtimedwait(ends, min(LOOK, max(self._due - time.monotonic(), 0.0))) is None:
            self._keep_looking()
        self._routing.close()

    def _keep_looking(self) -> None:
        """A fault of ours must not end what keeps the node in order: said, and tried again after the interval, the table too."""
        try:
            self._look()
        except Exception:
            log.exception("the host could not be looked at; what is in force stays, trying again")
            self._due = time.monotonic() + max(self._settings.interval, LOOK)
            self._table_due = 0.0

    def _look(self) -> None:
        is_new_plan = self._plan.refresh()
        former, self._interface = self._interface, _interface()
        started = time.monotonic()
        if is_new_plan:
            self._table_due = started
        elif former == self._interface and started < self._due:
            return
        has_changed = self._pass(started)
        took = time.monotonic() - started
        # What was just written is looked at again soon.
        self._due = started + took + max(self._settings.interval, took if has_changed else SHARE * took)

    def _pass(self, started: float) -> bool:
        """Look at the whole host once; whether anything was written."""
        outcome = Outcome()
        program = self._plan.program
        if program is not None:
            try:
                self._keep(program, outcome, started)
            except (NetlinkError, OSError) as error:
                outcome.problems.append(f"the host changed under our hands, or refuses to be read: {error}")
            except Exception as error:
                # A fault of ours must not end what keeps the node in order: said loudly, once, and tried again.
                text = f"fault in lace-sdn host: {error!r}; what is in force stays"
                outcome.problems.append(text)
                if text not in self._said:
                    log.exception("could not be brought to the plan")
        if _interface() != self._interface:
            # It went away under our hands: one reason for whatever was refused.
            outcome.problems = [MISSING]
        is_in_force = program is not None and not outcome.problems
        self._tell_changes(outcome)
        self._settled = (self._plan.digest, self._interface) if is_in_force else None
        if self._plan.problem:
            outcome.problems.insert(0, f"{self._plan.problem}; the last good state stays")
        self._tell(self._plan.digest if is_in_force else "", outcome.problems)
        return bool(outcome.changes)

    def _keep(self, program: HostProgram, outcome: Outcome, started: float) -> None:
        """The guards of the table first, then the ways that they guard."""
        if started >= self._table_due:
            try:
                self._table.keep(program, outcome)
                self._table_problems = []
            except NodeError as error:
                self._table_problems = [str(error)]
            self._table_due = started + NFT_INTERVAL
        outcome.problems += self._table_problems
        sysctl.keep_forwarding(outcome)
        sysctl.keep_device(outcome)
        self._routing.keep(program, outcome)

    def _tell_changes(self, outcome: Outcome) -> None:
        """A change with the same plan and the same interface puts right what somebody else did."""
        is_repair = self._settled == (self._plan.digest, self._interface)
        for text in outcome.host_changes:
            log.warning("%s, because the node forwards for its pods; it stays so", text)
        for text in outcome.changes:
            if is_repair:
                log.warning("%s: somebody else had changed it", text)
            else:
                log.info("%s", text)

    def _tell(self, digest: str, problems: list[str]) -> None:
        """Each problem once for as long as it lasts."""
        if len(problems) > SHOWN:
            problems = [*problems[: SHOWN - 1], f"and {len(problems) - SHOWN + 1} more"]
        try:
            write_status(self._settings.status, digest, problems)
        except OSError as error:
            problems = [*problems, f"status file {self._settings.status}: {error.strerror}"]
        for text in problems:
            if text not in self._said:
                log.warning("%s", text)
        if self._said and not problems:
            log.warning("all is in force again" if digest else "the plan is readable again")
        self._said = set(problems)


def _interface() -> int:
    """The index of our interface, which another one of that name does not have; 0 if it is missing."""
    try:
        return socket.if_nametoindex(GATEWAY_INTERFACE)
    except OSError:
        return 0
