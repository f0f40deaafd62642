"""Who reaches whom as a grid: a row for each source, a column for each destination, both numbered so that grids stay narrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lace_sdn.policy.ends import HOST_PREFIX, NODE_PREFIX, SERVICE_PREFIX
from lace_sdn.policy.reachability import Outcome, probe_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rich.console import Console, ConsoleOptions, RenderResult

    from lace_sdn.policy.oracle import Connection

_GAP = 4
_AFTER_PODS = (HOST_PREFIX, NODE_PREFIX, SERVICE_PREFIX)


@dataclass(frozen=True)
class Marks:
    """One character for each kind of cell."""

    everything: str
    some: str
    nothing: str
    refused: str
    different: str

    @property
    def all(self) -> str:
        return f"{self.everything}{self.some}{self.nothing}{self.refused}{self.different}"

    @classmethod
    def of(cls, encoding: str) -> Marks:
        """The symbols, or ASCII where ``encoding`` (of standard output) cannot carry them."""
        try:
            SYMBOLS.all.encode(encoding)
        except UnicodeEncodeError:
            return ASCII
        return SYMBOLS


SYMBOLS: Final = Marks("●", "◐", "·", "○", "■")
ASCII: Final = Marks("#", "+", ".", "x", "!")


def legend(encoding: str) -> Text:
    """Everything: declared ports and ICMP, a node's NodePorts too, a Service's ports, in each address family that both have."""
    marks = Marks.of(encoding)
    return Text.assemble(
        (f"{marks.everything} ", "green"), "everything  ", (f"{marks.some} ", "yellow"), "some of it  ",
        (f"{marks.nothing} ", "dim"), "nothing  ", (f"{marks.refused} ", "magenta"), "refused at once  ",
        (f"{marks.different} ", "bold white on red"), "not as intended",
        style="dim",
    )  # fmt: skip


def matrix_table(
    outcomes: Mapping[Connection, str],
    title: str = "intended",
    different: Collection[Connection] = (),
    encoding: str = "utf-8",
) -> Table:
    """A grid of outcomes (``allow``, ``reject``, others); cells with one of ``different`` are marked.

    Pods, then hosts, nodes and Services; these are columns only.
    """
    ends = {name for each in outcomes for name in (each.source, each.destination)}
    names = sorted(ends, key=lambda name: (_kind(name), name))
    cells: dict[tuple[str, str], list[Connection]] = {}
    for connection in outcomes:
        cells.setdefault((connection.source, connection.destination), []).append(connection)
    marks = Marks.of(encoding)
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("from \\ to", no_wrap=True)
    for number in range(1, len(names) + 1):
        table.add_column(str(number), justify="right", min_width=2, no_wrap=True)
    for number, source in enumerate(names, start=1):
        row = [
            _cell(cells.get((source, destination), []), outcomes, different, marks) for destination in names
        ]
        table.add_row(f"{number:>2} {source}", *row)
    return table


@dataclass(frozen=True)
class Matrices:
    """What real packets did, and beside it (below it where the terminal is narrow) what the objects mean."""

    intended: Mapping[Connection, str]
    found: Mapping[Connection, str]
    different: Collection[Connection]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = matrix_table(self.found, "probed with real packets", self.different, options.encoding)
        intended = matrix_table(self.intended, "intended", encoding=options.encoding)
        width = sum(console.measure(table).maximum for table in (found, intended))
        if width + _GAP <= options.max_width:
            beside = Table.grid(padding=(0, _GAP))
            beside.add_row(found, intended)
            yield beside
        else:
            yield Group(found, Text(), intended)
        yield Text()
        yield legend(options.encoding)


def connection_name(connection: Connection) -> str:
    """``shop/web-0 -> shop/db-0 tcp/5432 v4``."""
    probe = probe_name(connection.protocol, connection.port)
    return f"{connection.source} -> {connection.destination} {probe} v{connection.family}"


def _kind(name: str) -> int:
    """0 for pods; others in the order of ``_AFTER_PODS``."""
    return next((place for place, kind in enumerate(_AFTER_PODS, start=1) if name.startswith(kind)), 0)


def _cell(
    asked: list[Connection],
    outcomes: Mapping[Connection, str],
    different: Collection[Connection],
    marks: Marks,
) -> Text:
    if not asked:
        return Text(" ")
    passing = sum(outcomes[connection] == Outcome.ALLOW for connection in asked)
    sign, style = marks.nothing, "dim"
    if passing:
        sign, style = (marks.everything, "green") if passing == len(asked) else (marks.some, "yellow")
    elif all(outcomes[connection] == Outcome.REJECT for connection in asked):
        sign, style = marks.refused, "magenta"
    if any(connection in different for connection in asked):
        return Text(sign if passing else marks.different, style="bold white on red")
    return Text(sign, style=style)
