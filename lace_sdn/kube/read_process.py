"""Reads files of manifests as a process of its own: ``python -m lace_sdn.kube.read_process FD SECONDS BYTES``.

Reading costs what a tenant's file makes it cost, and Python reads nothing beside it meanwhile: so it happens where it can be ended. Requests
are lines of JSON over the socket that is inherited as FD. An answer is one line for each object, then one with everything else and the
request's number. Each request may take SECONDS of processor time, the process BYTES of memory; what takes more ends it, by SIGXCPU or the status ``NO_MEMORY``.
"""

from __future__ import annotations

import gc
import json
import os
import pathlib
import resource
import socket
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO, Final

from lace_sdn.kube.entries import entry_of
from lace_sdn.kube.manifests import Manifests, parse, read_file, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_MEMORY: Final = 3
"""Exit status."""
MOST_OBJECTS: Final = 10_000
"""Of one file."""
MOST_PROBLEMS: Final = 100
"""That are said of one file."""
LARGEST_OBJECT: Final = 4 * 2**20
"""Bytes of its line: whoever reads that does nothing else meanwhile. Kubernetes takes no object above 1.5 MiB (etcd)."""
LOW_PRIORITY: Final = 10
"""Added to the nice value: switches are answered first."""


def answer(found: Manifests, name: str, number: int) -> Iterator[str]:
    """The lines of an answer to request ``number``."""
    if len(found.objects) > MOST_OBJECTS:
        found = unreadable(name, 0, f"has more than {MOST_OBJECTS} objects", "the file is left out")
    entries = [entry_of(manifest) for manifest in found.objects]
    if any(len(each) > LARGEST_OBJECT for each in entries):
        entries, found = [], unreadable(name, 0, "has an object that is too large", "the file is left out")
    yield from entries
    problems = [asdict(problem) for problem in found.problems[:MOST_PROBLEMS]]
    refused = [asdict(identity) for identity in sorted(found.refused)]
    names = {
        "unreadable": sorted(found.unreadable),
        "failed": sorted(found.failed),
        "hidden": sorted(found.hidden),
    }
    yield json.dumps({"number": number, "problems": problems, "refused": refused, **names})


def serve(connection: socket.socket, seconds: int) -> None:
    """Until the other side closes."""
    with connection.makefile("rb") as requests, connection.makefile("wb") as answers:
        for line in requests:
            _allow(seconds)
            request = json.loads(line)
            found = read_file(pathlib.Path(request["path"]), request["name"])
            _say(answers, answer(found, request["name"], request["number"]))
            del found
            gc.collect()


def _say(answers: BinaryIO, lines: Iterator[str]) -> None:
    answers.writelines(text.encode() + b"\n" for text in lines)
    answers.flush()


def _allow(seconds: int) -> None:
    """From now on. Whole seconds are what the kernel counts (setrlimit(2)): at least ``seconds``, at most one more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def main() -> None:
    """The process, with its limits."""
    descriptor, seconds, memory = map(int, sys.argv[1:])
    os.nice(LOW_PRIORITY)
    # No core file of a process that was ended for what it read.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # Values of YAML are many and have no cycles.
    gc.disable()
    parse(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: warm}\n", ""
    )  # schemas are loaded by the first object
    connection = socket.socket(fileno=descriptor)
    # A parent with greenthreads makes its sockets such that they wait for nothing, and this one is shared with it as it is:
    # no request yet would be taken for the end, and an answer larger than the socket's buffer would be a failure.
    connection.setblocking(True)
    try:
        serve(connection, seconds)
    except MemoryError:
        os._exit(NO_MEMORY)
    except (BrokenPipeError, ConnectionResetError):
        pass


if __name__ == "__main__":
    main()
