"""How the lab shows itself: progress, matrices, status, and what to try next."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from lace_sdn.cli.matrix_view import Matrices, connection_name
from lace_sdn.kube.generation import generation
from lace_sdn.lab import agent_client, control, hosts, pods, reach, stacks
from lace_sdn.lab.switches import Switch
from lace_sdn.policy.reachability import probe_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab
    from lace_sdn.lab.reach import Finding
    from lace_sdn.model.cluster import ClusterState, Condition
    from lace_sdn.policy.oracle import Connection
    from lace_sdn.policy.reachability import Expectation

_MOST_DIFFERENCES = 30
_PIPE_WIDTH = 160


def output() -> Console:
    """Standard output; wide where it is no terminal, so that nothing is cut in a file or pipe."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows the step that is under way, and how long each took; on standard error, so that output stays output."""
    console = Console(stderr=True)
    began = time.monotonic()
    current = ""

    def finish() -> None:
        if current:
            console.print(f"[green]✓[/] {current} [dim]{time.monotonic() - began:.1f} s[/]", highlight=False)

    with console.status("") as line:

        def tell(step: str) -> None:
            nonlocal began, current
            finish()
            began, current = time.monotonic(), step
            line.update(f"{step} ...")

        yield tell
    finish()


def print_findings(
    console: Console, meant: Mapping[Connection, Expectation], findings: Mapping[Connection, Finding]
) -> int:
    """The probed matrix beside the intended one, then each difference; the number of differences."""
    different = [each for each in meant if not reach.is_as_intended(meant[each], findings[each])]
    found = {each: finding.found for each, finding in findings.items()}
    intended = {each: expectation.outcome for each, expectation in meant.items()}
    console.print(Matrices(intended, found, set(different)))
    for connection in different[:_MOST_DIFFERENCES]:
        finding = findings[connection]
        told = f" ({finding.detail})" if finding.detail else ""
        console.print(
            f"[bold red]✗[/] {connection_name(connection)}: {finding.found}{told}{_by(finding.backends)}, "
            f"intended: {meant[connection].outcome}{_by(meant[connection].backends)}"
        )
    if len(different) > _MOST_DIFFERENCES:
        console.print(f"... and {len(different) - _MOST_DIFFERENCES} more")
    verdict = (
        f"[bold red]{len(different)} are not as intended.[/]"
        if different
        else "[bold green]all as intended.[/]"
    )
    console.print(f"{len(meant)} connections probed: {verdict}", highlight=False)
    return len(different)


def findings_as_json(
    meant: Mapping[Connection, Expectation], findings: Mapping[Connection, Finding]
) -> list[dict[str, Any]]:
    """One object a connection."""
    return [
        {
            "from": connection.source,
            "to": connection.destination,
            "probe": probe_name(connection.protocol, connection.port),
            "family": connection.family,
            "intended": meant[connection].outcome,
            "intended_backends": sorted(meant[connection].backends or ()),
            "found": finding.found,
            "backends": sorted(finding.backends),
            "detail": finding.detail,
        }
        for connection, finding in findings.items()
    ]


def _by(backends: Collection[str] | None) -> str:
    return f" by {', '.join(sorted(backends))}" if backends else ""


def option_name(its: Lab) -> str:
    """What follows a verb to mean this lab."""
    return "" if its.name == "lab" else f" --name {its.name}"


def print_next_steps(its: Lab, source: Path, state: ClusterState) -> None:
    """What an operator may want to do with the lab that is up."""
    name = option_name(its)
    program = (
        "lace-sdn" if shutil.which("lace-sdn") else sys.argv[0]
    )  # as it was called, e.g. from a virtual environment
    first_node = state.nodes[0].name
    steps = [
        (
            f"edit {source}, then {program} lab apply{name} --probe -f {source}",
            "change a policy, watch the matrix change",
        ),
        (f"{program} lab node{name} {first_node} -- ovs-ofctl dump-flows br-int", "the flows of a node"),
    ]
    if state.endpoints:
        pod = state.endpoints[0].id
        steps.append((f"{program} lab exec{name} {pod} -- ip address", "a command inside a pod"))
    if state.external_hosts:
        host = state.external_hosts[0].name
        steps.append((f"{program} lab exec{name} host {host} -- ip route", "a command outside the cluster"))
    steps.append(("make lab-down" if not name else f"{program} lab down{name}", "remove it all"))
    click.echo("\nTry next:")
    for command, why in steps:
        click.echo(f"  {command}\n      {why}")


def status_of(its: Lab, built: Built) -> dict[str, Any]:
    """Nodes, hosts, pods and processes of a lab, as they are."""
    programmed, attached, alive = _on_kubernetes(its) if its.is_on_kubernetes else _in_folder(its)
    nodes = {
        node.name: {
            "addresses": [str(address) for address in node.addresses],
            "switch": Switch(its, node.name).is_running(),
            "programmed": node.name in programmed,
            "flows": programmed[node.name].flows if node.name in programmed else 0,
            "host_agent": stacks.is_running(its, node.name),
            "host_problem": stacks.lacking(its, node.name),
        }
        for node in built.state.nodes
    }
    its_hosts = {
        host.name: {
            "addresses": [str(address) for address in host.addresses],
            "gateway": host.gateway,
            "attached": hosts.is_whole(its, host.name),
        }
        for host in built.state.external_hosts
    }
    its_pods = {
        endpoint.id: {
            "node": endpoint.node,
            "network": endpoint.network,
            "addresses": [str(address) for address in endpoint.addresses],
            "attached": attached.get(endpoint.id) == pods.Pod.of(endpoint),
            "programmed": endpoint.id in attached
            and endpoint.node in programmed
            and endpoint.id in programmed[endpoint.node].endpoints,
        }
        for endpoint in built.state.endpoints
    }
    return {
        "name": its.name,
        "programmed": all(each["programmed"] for each in [*nodes.values(), *its_pods.values()])
        and all(each["host_agent"] and not each["host_problem"] for each in nodes.values())
        and all(each["attached"] for each in its_hosts.values()),
        "processes": alive,
        "nodes": nodes,
        "hosts": its_hosts,
        "pods": its_pods,
        "problems": [str(problem) for problem in built.problems],
        "conditions": [condition_line(each) for each in built.conditions if not each.status],
    }


_Found = tuple[dict[str, control.Programmed], dict[str, pods.Pod], dict[str, bool]]
"""What is programmed by node, which pods are attached, which processes are alive."""


def _in_folder(its: Lab) -> _Found:
    said = control.status(its)
    is_current = said.get("generation") == generation(its.manifests)
    programmed = {
        node: control.Programmed(entry["flows"], frozenset(entry["endpoints"]))
        for node, entry in said.get("nodes", {}).items()
        if is_current and entry["programmed"]
    }
    attached = pods.whole(its, pods.recorded(its))
    alive = {"controller": control.is_running(its), "agent": agent_client.is_running(its)}
    return programmed, attached, alive


def _on_kubernetes(its: Lab) -> _Found:
    from lace_sdn.lab.api import status  # noqa: PLC0415 - a lab without an API server need not wait for its library

    alive = status.alive(its) | {"agent": agent_client.is_running(its)}
    return status.programmed(its), status.attached(its), alive


def print_status(now: Mapping[str, Any]) -> None:
    """``status_of`` as tables."""
    console = output()
    console.print(_nodes_table(now["nodes"]))
    if now["hosts"]:
        console.print(_hosts_table(now["hosts"]))
    console.print(_pods_table(now["pods"]))
    for name, node in now["nodes"].items():
        if node["host_problem"]:
            console.print(f"{name}: own stack: {node['host_problem']}", style="red", markup=False)
    for process, is_alive in now["processes"].items():
        console.print(f"{process}: {_word(is_alive, 'running', 'down')}")
    for problem in now["problems"]:
        console.print(problem, style="red", markup=False)
    for condition in now["conditions"]:
        console.print(condition, style="yellow", markup=False)


def _nodes_table(nodes: Mapping[str, Any]) -> Table:
    table = _table("node", "addresses", "switch", "programmed", "flows", "host agent", "own stack")
    for name, node in nodes.items():
        table.add_row(
            name,
            " ".join(node["addresses"]),
            _word(node["switch"], "running", "down"),
            _word(node["programmed"], "yes", "no"),
            str(node["flows"]),
            _word(node["host_agent"], "running", "down"),
            _word(not node["host_problem"], "as planned", "not as planned"),
        )
    return table


def _hosts_table(its_hosts: Mapping[str, Any]) -> Table:
    table = _table("host", "addresses", "gateway", "attached")
    for name, host in its_hosts.items():
        attached = _word(host["attached"], "yes", "no")
        table.add_row(name, " ".join(host["addresses"]), host["gateway"] or "none", attached)
    return table


def _pods_table(its_pods: Mapping[str, Any]) -> Table:
    table = _table("pod", "node", "network", "addresses", "attached", "programmed")
    for name, pod in its_pods.items():
        words = (_word(pod[state], "yes", "no") for state in ("attached", "programmed"))
        table.add_row(name, pod["node"], pod["network"], " ".join(pod["addresses"]), *words)
    return table


def condition_line(condition: Condition) -> str:
    """What is not as it should be, in one line."""
    return f"{condition.kind} {condition.name}: {condition.reason}: {condition.message}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _word(is_good: bool, good: str, bad: str) -> str:
    return f"[green]{good}[/]" if is_good else f"[bold red]{bad}[/]"
