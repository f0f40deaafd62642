"""``lace-sdn check``: everything that is wrong with manifests, in one go."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lace_sdn.cli.source import FOLDER, silently_built
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.relations import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.kube.build import Built
    from lace_sdn.model.cluster import ClusterState, Condition


@click.command
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="For machines: problems, conditions and counts.")
def check(source: Path, *, as_json: bool) -> None:
    """Say everything that is wrong with the manifests in DIR (a folder, or one file).

    Each problem says where it stands, what was found, what is expected, and what happens now. Conditions are what
    objects would report as their status: conflicts between policies, pods that get no network.

    The exit status is 1 when there is a problem or an object that is not ready.
    """
    result = silently_built(source, Ledger())
    conditions = tuple(dict.fromkeys((*result.conditions, *resolve(result.state).conditions)))
    is_good = not result.problems and not result.held and all(_is_fine(condition) for condition in conditions)
    if as_json:
        click.echo(json.dumps(_as_json(result, conditions, is_good=is_good), indent=2))
    else:
        _print(result, conditions, is_good=is_good)
    if not is_good:
        raise SystemExit(1)


def _is_fine(condition: Condition) -> bool:
    return condition.type != "Ready" or condition.status


def _counts(state: ClusterState) -> dict[str, int]:
    policies = (*state.routing_policies, *state.service_policies, *state.binding_policies)
    return {
        "nodes": len(state.nodes),
        "networks": len(state.networks),
        "policies": len(policies),
        "pods": len(state.endpoints),
        "services": len(state.services),
    }


def _as_json(result: Built, conditions: tuple[Condition, ...], *, is_good: bool) -> dict[str, Any]:
    return {
        "ok": is_good,
        "held": result.held,
        "problems": [problem.as_json() for problem in result.problems],
        "conditions": [
            {
                "kind": each.kind,
                "name": each.name,
                "type": each.type,
                "status": each.status,
                "reason": each.reason,
                "message": each.message,
            }
            for each in conditions
        ],
        "counts": _counts(result.state),
    }


def _print(result: Built, conditions: tuple[Condition, ...], *, is_good: bool) -> None:
    console = Console(highlight=False)
    for problem in result.problems:
        console.print(f"[bold red]error[/] {escape(str(problem))}", soft_wrap=True)
    for condition in conditions:
        colour = "yellow" if _is_fine(condition) else "red"
        where = escape(f'{condition.kind} "{condition.name}"')
        message = escape(condition.message)
        text = f"[bold {colour}]{condition.reason}[/] {where}: {condition.type}={condition.status}: {message}"
        console.print(text, soft_wrap=True)
    if result.held:
        console.print(f"[bold red]held[/] {escape(result.held)}", soft_wrap=True)
    if result.problems or conditions:
        console.print()
    console.print(_networks(result.state))
    if result.state.services:
        console.print()
        console.print(_services(result.state))
    counts = ", ".join(f"{number} {name}" for name, number in _counts(result.state).items())
    bad = len(result.problems) + sum(not _is_fine(condition) for condition in conditions)
    notes = sum(_is_fine(condition) and not condition.status for condition in conditions)
    verdict = "[green]nothing is wrong[/]" if is_good else f"[red]{bad} to put right[/]"
    if notes:
        verdict += f", [yellow]{notes} not as asked[/]"
    console.print(f"{counts}: {verdict}")


def _networks(state: ClusterState) -> Table:
    """What the manifests make of networks: their keys, prefixes and pods."""
    pods = Counter(endpoint.network for endpoint in state.endpoints)
    table = Table(box=None, header_style="bold")
    for heading in ("Network", "Type", "Key", "Prefixes", "Pods"):
        table.add_column(heading, overflow="fold")
    for network in state.networks:
        prefixes = ", ".join(str(prefix) for prefix in network.prefixes)
        table.add_row(network.name, network.type, str(network.key), prefixes, str(pods[network.name]))
    return table


def _services(state: ClusterState) -> Table:
    """What the manifests make of Services: their networks, VIPs, and ports with the number of endpoints that are ready."""
    table = Table(box=None, header_style="bold")
    for heading in ("Service", "Network", "VIPs", "Ports (ready endpoints)"):
        table.add_column(heading, overflow="fold")
    for service in state.services:
        ports = (
            f"{port.protocol}/{port.number} ({sum(each.ready for each in port.backends)})"
            for port in service.ports
        )
        table.add_row(service.id, service.network, ", ".join(map(str, service.vips)), ", ".join(ports))
    return table
