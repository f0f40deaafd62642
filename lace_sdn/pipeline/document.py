"""The tables and registers as Markdown, from their declarations: the generated part of docs/pipeline.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.pipeline.registers import REGISTERS, RegField
from lace_sdn.pipeline.tables import TABLES, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = "<!-- generated from lace_sdn.pipeline: make docs -->"
END = "<!-- end of the generated part -->"


def generated_part() -> str:
    """From ``BEGIN`` to ``END``, both included, without a line end."""
    return "\n".join(_lines())


def with_generated_part(document: str) -> str:
    """``document`` with its generated part brought up to date. Raises ValueError if the marks are not there, once each."""
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError(f"expected one line {BEGIN!r} and one line {END!r} after it")
    before, _, rest = document.partition(BEGIN)
    return before + generated_part() + rest.partition(END)[2]


def _lines() -> Iterator[str]:
    yield BEGIN
    yield ""
    yield "| # | Table | Decides | Goes on to |"
    yield "|---:|---|---|---|"
    yield from map(_table_row, TABLES)
    yield ""
    yield "| Name | Bits | Meaning |"
    yield "|---|---|---|"
    yield from map(_register_row, REGISTERS)
    yield ""
    yield END


def _table_row(table: Table) -> str:
    after = ", ".join(map(str, table.next)) or "-"
    return f"| {table.number} | {table.name} | {table.decides} | {after} |"


def _register_row(register: RegField) -> str:
    bits = f"{register.low}" if register.low == register.high else f"{register.low}..{register.high}"
    return f"| {register.name} | `{register.field.name}[{bits}]` | {register.meaning} |"
