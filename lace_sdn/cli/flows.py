"""``lace-sdn flows``: a live switch's flows, each with the names of the object, networks and table behind it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from lace_sdn.cli.flow_names import Named, NamedGroup, named, named_groups, objects, parse_dump
from lace_sdn.cli.running_lab import LAB, running
from lace_sdn.cli.source import EXISTING, known, ledger_of, silently_built
from lace_sdn.lab import datapath
from lace_sdn.pipeline.listing import table_heading
from lace_sdn.pipeline.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.cli.flow_names import Counted
    from lace_sdn.model.cluster import ClusterState

NOTHING_FOUND = 1
"""Exit status, as grep has it; 2 is click's for a wrong command line."""


UNEXPECTED = "NOT WHAT THE MANIFESTS MEAN"
_FILTERS = {"object": "words", "network": "network", "table": "table"}


@dataclass(frozen=True, slots=True)
class Switch:
    """A bridge and what names its flows: the management socket, the node's name, the cluster, what the datapath can."""

    socket: Path
    node: str
    state: ClusterState
    sctp: bool


@click.command
@click.option("--node", required=True, help="The node whose switch is shown.")
@LAB
@click.option("--db", metavar="SOCKET", help="A node outside of a lab: its Open vSwitch database, unix:PATH.")
@click.option("-f", "--filename", "source", metavar="DIR", type=EXISTING, help="With --db: the manifests.")
@click.option("--state", "ledger", type=EXISTING, help="With --db: the controller's state file.")
@click.option("--bridge", default="br-int", show_default=True, help="With --db: the bridge.")
@click.option(
    "--object", "words", metavar="TEXT", help="Only flows of objects whose kind and name contain TEXT."
)
@click.option("--network", help="Only flows that speak of this Network.")
@click.option("--table", help="Only this table, by name or number.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one object, with a list of flows.")
def command(**options: Any) -> None:
    """Show the flows that are in a node's switch now.

    Above each flow stands the object it comes from, the Networks it speaks of, and how many packets it has seen. A flow
    that the manifests do not mean is marked: it is stale, was changed by hand, or belongs to somebody else. Behind the flows
    stand the groups, over which Services are spread.

    \b
    lace-sdn flows --node node1 --network shop
    lace-sdn flows --node node1 --table Permit --object "NetworkRoutingPolicy shop-uses-db"
    """  # noqa: D301 - click wants the character itself
    switch = _switch(options)
    counted = tuple(parse_dump(_ask(switch, "dump-flows")))
    found = list(named(counted, switch.state, switch.node, sctp=switch.sctp))
    _check_table(options["table"], found)
    _check_network(options["network"], found, switch.state)
    _check_object(options["words"], found, switch.state)
    rows = [row for row in found if _is_asked(row, options)]
    rows.sort(
        key=lambda row: (row.counted.flow.table, -row.counted.flow.priority, str(row.counted.flow.match))
    )
    groups = _groups(switch, counted, options)
    if options["as_json"]:
        shown = [{"id": each.group.id, "object": each.owner, "group": str(each.group)} for each in groups]
        asked_for = {"node": switch.node, "flows": [_as_json(row) for row in rows], "groups": shown}
        click.echo(json.dumps(asked_for, indent=2))
    else:
        _show(rows, groups, Console(highlight=False, soft_wrap=True))
    asked = [f"--{each} {options[name]}" for each, name in _FILTERS.items() if options[name]]
    if asked and not rows and not groups:
        click.secho(f"no flow matches {' '.join(asked)}", err=True, fg="yellow")
        raise SystemExit(NOTHING_FOUND)


def _switch(options: dict[str, Any]) -> Switch:
    node = options["node"]
    if options["db"]:
        if options["source"] is None:
            raise click.UsageError("--db needs -f DIR: the manifests name the flows")
        folder = Path(options["db"].removeprefix("unix:")).parent
        state = silently_built(options["source"], ledger_of(options["ledger"])).state
        sctp = True  # nobody says what the datapath is; the kernel's takes all, and what is missing is not shown anyway
    else:
        lab, built = running(options["lab"])
        sctp = not datapath.of(lab).is_userspace
        folder, state = lab.nodes / node, built.state
    if node not in state.node_by_name:
        raise click.ClickException(f"no Node {node}; there are: {', '.join(state.node_by_name) or 'none'}")
    return Switch(folder / f"{options['bridge']}.mgmt", node, state, sctp=sctp)


def _groups(switch: Switch, counted: tuple[Counted, ...], options: dict[str, Any]) -> list[NamedGroup]:
    """Groups belong to no table and speak of no network: a filter by these leaves them out."""
    if options["network"] or options["table"]:
        return []
    words = (options["words"] or "").casefold()
    dump = _ask(switch, "dump-groups")
    found = named_groups(dump, switch.state, switch.node, counted, sctp=switch.sctp)
    return [each for each in found if words in each.owner.casefold()]


def _ask(switch: Switch, verb: str) -> str:
    done = subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow15", "--no-names", verb, f"unix:{switch.socket}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise click.ClickException(f"the switch of Node {switch.node} does not answer: {done.stderr.strip()}")
    return done.stdout


def _check_table(word: str | None, found: Iterable[Named]) -> None:
    """Tables of somebody else's flows are tables too."""
    foreign = {row.table.casefold() for row in found}
    if word and not any(_is_table(word, each.name, each.number) for each in TABLES) and word not in foreign:
        known = ", ".join(f"{each.number} {each.name}" for each in TABLES)
        raise click.UsageError(f"no such table: {word}; there are: {known}")


def _check_network(name: str | None, found: Iterable[Named], state: ClusterState) -> None:
    """Stale flows may speak of networks that are no more."""
    if name and name not in state.network_by_name and all(name not in row.networks for row in found):
        raise click.UsageError(f"no such network: {name}; {known(name, state.network_by_name)}")


def _check_object(words: str | None, found: Iterable[Named], state: ClusterState) -> None:
    """Objects without a flow on this node are objects too; so are those that only flows know."""
    there = list(dict.fromkeys((*objects(state), *(row.owner for row in found))))
    asked = (words or "").casefold()
    if any(asked in each.casefold() for each in there):
        return
    by_word = {word.casefold(): each for each in there for word in (each, *each.split())}
    close = dict.fromkeys(by_word[word] for word in get_close_matches(asked, by_word))
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    raise click.UsageError(
        f"no such object: {words}; {hint}expected a part of kind and name, as they stand above each flow"
    )


def _is_table(word: str, name: str, number: int) -> bool:
    return word.casefold() in (name.casefold(), str(number))


def _is_asked(row: Named, options: dict[str, Any]) -> bool:
    table = options["table"]
    return (
        (not options["words"] or options["words"].casefold() in row.owner.casefold())
        and (not options["network"] or options["network"] in row.networks)
        and (not table or _is_table(table, row.table, row.counted.flow.table))
    )


def _show(rows: Iterable[Named], groups: Iterable[NamedGroup], console: Console) -> None:
    for number, group in groupby(rows, key=lambda row: row.counted.flow.table):
        console.print(Text(f"# {table_heading(number)}", style="bold"))
        for row in group:
            console.print(Text(f"# {_comment(row)}", style="cyan" if row.is_expected else "red"))
            console.print(Text(str(row.counted.flow)))
    for index, each in enumerate(groups):
        if not index:
            console.print(Text("# --- groups: the endpoints that Services are spread over", style="bold"))
        mark = "" if each.is_expected else f" | {UNEXPECTED}"
        console.print(Text(f"# {each.owner}{mark}", style="cyan" if each.is_expected else "red"))
        console.print(Text(str(each.group)))


def _comment(row: Named) -> str:
    parts = [row.owner]
    if row.networks:
        parts.append(f"networks: {', '.join(row.networks)}")
    parts.append(f"{row.counted.packets} packets")
    if not row.is_expected:
        parts.append(UNEXPECTED)
    return " | ".join(parts)


def _as_json(row: Named) -> dict[str, Any]:
    flow = row.counted.flow
    return {
        "table": flow.table,
        "table_name": row.table,
        "priority": flow.priority,
        "cookie": flow.cookie,
        "object": row.owner,
        "networks": list(row.networks),
        "packets": row.counted.packets,
        "bytes": row.counted.octets,
        "expected": row.is_expected,
        "flow": str(flow),
    }
