"""The processes of a lab, found by a mark in their environment: no other process is ever signalled.

A mark is a path inside the lab's run directory. It is inherited, so it survives ``--detach`` and covers children, and it is
there from the first instruction: a process whose starter was killed before a pid file was written is found as well.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from lace_sdn.lab import LabError

_MARK = "LACE_SDN_LAB_MARK"
_LOOKS = 20
_GONE = 60.0
"""Seconds that the kernel needs at most to end what it was told to, on a busy machine."""
_STATE, _VSIZE = 3, 23
"""Numbers of fields of /proc/PID/stat (proc(5)); the state is the first one behind the name."""


def marked(mark: Path) -> dict[str, str]:
    """The environment of a process that belongs to ``mark``."""
    return {**os.environ, _MARK: str(mark)}


def find(mark: Path) -> dict[int, str]:
    """The living processes with this mark or one below it, as pid: mark; the calling process is never among them."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            its = _mark_of(int(folder.name))
            if its is not None and Path(its).is_relative_to(mark):
                found[int(folder.name)] = its
    return found


def start(arguments: list[str], mark: Path, log: Path) -> None:
    """Start a daemon in a session of its own, its output appended to ``log``."""
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=marked(mark),
            cwd="/",
            check=True,
        )


def stop(mark: Path, grace: float = 5.0) -> None:
    """End all processes of ``mark``: politely, after ``grace`` seconds by force. Returns when they are gone."""
    _signal_all(mark, signal.SIGTERM, grace)
    _signal_all(mark, signal.SIGKILL, _GONE)
    left = find(mark)
    if left:
        raise LabError(
            f"processes {sorted(left)} of {mark} do not end after SIGKILL; nothing else is removed"
        )


def run(arguments: list[str], **options: object) -> str:
    """Run a program to its end and return what it printed. Raises LabError with its message if it is missing or fails."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    except FileNotFoundError:
        raise LabError(f'the program "{arguments[0]}" is not installed; {INSTALL}') from None
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise LabError(f"`{' '.join(arguments)[:300]}` failed with status {done.returncode}: {said}")
    return str(done.stdout)


INSTALL = "apt-get install openvswitch-switch iproute2 nftables util-linux installs what a lab needs"


def _mark_of(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        for variable in _environment(pid).split(b"\0"):
            if variable.startswith(f"{_MARK}=".encode()):
                return variable.partition(b"=")[2].decode(errors="replace")
    return None


def _environment(pid: int) -> bytes:
    """A process that is just becoming another program has memory, and for a moment no environment: look again."""
    file = Path(f"/proc/{pid}/environ")
    for _ in range(_LOOKS):
        if (environment := file.read_bytes()) or not _has_memory(pid):
            return environment
        time.sleep(0.001)
    return b""


def _has_memory(pid: int) -> bool:
    """False for threads of the kernel and for what has ended: they never have an environment."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[_VSIZE - _STATE]) > 0


def _signal_all(mark: Path, number: signal.Signals, grace: float) -> None:
    """Signal and wait. A pidfd names the process itself, so a pid that was given away meanwhile is not hit."""
    deadline = time.monotonic() + grace
    for pid in find(mark):
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if _mark_of(pid) is not None:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
    for pid in find(mark):
        _await_end(pid, deadline)


def _await_end(pid: int, deadline: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        finally:
            os.close(handle)
