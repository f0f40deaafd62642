"""``python -m kernel_lab [TEST...]``: runs tests on the kernel datapath, in a machine that ends with the command.

TEST is what pytest takes, as tests/lab/test_mtu.py, or ``quickstart``; ``short`` alone: quickstart, ports used again, policies
revoked, two scenarios. Without any: quickstart, the book and the lab's tests.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_lab import machines
from kernel_lab.parts import REPOSITORY, BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable

QUICKSTART = "lace-sdn lab up --probe --name quick -f manifests/examples/quickstart.yaml && lace-sdn lab down --name quick"
PYTEST = "python -m pytest -v --color=no -p no:cacheprovider --durations=10"
EVERYTHING = ("quickstart", "tests", "-m", "lab")
BOOK = "tests/book/test_book_lab.py::test_real_packets_go_where_the_book_says"
SHORT = (
    "quickstart", "tests/lab/test_port_reuse.py", "tests/lab/test_revocation.py",
    f"{BOOK}[one-way-peering]", f"{BOOK}[nodeport-cluster]",
)  # fmt: skip


def main() -> int:
    """The exit status is that of what ran inside; 2 if no machine could be had."""
    parser = argparse.ArgumentParser(prog="kernel_lab", description=__doc__)
    parser.add_argument("tests", nargs=argparse.REMAINDER, metavar="[--] TEST...")
    parser.add_argument(
        "--run", metavar="COMMAND", help="run this shell command in the work tree instead of tests"
    )
    parser.add_argument(
        "--machine", choices=machines.ALL, help="only this kind; otherwise the first that works"
    )
    parser.add_argument(
        "--limit", type=int, default=7200, metavar="SECONDS", help="the whole run may take (7200)"
    )
    options = parser.parse_args()
    tests = options.tests[options.tests[:1] == ["--"] :]
    command = options.run or command_for(SHORT if tests == ["short"] else tests or EVERYTHING)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if os.geteuid() != 0:
        parser.error("it makes a root file system, and the machine's namespaces: run it as root")
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="kernel-lab-") as share:
            prepare(Path(share), command)
            status = machines.run(Path(share), options.machine, options.limit)
    except BuildError as error:
        print(f"kernel-lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("kernel-lab: interrupted; the machine is gone", file=sys.stderr)
        return 128 + signal.SIGINT
    print(f"kernel-lab: exit status {status} after {time.monotonic() - began:.0f} s")
    return status


def command_for(words: Iterable[str]) -> str:
    """What the machine's shell is to run; all of it runs, and the first failure is its exit status."""
    rest = list(words)
    lines = ["status=0"]
    if "quickstart" in rest:
        rest.remove("quickstart")
        lines.append(f"{{ {QUICKSTART}; }} || status=$?")
    if rest:
        lines.append(f"{PYTEST} {shlex.join(rest)} || status=$?")
    return "\n".join([*lines, "exit $status"])


def prepare(share: Path, command: str) -> None:
    """What the machine sees: a copy of the work tree as it is now, and the command."""
    (share / "repository").mkdir()
    (share / "command").write_text(f"{command}\n")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True).stdout
    present = [
        name for name in names.split(b"\0") if name and os.path.lexists(REPOSITORY / os.fsdecode(name))
    ]
    archive = ["tar", "--create", "--null", "--files-from=-", "--file=-"]
    packed = subprocess.run(
        archive, cwd=REPOSITORY, input=b"\0".join(present), capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "--extract", "--file=-"], cwd=share / "repository", input=packed, check=True)


if __name__ == "__main__":
    raise SystemExit(main())
