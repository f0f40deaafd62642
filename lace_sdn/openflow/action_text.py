"""Reads lists of actions as dumps print them. Every error is a ValueError that quotes the action and says what was expected."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from lace_sdn.openflow.actions import (
    LEARNED_PRIORITY,
    SET_NAMES,
    CheckPktLarger,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    Goto,
    GroupAction,
    InPort,
    Learn,
    MeterAction,
    Move,
    Nat,
    Output,
    OutputTo,
    Pop,
    Push,
    Resubmit,
    SetField,
)
from lace_sdn.openflow.fields import FIELD_BY_NAME, FIELD_BY_NXM, Field, Port, Slice, Term
from lace_sdn.openflow.match import parse_number, parse_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.openflow.actions import Action, Actions

FIELD_BY_SET_NAME: Final[dict[str, Field]] = {
    SET_NAMES.get(each, each.name): each for each in FIELD_BY_NAME.values()
}

_SLICE: Final = re.compile(r"([A-Z]\w*)\[(?:(\d+)(?:\.\.(\d+))?)?\]")
_ACTION: Final = re.compile(r"(\w+)(?::(.*)|\((.*)\)(->.*)?)?", re.DOTALL)
_NAT: Final = re.compile(r"(src|dst)(?:=(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>.+?))(?::(?P<port>\d+))?)?")
_SINGLE_WORDS: Final[dict[str, Action]] = {
    "IN_PORT": InPort(),
    "in_port": InPort(),
    "dec_ttl": DecTtl(),
    "ct_clear": CtClear(),
    **{name: Output(number) for number, name in Port.NAMES.items()},
}


def parse_actions(text: str) -> Actions:
    """What stands behind ``actions=``; ``drop`` is no action at all."""
    text = text.strip()
    return () if text in ("drop", "") else tuple(map(_parse_action, _split(text)))


def _split(text: str) -> Iterator[str]:
    """At the commas outside parentheses."""
    start = depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


def _parse_action(text: str) -> Action:
    if text in _SINGLE_WORDS:
        return _SINGLE_WORDS[text]
    found = _ACTION.fullmatch(text)
    read = _READERS.get(found[1]) if found else None
    if found is None or read is None:
        raise ValueError(
            f"{text!r} is no action that this program uses: one of {', '.join(_READERS)} is expected"
        )
    try:
        return read(found[2] if found[2] is not None else (found[3] or "") + (found[4] or ""))
    except ValueError as error:
        raise ValueError(f"action {text!r}: {error}") from error


def parse_slice(text: str) -> Slice:
    """``NXM_NX_REG0[0..3]``, ``NXM_NX_REG0[3]`` or ``NXM_NX_REG0[]``."""
    found = _SLICE.fullmatch(text)
    field = FIELD_BY_NXM.get(found[1]) if found else None
    if found is None or field is None:
        raise ValueError(f"{text!r} is expected to be bits of a field, such as NXM_NX_REG0[0..3]")
    if found[2] is None:
        return field.whole
    low, high = int(found[2]), int(found[3] or found[2])
    if not low <= high < field.bits:
        raise ValueError(f"{text!r}: bits up to {field.bits - 1}, the lower one first, are expected")
    return Slice(field, low, high - low + 1)


def _set_field(text: str) -> SetField:
    value, _, name = text.partition("->")
    field = FIELD_BY_SET_NAME.get(name) or FIELD_BY_NAME.get(name)
    if field is None:
        raise ValueError(f"{name!r} is no field; VALUE->FIELD is expected")
    return SetField(field, *parse_value(field, value))


def _move(text: str) -> Move:
    source, _, target = text.partition("->")
    return Move(parse_slice(source), parse_slice(target))


def _check_pkt_larger(text: str) -> CheckPktLarger:
    size, _, target = text.partition("->")
    return CheckPktLarger(parse_number(size, text), parse_slice(target))


def _output(text: str) -> Output | OutputTo:
    return OutputTo(parse_slice(text)) if "[" in text else Output(parse_number(text, text))


def _resubmit(text: str) -> Resubmit:
    port, _, table = text.partition(",")
    if port:
        raise ValueError("resubmit(,TABLE), without a port, is expected")
    return Resubmit(parse_number(table, text))


def _ct(text: str) -> Ct:
    table: int | None = None
    zone: int | Slice = 0
    commit, force, nat = False, False, None
    execute: list[SetField | Move] = []
    for part in filter(None, _split(text)):
        name, _, value = part.partition("=")
        if part == "commit":
            commit = True
        elif part == "force":
            force = True
        elif name == "table":
            table = parse_number(value, part)
        elif name == "zone":
            zone = parse_slice(value) if "[" in value else parse_number(value, part)
        elif part.startswith("nat"):
            nat = _nat(part)
        elif part.startswith("exec(") and part.endswith(")"):
            execute += _executed(part[5:-1])
        else:
            raise ValueError(
                f"{part!r} is not expected; commit, force, table=, zone=, nat(...) and exec(...) are"
            )
    return Ct(zone, table, commit, nat, tuple(execute), force)


def _executed(text: str) -> Iterator[SetField | Move]:
    for action in parse_actions(text):
        if not isinstance(action, SetField | Move):
            raise ValueError(f"exec({text}): only set_field and move are expected")  # noqa: TRY004 (a text, not a type)
        yield action


def _learn(text: str) -> Learn:
    numbers = {"table": 1, "idle_timeout": 0, "hard_timeout": 0, "priority": LEARNED_PRIORITY}
    numbers |= {"cookie": 0, "limit": 0}
    matches: list[Term | Slice] = []
    loads = []
    delete_learned = False
    for part in filter(None, _split(text)):
        name, found, value = part.partition("=")
        if name in numbers:
            numbers[name] = parse_number(value, part)
        elif part == "delete_learned":
            delete_learned = True
        elif part.startswith("load:"):
            loads.append(_move(part.removeprefix("load:")))
        elif found:
            matches.append(_learned_term(name, value))
        else:
            matches.append(parse_slice(part))
    return Learn(**numbers, delete_learned=delete_learned, matches=tuple(matches), loads=tuple(loads))


def _learned_term(name: str, value: str) -> Term:
    field = FIELD_BY_SET_NAME.get(name) or FIELD_BY_NAME.get(name)
    if field is None:
        raise ValueError(f"{name!r} is no field; FIELD=VALUE is expected")
    number, mask = parse_value(field, value)
    if mask != field.all_ones:
        raise ValueError(f"{name}={value}: a whole field is expected")
    return Term(field, number, mask)


def _nat(text: str) -> Nat:
    if text == "nat":
        return Nat()
    found = _NAT.fullmatch(text[4:-1])
    if found is None:
        raise ValueError(f"{text!r}: nat, nat(src), nat(dst) or nat(src=ADDRESS:PORT) is expected")
    address = found["bracketed"] or found["plain"]
    port = found["port"]
    if found["plain"] and found["plain"].count(":") + bool(port) > 1:
        address, port = found[0].partition("=")[2], None
    return Nat(found[1] == "src", ip_address(address) if address else None, int(port) if port else None)


_READERS: Final[dict[str, Callable[[str], Action]]] = {
    "set_field": _set_field,
    "move": _move,
    "push": lambda text: Push(parse_slice(text)),
    "pop": lambda text: Pop(parse_slice(text)),
    "resubmit": _resubmit,
    "goto_table": lambda text: Goto(parse_number(text, text)),
    "output": _output,
    "check_pkt_larger": _check_pkt_larger,
    "group": lambda text: GroupAction(parse_number(text, text)),
    "meter": lambda text: MeterAction(parse_number(text, text)),
    "ct": _ct,
    "CONTROLLER": lambda text: Controller(parse_number(text, text)),
    "learn": _learn,
}
