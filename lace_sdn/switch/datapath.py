"""Settings of a node's datapath, over ovs-vswitchd's control socket (ovs-appctl(8)): read, and set where they are not in force.

ovs-vswitchd forgets them when it ends, and nothing in its database can hold them, so ``keep`` is called again and again.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import eventlet
from ovs.unixctl.client import UnixctlClient

from lace_sdn.switch.settings import LIMITED, READ_LIMITS, SETTINGS, Kept, read_limits, write_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.switch.settings import Setting

ANSWER_TIMEOUT: Final = 5.0
"""Seconds for one command: each is a look into memory, but the daemon may be busy with a large change."""
_UNIX: Final = "unix:"


class NoAnswer(Exception):  # noqa: N818 (what happened, not a mistake)
    """The daemon cannot be asked anything now; the text says where and why."""


class CommandRefused(Exception):  # noqa: N818 (what happened, not a mistake)
    """The daemon does not do this one command; the text says why."""


@dataclass(frozen=True, slots=True)
class Datapath:
    """The datapath of type ``kind`` of the Open vSwitch whose database is at ``remote`` (ovsdb(7))."""

    remote: str
    kind: str

    @property
    def name(self) -> str:
        """As dpctl wants it: the one that all bridges of a type share (ovs-dpctl(8))."""
        return f"{self.kind}@ovs-{self.kind}"

    def keep(self, limits: Mapping[int, int] | None = None) -> Kept:
        """Have every setting of this type of datapath in force. Blocks the greenthread, always ends, raises nothing.

        ``limits``: entries that conntrack may have, by zone. Other zones are left alone.
        """
        changed: list[str] = []
        problems: list[str] = []
        for setting in SETTINGS.get(self.kind, ()):
            try:
                if not self._is_in_force(setting):
                    self._ask(setting.write)
                    changed.append(setting.name)
            except CommandRefused as error:
                problems.append(f"not in force: {setting.name}: {error}")
            except NoAnswer as error:
                # Nor will it answer the next question: flows wait for us.
                problems.append(f"not known to be in force: {setting.name}, and what comes after it: {error}")
                return Kept(tuple(changed), tuple(problems))
        counts = self._keep_limits(limits or {}, changed, problems)
        return Kept(tuple(changed), tuple(problems), counts)

    def _keep_limits(
        self, limits: Mapping[int, int], changed: list[str], problems: list[str]
    ) -> dict[int, int]:
        """How many entries each of the zones has."""
        if not limits or self.kind not in LIMITED:
            return {}
        try:
            found = read_limits(self._ask(READ_LIMITS))
            wrong = {
                zone: limit
                for zone, limit in limits.items()
                if zone not in found or found[zone].limit != limit
            }
            for command in write_limits(wrong):
                self._ask(command)
        except (CommandRefused, NoAnswer) as error:
            problems.append(f"not known to be in force: limits of conntrack zones: {error}")
            return {}
        changed.extend([f"limits of {len(wrong)} conntrack zones"] if wrong else [])
        return {zone: each.entries for zone, each in found.items() if zone in limits}

    def _is_in_force(self, setting: Setting) -> bool:
        lines = self._ask(setting.read).splitlines()
        return any(re.fullmatch(setting.in_force, line.strip()) for line in lines)

    def _ask(self, command: tuple[str, ...]) -> str:
        """What the daemon says to ``command``, about this datapath. Raises NoAnswer, CommandRefused."""
        socket = _control_socket(self.remote)
        shown = f"{command[0]} at {socket}"
        bound = eventlet.Timeout(ANSWER_TIMEOUT)
        try:
            with bound:
                error, client = UnixctlClient.create(str(socket))
                if error:
                    raise NoAnswer(f"{shown}: {os.strerror(error)}")
                try:
                    error, refusal, answer = client.transact(command[0], [self.name, *command[1:]])
                finally:
                    client.close()
        except eventlet.Timeout as expired:
            if expired is not bound:
                raise
            raise NoAnswer(f"{shown}: no answer within {ANSWER_TIMEOUT:g} s") from None
        if error:
            raise NoAnswer(f"{shown}: {_reason(error)}")
        if refusal:
            raise CommandRefused(f"{shown}: {str(refusal).strip()}")
        return str(answer)


def _control_socket(remote: str) -> Path:
    """Where ovs-appctl would look: in the run directory, which is where a local database's socket lies. Raises NoAnswer.

    The pid in the file is that of the daemon's own pid namespace, so nothing is asked of the process itself.
    """
    if not remote.startswith(_UNIX):
        raise NoAnswer(
            f"the database is at {remote}, on another machine: set it there, by ovs-appctl, at every start of ovs-vswitchd"
        )
    run_directory = Path(remote.removeprefix(_UNIX)).parent
    pid_file = run_directory / "ovs-vswitchd.pid"
    try:
        return run_directory / f"ovs-vswitchd.{int(pid_file.read_text())}.ctl"
    except OSError as error:
        raise NoAnswer(f"{pid_file}: {error.strerror}") from None
    except ValueError:
        raise NoAnswer(f"{pid_file} holds no process id") from None


def _reason(error: int) -> str:
    """ovs.util: a positive number is of errno, EOF is -1."""
    return os.strerror(error) if error > 0 else "it ended before it answered"
