"""Network namespaces with names, as ``ip netns`` makes them. Never in a process patched by eventlet."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from pyroute2 import netns

from lace_sdn.node import namespaces

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pyroute2 import IPRoute

FOLDER = Path("/run/netns")


def exists(name: str) -> bool:
    """Whether the namespace is whole: a name without a namespace behind it, as a killed command leaves it, is not."""
    try:
        return (FOLDER / name).stat().st_dev != FOLDER.stat().st_dev
    except FileNotFoundError:
        return False


def identity(name: str) -> int:
    """A number that tells a namespace from another that had the same name. Raises FileNotFoundError."""
    return (FOLDER / name).stat().st_ino


def holds(name: str, pid: int) -> bool:
    """Whether the process lives in the namespace that has this name now."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == identity(name)
    except FileNotFoundError:
        return False


def ensure(name: str) -> None:
    """Create the namespace unless it is there."""
    if not exists(name):
        remove(name)
        netns.create(name)


def remove(name: str) -> None:
    """Remove the namespace's name, if there is one; the kernel ends the namespace with its last process and socket."""
    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)


def names(prefix: str) -> list[str]:
    """All names that begin with ``prefix``, also of half-made namespaces."""
    return sorted(name for name in netns.listnetns() if name.startswith(prefix))


def inside(name: str) -> AbstractContextManager[None]:
    """Put the calling thread into the namespace; sockets made there stay there. Raises FileNotFoundError."""
    return namespaces.inside(FOLDER / name)


def netlink(name: str) -> AbstractContextManager[IPRoute]:
    """A netlink socket of the namespace, for links, addresses, routes and neighbours. Raises FileNotFoundError."""
    return namespaces.netlink(FOLDER / name)


def command(name: str, *arguments: str) -> list[str]:
    """The command line that runs ``arguments`` in the namespace; it becomes that program, so exit status and pid are its own."""
    return ["nsenter", f"--net={FOLDER / name}", "--", *arguments]


def command_with_sys(name: str, *arguments: str) -> list[str]:
    """As ``command``, with a /sys that shows the devices of the namespace, as ``ip netns exec`` does."""
    mounts = 'mount -t sysfs sysfs /sys && exec "$@"'
    return command(
        name, "unshare", "--mount", "--propagation=slave", "--", "sh", "-c", mounts, "sh", *arguments
    )
