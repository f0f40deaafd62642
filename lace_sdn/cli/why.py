"""``lace-sdn why``: allowed or not, by which policy, through which flows, and where it stops."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from lace_sdn.cli.running_lab import LAB, running
from lace_sdn.cli.source import EXISTING, known, ledger_of, silently_built
from lace_sdn.lab import datapath
from lace_sdn.pipeline.rehearsal import Stage
from lace_sdn.pipeline.tables import TABLE_BY_NUMBER
from lace_sdn.policy.ends import (
    HOST_PREFIX,
    NODE_PREFIX,
    SERVICE_PREFIX,
    addresses_of,
    entry_node,
    is_outside,
)
from lace_sdn.policy.oracle import Connection, verdict, why_no_tunnel
from lace_sdn.policy.reachability import parse_probe, probe_name, shared_families

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.openflow.simulator import Step
    from lace_sdn.openflow.simulator.fabric import Journey, Passage
    from lace_sdn.pipeline.rehearsal import Rehearsal
    from lace_sdn.policy.oracle import Verdict

DENIED = 1
"""Exit status; 2 is click's for a wrong command line."""


@click.command
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@click.argument("probe", metavar="PROTO/PORT")
@click.option(
    "-f", "--filename", "manifests", metavar="DIR", type=EXISTING, help="Folder or file of manifests."
)
@LAB
@click.option("--family", type=click.Choice(["4", "6"]), help="IPv4 or IPv6; IPv4 if both pods have it.")
@click.option("--flows", "with_flows", is_flag=True, help="Print the flows themselves too.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(**options: Any) -> None:
    """Say whether FROM may connect to TO, why, and which flows decide it.

    FROM is a pod, namespace/name, or node/NAME or host/NAME (an ExternalHost); TO another one, or service/namespace/name;
    PROTO/PORT is tcp/8080, udp/53 or icmp. The verdict comes from the objects alone, the way from the flow tables, in which
    the first packet and the answer are simulated. Exit status 0 allowed, 1 denied.

    With --lab the objects are those that the lab holds, and the flows those that are compiled from them; no switch is
    asked. What a switch holds, lace-sdn flows shows; what real packets do, lace-sdn lab probe.

    \b
    lace-sdn why shop/web-0 db/db-0 tcp/5432 -f flows/one-way-peering
    lace-sdn why desk/pod-1 service/vault/api tcp/443 -f flows/service-only
    lace-sdn why host/web node/node1 tcp/30080 -f flows/nodeport-cluster
    """  # noqa: D301 - click wants the character itself
    state, sctp = _world(options["manifests"], options["lab"])
    connection = _connection(state, options)
    is_lab = options["manifests"] is None
    answer = verdict(state, connection, sctp=sctp)
    rehearsal = Stage.of(state, sctp=sctp).rehearse(connection)
    if options["as_json"]:
        click.echo(json.dumps(_as_json(connection, answer, rehearsal), indent=2))
    else:
        _show(connection, answer, rehearsal, is_lab=is_lab, with_flows=options["with_flows"])
    if not rehearsal.agrees_with(connection, answer):
        first = _first_node(state, connection)
        apart = next(filter(None, (why_no_tunnel(state, first, each) for each in answer.backends)), "")
        if apart:
            raise click.ClickException(f"allowed, but not every endpoint can be reached: {apart}")
        raise click.ClickException(
            "objects and flow tables disagree: this is a fault of Lace SDN, please report it"
        )
    if not answer.allowed:
        raise SystemExit(DENIED)


def _world(manifests: Path | None, lab: str | None) -> tuple[ClusterState, bool]:
    """The objects, and whether SCTP is tracked by its ports: of a cluster that is not here nobody says, the kernel does."""
    if manifests is not None and lab is not None:
        raise click.UsageError("give -f DIR or --lab NAME, not both")
    if manifests is not None:
        return silently_built(manifests, ledger_of(None)).state, True
    its, built = running(lab)
    return built.state, not datapath.of(its).is_userspace


def _first_node(state: ClusterState, connection: Connection) -> str:
    """The node whose bridge meets the connection first, and chooses the endpoint of a Service."""
    is_called = is_outside(connection.source) and connection.destination.startswith(NODE_PREFIX)
    return entry_node(state, connection.destination if is_called else connection.source)


def _connection(state: ClusterState, options: dict[str, Any]) -> Connection:
    source = _end_named(state, options["source"])
    destination = _end_named(state, options["destination"], is_destination=True)
    if destination == source and not is_outside(source):
        raise click.UsageError(f"{source} to itself never leaves the pod")
    if is_outside(source) and destination.startswith(HOST_PREFIX):
        raise click.UsageError(
            f"{source} to {destination}: what goes on outside the cluster is not asked here"
        )
    try:
        protocol, port = parse_probe(options["probe"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    families = shared_families(addresses_of(state, source), addresses_of(state, destination))
    asked = int(options["family"]) if options["family"] else next(iter(families), 4)
    if asked not in families:
        which = f"IPv{asked}" if families else "IP"
        raise click.ClickException(
            f"{source} and {destination} have no {which} addresses in common: they cannot connect"
        )
    return Connection(source, destination, protocol, port, asked)


def _end_named(state: ClusterState, text: str, *, is_destination: bool = False) -> str:
    """The end that is written ``namespace/name``, or ``KIND NAME`` or ``KIND/NAME`` with a kind that is no namespace here."""
    kinds: dict[str, tuple[str, Collection[str]]] = {
        HOST_PREFIX: ("ExternalHost", state.external_host_by_name),
        NODE_PREFIX: ("Node", state.node_by_name),
    }
    if is_destination:
        kinds[SERVICE_PREFIX] = ("Service with a VIP", state.service_by_id)
    for prefix, (kind, there) in kinds.items():
        word, name = text[: len(prefix) - 1], text[len(prefix) :]
        is_of_kind = word == prefix.strip() and text[len(word) : len(prefix)] in (" ", "/")
        if is_of_kind and text not in state.endpoint_by_id:
            if name not in there:
                raise click.UsageError(f"no {kind} {name!r}; {known(name, there)}")
            return prefix + name
    if text not in state.endpoint_by_id:
        raise click.UsageError(f"no pod {text!r} with a network; {known(text, state.endpoint_by_id)}")
    return text


def _show(
    connection: Connection, answer: Verdict, rehearsal: Rehearsal, *, is_lab: bool, with_flows: bool
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    probe = probe_name(connection.protocol, connection.port)
    word, style = ("allowed", "bold green") if answer.allowed else ("denied", "bold red")
    if answer.is_rejected:
        word = "refused at once"
    head = f"{connection.source} -> {connection.destination} {probe} over IPv{connection.family}: "
    console.print(Text.assemble(head, (word, style)))
    console.print(f"  {answer.reason}")
    if answer.backends not in ((), (connection.destination,)):
        console.print(f"  spread over {', '.join(answer.backends)}; shown is one of them")
    if is_lab:
        console.print("  through the flows that are compiled from the lab's objects:")
    _show_journey(console, "The first packet", rehearsal.request, with_flows=with_flows)
    console.print(f"  {_arrival(connection, rehearsal)}")
    if rehearsal.answer is not None:
        _show_journey(console, "The answer", rehearsal.answer, with_flows=with_flows)
        console.print("  arrives" if rehearsal.is_answered else f"  {_end(rehearsal.answer)}")


def _arrival(connection: Connection, rehearsal: Rehearsal) -> str:
    if rehearsal.is_rejected:
        return "goes to the controller, which answers with a reset, or ICMP port unreachable"
    seen = rehearsal.reached or ", ".join(rehearsal.seen_by)
    if not seen:
        return (
            _end(rehearsal.request)
            if rehearsal.request.passages
            else "the node's own routes do not lead it into the bridge"
        )
    is_meant = rehearsal.reached or connection.destination in rehearsal.seen_by
    return f"arrives at {seen}" + ("" if is_meant else ": for this source the address means that pod")


def _show_journey(console: Console, title: str, journey: Journey, *, with_flows: bool) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    for passage in journey.passages:
        console.print(f"  {passage.node}, in by port {passage.in_port}")
        for step in passage.steps:
            console.print(Text(f"    {_step(step)}", style="" if step.flow else "dim"))
            if with_flows and step.flow:
                console.print(Text(f"        {step.flow}", style="dim"))


def _step(step: Step) -> str:
    table = TABLE_BY_NUMBER[step.table]
    return f"{table.number:>3} {table.name:<18} {step.flow.owner if step.flow else 'no flow matches'}"


def _end(journey: Journey) -> str:
    """Where a packet that arrives nowhere ends, and what that table decides."""
    passage: Passage = journey.passages[-1]
    last = passage.steps[-1]
    table = TABLE_BY_NUMBER[last.table]
    why = f"dropped by a flow of {last.flow.owner}" if last.flow else "no flow matches"
    return f"stops on {passage.node} in table {table.number} {table.name}: {why}. {table.decides}"


def _as_json(connection: Connection, answer: Verdict, rehearsal: Rehearsal) -> dict[str, Any]:
    return {
        "from": connection.source,
        "to": connection.destination,
        "probe": probe_name(connection.protocol, connection.port),
        "family": connection.family,
        "allowed": answer.allowed,
        "rejected": answer.is_rejected,
        "backends": list(answer.backends) if answer.backends not in ((), (connection.destination,)) else None,
        "reason": answer.reason,
        "policy": answer.policy or None,
        "arrives_at": list(rehearsal.seen_by),
        "stops": None if rehearsal.seen_by or not rehearsal.request.passages else _end(rehearsal.request),
        "request": list(_steps(rehearsal.request)),
        "answer": list(_steps(rehearsal.answer)) if rehearsal.answer else None,
    }


def _steps(journey: Journey) -> Iterator[dict[str, Any]]:
    for passage in journey.passages:
        for step in passage.steps:
            yield {
                "node": passage.node,
                "table": step.table,
                "table_name": TABLE_BY_NUMBER[step.table].name,
                "object": step.flow.owner if step.flow else None,
                "flow": str(step.flow) if step.flow else None,
            }
