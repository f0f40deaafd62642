"""``.ci/isolated``: whatever a test run starts, creates or forgets ends with it."""

from __future__ import annotations

import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
BOUND_S = 20.0


def start(script: str) -> subprocess.Popen[str]:
    # A background job ignores SIGINT, and so would all that it starts.
    command = ["env", "--default-signal=INT", ".ci/isolated", "sh", "-c", script]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def await_end_of(argument: str) -> None:
    """Returns when no process has ``argument`` in its command line; fails after a bound."""
    end = time.monotonic() + BOUND_S
    while any(argument in command for command in command_lines()):
        assert time.monotonic() < end, f"a process with {argument} is still there"
        time.sleep(0.02)


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return found


def test_exit_status_is_passed_on() -> None:
    with start("exit 7") as run:
        assert run.wait(BOUND_S) == 7


def test_what_it_leaves_behind_is_gone() -> None:
    """A daemon, a network namespace and an interface that nobody removed."""
    name = f"left{secrets.token_hex(4)}"
    with start(
        f"ip netns add {name}; ip link add {name} type dummy; tail -F /none/{name} 2>/dev/null & true"
    ) as run:
        run.wait(BOUND_S)
    await_end_of(name)
    assert not Path("/run/netns", name).exists()
    assert not Path("/sys/class/net", name).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=str)
def test_nothing_outlives_an_interruption(number: signal.Signals) -> None:
    mark = secrets.token_hex(8)
    with start(f"ip netns add n{mark}; sleep 600 & echo ready; exec tail -F /none/{mark} 2>/dev/null") as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(number)
        run.wait(BOUND_S)
    await_end_of(mark)
    assert not Path("/run/netns", f"n{mark}").exists()


def test_what_others_remove_from_run_stays_inside(tmp_path: Path) -> None:
    """The kernel lets rmdir of a folder detach what another mount namespace has mounted on it."""
    ready, removed = tmp_path / "ready", tmp_path / "removed"
    inside = f"mkdir -p /run/lace-sdn/mine; touch {ready}; until [ -e {removed} ]; do sleep 0.02; done; test -d /run/lace-sdn/mine"
    outside = f"until [ -e {ready} ]; do sleep 0.02; done; rmdir /run/lace-sdn && touch {removed} && wait $!"
    with start(f"mkdir -p /run/lace-sdn; .ci/isolated sh -c '{inside}' & {outside}") as run:
        assert run.wait(BOUND_S) == 0
