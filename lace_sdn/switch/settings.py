"""What the datapath of a node is set to, as values. No I/O here; ``lace_sdn.switch.datapath`` carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Setting:
    """Commands are those of ovs-appctl(8), without the datapath, which comes behind their name.

    ``read`` shows the setting; ``in_force``: a regular expression that then matches a whole line of the answer; ``write`` sets it, as
    often as one likes.
    """

    name: str
    read: tuple[str, ...]
    in_force: str
    write: tuple[str, ...]


SETTINGS: Final[dict[str, tuple[Setting, ...]]] = {
    # Both ends may remember a connection longer than conntrack does, or otherwise (docs/decisions/0026).
    "netdev": (
        Setting(
            "conntrack's TCP sequence check is off",
            read=("dpctl/ct-get-tcp-seq-chk",),
            in_force="TCP sequence checking: disabled",
            write=("dpctl/ct-disable-tcp-seq-chk",),
        ),
    ),
}
"""What a datapath is set to, by its type (Bridge.datapath_type of ovs-vswitchd.conf.db(5)). Types that are not named are left alone."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What ``keep`` did: names of settings that were not in force and are now, and what could not be done, in words."""

    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
