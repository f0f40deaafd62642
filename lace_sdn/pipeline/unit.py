"""A unit of compilation: a frozen value that names all its inputs. Equal units yield equal flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lace_sdn.openflow.flow import Flow, Group, Meter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.openflow.actions import Action
    from lace_sdn.openflow.match import Match
    from lace_sdn.pipeline.tables import Table


class Unit(Protocol):
    """Hashable, so that a compiler can keep the flows of a unit for as long as it is asked for."""

    def flows(self) -> Iterator[Flow]: ...

    def __hash__(self) -> int: ...


@runtime_checkable
class GroupUnit(Protocol):
    """A unit that also needs groups."""

    def select_groups(self) -> Iterator[Group]: ...


@runtime_checkable
class MeterUnit(Protocol):
    """A unit that also needs meters."""

    def meters(self) -> Iterator[Meter]: ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a unit's flows belong to: the cookie, and the words for humans."""

    cookie: int
    text: str

    def flow(self, table: Table, priority: int, match: Match, *actions: Action) -> Flow:
        """A flow of this owner; no action at all drops."""
        return Flow(table.number, priority, match, actions, self.cookie, self.text)
