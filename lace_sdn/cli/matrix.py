"""``lace-sdn matrix``: who may reach whom, from manifests alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from lace_sdn.cli.matrix_view import legend, matrix_table
from lace_sdn.cli.source import FOLDER, built
from lace_sdn.policy.oracle import verdict
from lace_sdn.policy.reachability import connections, intended, probe_name

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.model.cluster import ClusterState
    from lace_sdn.policy.oracle import Connection, Verdict


@click.command
@FOLDER
@click.option(
    "--json", "as_json", is_flag=True, help="For machines: every connection with its verdict and reason."
)
def command(source: Path, *, as_json: bool) -> None:
    """Print which pod, host and node may start connections to which, and to which Service: intended, from the manifests alone.

    Asked are the declared ports of each, and ICMP, and the ports of every Service, in each address family that both have.
    What a lab really does, lace-sdn lab probe says.
    """
    result = built(source)
    if result.problems and not result.state.endpoints:
        raise SystemExit(1)  # nothing to show but the problems, which are said
    if as_json:
        click.echo(json.dumps(_as_json(result.state), indent=2))
    else:
        console = Console()
        outcomes = {connection: meant.outcome for connection, meant in intended(result.state).items()}
        console.print(matrix_table(outcomes, encoding=console.encoding))
        console.print(legend(console.encoding))
    if result.problems:
        raise SystemExit(1)


def _as_json(state: ClusterState) -> list[dict[str, Any]]:
    return [
        {
            "from": connection.source,
            "to": connection.destination,
            "probe": probe_name(connection.protocol, connection.port),
            "family": connection.family,
            "allowed": (answer := verdict(state, connection)).allowed,
            "rejected": answer.is_rejected,
            "backends": list(answer.backends) if _is_balanced(connection, answer) else None,
            "policy": answer.policy or None,
            "reason": answer.reason,
        }
        for connection in connections(state)
    ]


def _is_balanced(connection: Connection, answer: Verdict) -> bool:
    """Whether others answer than the one that is called: a Service, by its VIP or a NodePort."""
    return bool(connection.service) or any(name != connection.destination for name in answer.backends)
