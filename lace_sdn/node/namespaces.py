"""Inside network namespaces, by their paths. Never in a process patched by eventlet."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pyroute2 import IPRoute, config, netns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 120
"""Seconds for a namespace that a child process of pyroute2 makes; its own 2 pass on a busy machine."""
config.default_communicate_timeout = PATIENCE


@contextlib.contextmanager
def inside(path: Path | str) -> Iterator[None]:
    """Put the calling thread into the namespace; sockets made there stay there. Raises OSError if it is none."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(path, os.O_RDONLY)
        try:
            netns.setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            netns.setns(home)
    finally:
        os.close(home)


@contextlib.contextmanager
def netlink(path: Path | str) -> Iterator[IPRoute]:
    """A netlink socket of the namespace, for links, addresses, routes and neighbours. Raises OSError if it is none."""
    with inside(path):
        route = IPRoute()
    with route:
        yield route
