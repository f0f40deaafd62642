"""Programs for the tests: a node of the book, and as many plain flows as one likes."""

from __future__ import annotations

from pathlib import Path

from lace_sdn.openflow.flow import BridgeProgram, Flow, program
from lace_sdn.openflow.text import parse_flow, parse_group, parse_meter

BOOK = Path(__file__).parents[2] / "flows"
OURS = "cookie=0x1ace010000000000"


def of_book(scenario: str, node: str) -> BridgeProgram:
    """A node's flows and meters of the book of flow tables."""
    folder = BOOK / scenario
    return flows(*_lines(folder / f"{node}.flows"), meters=_lines(folder / f"{node}.meters"))


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(line for line in file.read_text().splitlines() if line and not line.startswith("#"))


def flows(*lines: str, groups: tuple[str, ...] = (), meters: tuple[str, ...] = ()) -> BridgeProgram:
    """A program of flows, groups and meters in ovs-ofctl's text."""
    return program(map(parse_flow, lines), map(parse_group, groups), map(parse_meter, meters))


def many(count: int) -> BridgeProgram:
    """``count`` flows of the kind that fills tables: a network and an address to a register and the next table."""
    return BridgeProgram(tuple(_numbered(number) for number in range(count)))


def _numbered(number: int) -> Flow:
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return parse_flow(
        f"{OURS}, table=30, priority=132,ip,reg1=0x7,nw_dst={address} "
        f"actions=set_field:{number + 1:#x}->reg2,set_field:0x100/0x100->reg0,goto_table:37"
    )
