"""A program as text that a reviewer reads and ovs-ofctl takes: a heading a table, a comment naming whom flows belong to."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from lace_sdn.pipeline.tables import TABLE_BY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.openflow.flow import BridgeProgram


def flows_text(program: BridgeProgram) -> str:
    """What ``NODE.flows`` holds. Ends with a line end; "" without flows."""
    return "".join(f"{line}\n" for line in _flow_lines(program))


def groups_text(program: BridgeProgram) -> str:
    """What ``NODE.groups`` holds. Ends with a line end; "" without groups."""
    return "".join(f"# {group.owner}\n{group}\n" for group in program.groups)


def meters_text(program: BridgeProgram) -> str:
    """What ``NODE.meters`` holds. Ends with a line end; "" without meters."""
    return "".join(f"# {meter.owner}\n{meter}\n" for meter in program.meters)


def _flow_lines(program: BridgeProgram) -> Iterator[str]:
    for number, flows in groupby(program.flows, key=lambda flow: flow.table):
        if number:
            yield ""
        yield f"# {table_heading(number)}"
        for owner, owned in groupby(flows, key=lambda flow: flow.owner):
            yield f"# {owner}"
            yield from map(str, owned)


def table_heading(number: int) -> str:
    """``--- table 30 DestinationNetwork: Which network ...``, or the bare number for a table of somebody else."""
    table = TABLE_BY_NUMBER.get(number)
    return f"--- table {number} {table.name}: {table.decides}" if table else f"--- table {number}"
