"""What every bridge promises, the real one and the fake: the words that the controller may use. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from lace_sdn.openflow.flow import COOKIE_OWNER, LEARNED_CATEGORY, BridgeProgram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lace_sdn.openflow.diff import Delta
    from lace_sdn.openflow.wire import ConnectionFilter, Metered

REFUSALS_A_SECOND: Final = 1000
"""Packets of one bridge that go to the controller, refused or too large. Above, the switch takes them from each port in turn."""


class SwitchLost(ConnectionError):  # noqa: N818 (what happened, not a mistake)
    """The connection went, or the switch did not answer in time: what was asked may or may not have been done.

    The bridge object is of no more use. The switch comes back as a new one; dump that before anything else.
    """


@dataclass(frozen=True, slots=True)
class Refusal:
    """One message that the switch refused: its text (ovs-ofctl's), the objects behind it, and the switch's reason."""

    text: str
    owner: str
    reason: str

    def __str__(self) -> str:
        owner = f" of {self.owner}" if self.owner else ""
        return f"{self.text!r}{owner}: {self.reason}"


class BundleRefused(Exception):  # noqa: N818 (what happened, not a mistake)
    """The switch refused a bundle. Nothing of it was applied. ``refusals`` names each message that was the cause."""

    def __init__(self, bridge: str, refusals: tuple[Refusal, ...]) -> None:
        self.bridge = bridge
        self.refusals = refusals
        causes = "; ".join(map(str, refusals[:5]))
        more = f"; and {len(refusals) - 5} more" if len(refusals) > 5 else ""
        super().__init__(f"bridge {bridge} refused the change, nothing of it was applied: {causes}{more}")


@dataclass(frozen=True, slots=True)
class ForeignFlow:
    """A flow that is not ours. ``text``: ovs-ofctl's, or just table, priority and cookie if it uses what we cannot read."""

    table: int
    priority: int
    cookie: int
    text: str


@dataclass(frozen=True, slots=True)
class Installed:
    """What a bridge holds: ours as a program, and what somebody else put there. What the bridge learned by itself is neither.

    Groups have no cookie: a group is foreign when a foreign flow leads to it and none of ours does.
    """

    program: BridgeProgram
    foreign_flows: tuple[ForeignFlow, ...] = ()
    foreign_groups: tuple[int, ...] = ()


class ProgrammableBridge(Protocol):
    """A bridge whose flows can be read and changed. Methods block the calling greenthread and always end."""

    @property
    def datapath_id(self) -> int: ...

    @property
    def address(self) -> str:
        """Of the switch's end of the connection; of a bridge that was called, the path of its own socket."""

    @property
    def is_connected(self) -> bool: ...

    def dump(self) -> Installed:
        """Raises SwitchLost."""

    def commit(self, delta: Delta) -> None:
        """All of ``delta`` or nothing, in force on return; an empty one sends nothing. Raises BundleRefused, SwitchLost."""

    def metered(self) -> Mapping[int, Metered]:
        """What each meter of ours has counted, by its number. Raises SwitchLost."""

    def flush_zone(self, zone: int) -> None:
        """Forget every connection of a conntrack zone (0..65535). Raises SwitchLost."""

    def flush_connections(self, which: Sequence[ConnectionFilter]) -> None:
        """Forget the connections that are like any of these, in all zones. Raises SwitchLost."""


def is_ours(cookie: int) -> bool:
    """Whether a flow with this cookie belongs to Lace SDN."""
    return cookie >> 48 == COOKIE_OWNER


OURS: Final = (COOKIE_OWNER << 48, 0xFFFF << 48 | LEARNED_CATEGORY << 40)
"""Cookie and mask of all flows of ours that were not learned."""
OTHERS: Final = tuple((~(COOKIE_OWNER << 48) & 1 << bit, 1 << bit) for bit in range(48, 64))
"""Cookies and masks: a flow that is not ours has at least one of them."""


def is_learned(cookie: int) -> bool:
    """Whether a flow with this cookie was learned by the switch, from a flow of Lace SDN."""
    return is_ours(cookie) and cookie >> 40 & 0xFF == LEARNED_CATEGORY
