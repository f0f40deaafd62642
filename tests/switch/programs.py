"""Programs for the tests: a node of the book, and as many plain flows as one likes."""

from __future__ import annotations

from pathlib import Path

from lace_sdn.openflow.flow import BridgeProgram, Flow, program
from lace_sdn.openflow.text import parse_flow, parse_group

BOOK = Path(__file__).parents[2] / "flows"
OURS = "cookie=0x1ace010000000000"


def of_book(scenario: str, node: str) -> BridgeProgram:
    """A node's flows of the book of flow tables."""
    lines = (BOOK / scenario / f"{node}.flows").read_text().splitlines()
    return flows(*(line for line in lines if line and not line.startswith("#")))


def flows(*lines: str, groups: tuple[str, ...] = ()) -> BridgeProgram:
    """A program of flows and groups in ovs-ofctl's text."""
    return program(map(parse_flow, lines), map(parse_group, groups))


def many(count: int) -> BridgeProgram:
    """``count`` flows of the kind that fills tables: a network and an address to a register and the next table."""
    return BridgeProgram(tuple(_numbered(number) for number in range(count)))


def _numbered(number: int) -> Flow:
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return parse_flow(
        f"{OURS}, table=30, priority=132,ip,reg1=0x7,nw_dst={address} "
        f"actions=set_field:{number + 1:#x}->reg2,set_field:0x100/0x100->reg0,goto_table:37"
    )
