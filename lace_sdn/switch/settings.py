"""What the datapath of a node is set to, as values. No I/O here; ``lace_sdn.switch.datapath`` carries it out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
        # All pods' fragments wait in one place, 15 s for the rest of their datagram: a pod that never sends it fills the default of 1000
        # with 67 a second. 5000 is the most that Open vSwitch takes (docs/decisions/0025).
        Setting(
            "conntrack keeps up to 5000 fragments",
            read=("dpctl/ipf-get-status",),
            in_force=r"max num frags \(v4/v6\): 5000",
            write=("dpctl/ipf-set-max-nfrags", "5000"),
        ),
    ),
}
"""What a datapath is set to, by its type (Bridge.datapath_type of ovs-vswitchd.conf.db(5)). Types that are not named are left alone."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What ``keep`` did: names of settings that were not in force and are now, and what could not be done, in words.

    ``connections``: how many entries each conntrack zone with a limit has now.
    """

    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    connections: Mapping[int, int] = field(default_factory=dict)


LIMITED: Final = frozenset({"netdev", "system"})
"""Types of datapath whose conntrack zones get limits."""
READ_LIMITS: Final = ("dpctl/ct-get-limits",)
_LIMIT: Final = re.compile(r"zone=(\d+),limit=(\d+),count=(\d+)", re.ASCII)
_ZONES_A_COMMAND: Final = 500


class ZoneLimit(NamedTuple):
    """Of one conntrack zone: entries that it may have, and that it has."""

    limit: int
    entries: int


def read_limits(answer: str) -> dict[int, ZoneLimit]:
    """By zone, what ``READ_LIMITS`` shows."""
    found = (_LIMIT.fullmatch(line.strip()) for line in answer.splitlines())
    numbers = (tuple(map(int, each.groups())) for each in found if each)
    return {zone: ZoneLimit(limit, count) for zone, limit, count in numbers}


def write_limits(limits: Mapping[int, int]) -> Iterator[tuple[str, ...]]:
    """Commands that set these, by zone. A limit for every zone by itself: in userspace the default is one count for all zones together."""
    words = [f"zone={zone},limit={limit}" for zone, limit in sorted(limits.items())]
    for start in range(0, len(words), _ZONES_A_COMMAND):
        yield ("dpctl/ct-set-limits", *words[start : start + _ZONES_A_COMMAND])
