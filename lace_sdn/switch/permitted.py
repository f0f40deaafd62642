"""Controller targets that ovs-vswitchd agrees to connect to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_UNIX: Final = "unix:"
LINK_NAME: Final = "lace-sdn.sock"


def permitted_target(controller: str, remote: str) -> str:
    """The target under which the switch of the database ``remote`` may reach ``controller``.

    ovs-vswitchd refuses a unix socket outside its run directory ("due to possibility for remote exploit", in its log only;
    the controller column shows nothing). For such a socket a symbolic link is made in that directory, which is where a local
    database's own socket lies. Other targets are returned as they are. Raises OSError if the link cannot be made.
    """
    if not (controller.startswith(_UNIX) and remote.startswith(_UNIX)):
        return controller
    socket, run_directory = Path(controller.removeprefix(_UNIX)), Path(remote.removeprefix(_UNIX)).parent
    if not socket.is_absolute() or socket.is_relative_to(run_directory):
        return controller
    link = run_directory / LINK_NAME
    if not (link.is_symlink() and link.readlink() == socket):
        # Replaced in one step: a switch that tries to connect right now finds the old one or the new one.
        fresh = link.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(socket)
        fresh.replace(link)
    return f"{_UNIX}{link}"
