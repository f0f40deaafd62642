"""Controller targets that ovs-vswitchd agrees to connect to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_UNIX: Final = "unix:"
LINK_NAMES: Final = ("lace-sdn.sock", "lace-sdn-again.sock")


def permitted_targets(controller: str, remote: str) -> tuple[str, ...]:
    """Targets under which the switch of the database ``remote`` may reach ``controller``; any of them will do.

    ovs-vswitchd refuses a unix socket outside its run directory ("due to possibility for remote exploit", in its log only;
    the controller column shows nothing). So symbolic links to the socket are made in that directory, which is where a local
    database's own socket lies. Two of them: going from one to the other is the way to make a switch try again at once. Other
    targets are returned as they are. Raises OSError if a link cannot be made.
    """
    if not (controller.startswith(_UNIX) and remote.startswith(_UNIX)):
        return (controller,)
    socket, run_directory = Path(controller.removeprefix(_UNIX)), Path(remote.removeprefix(_UNIX)).parent
    links = [run_directory / name for name in LINK_NAMES]
    if not socket.is_absolute() or socket in links:
        return (controller,)
    for link in links:
        _point(link, socket)
    return tuple(f"{_UNIX}{link}" for link in links)


def _point(link: Path, socket: Path) -> None:
    """In one step: a switch that tries to connect right now finds the old one or the new one."""
    if link.is_symlink() and link.readlink() == socket:
        return
    fresh = link.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(socket)
    fresh.replace(link)
