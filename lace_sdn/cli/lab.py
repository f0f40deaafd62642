"""``lace-sdn lab``: a cluster on this machine, with real switches and real packets."""

from __future__ import annotations

import functools
import json
import os
import signal
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lace_sdn.cli import lab_view
from lace_sdn.lab import LabError, agent_client, cluster, control, desired, netns, pods, processes, reach
from lace_sdn.lab.concern import FAULTS, in_words
from lace_sdn.lab.datapath import Datapath
from lace_sdn.lab.names import Lab
from lace_sdn.lab.switches import Switch
from lace_sdn.policy.ends import HOST_PREFIX
from lace_sdn.policy.reachability import intended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lace_sdn.kube.build import Built

Command = TypeVar("Command", bound="Callable[..., Any]")
_RUNS_PROGRAMS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
_INTERRUPTED = 128 + signal.SIGINT
_MANIFESTS = click.option(
    "-f",
    "--filename",
    "source",
    required=True,
    metavar="FILE_OR_DIR",
    type=click.Path(path_type=Path),
    help="Kubernetes objects in YAML: a file, a folder, or a scenario of the book in flows/.",
)


def _on_a_lab(command: Command) -> Command:
    """``--name``, and errors of the lab as errors of the command."""

    @click.option(
        "--name", default="lab", show_default=True, metavar="NAME", help="Which lab; several may run."
    )
    @functools.wraps(command)
    def with_lab(*arguments: Any, name: str, **options: Any) -> Any:
        try:
            cluster.check_root()  # others cannot see the lab's processes, and would be told that they are down
            return command(Lab(name), *arguments, **options)
        except LabError as problem:
            raise click.ClickException(str(problem)) from None
        except FAULTS as problem:
            raise click.ClickException(in_words(f'lab "{name}"', problem)) from None

    return with_lab  # type: ignore[return-value]


@click.group
def lab() -> None:
    """A cluster on this machine: each node a network namespace with its own Open vSwitch, each pod and each host a namespace.

    Needs root; changes nothing outside its own namespaces and /run/lace-sdn/NAME.
    """


@lab.command
@_MANIFESTS
@click.option(
    "--probe/--no-probe", default=False, help="End with the matrix of reachability, by real packets."
)
@click.option(
    "--kubernetes",
    is_flag=True,
    help="Keep the objects in the API server of --kubeconfig, and run operator, one controller a node and the CNI plugin on it.",
)
@click.option(
    "--kubeconfig",
    metavar="FILE",
    envvar="KUBECONFIG",
    default="~/.kube/config",
    show_default=True,
    help="With --kubernetes: which API server.",
)
@click.option(
    "--datapath",
    type=click.Choice([each.value for each in Datapath]),
    help="system: the kernel's; netdev: Open vSwitch's own. A new lab's is the kernel's where it has one.",
)
@_on_a_lab
def up(its: Lab, source: Path, *, probe: bool, datapath: str | None, **server: Any) -> None:
    """Start a lab from manifests, or complete the one that is there; ends when every flow is confirmed."""
    its_server = Path(server["kubeconfig"]).expanduser() if server["kubernetes"] else None
    on = Datapath(datapath) if datapath else None
    bring = functools.partial(cluster.up, kubeconfig=its_server, on=on)
    built = _with_progress(bring, its, source)
    differences = _probe(its, built) if probe else 0
    lab_view.print_next_steps(its, source, built.state)
    _exit_for(built, differences)


@lab.command
@_MANIFESTS
@click.option(
    "--probe/--no-probe", default=False, help="End with the matrix of reachability, by real packets."
)
@_on_a_lab
def apply(its: Lab, source: Path, *, probe: bool) -> None:
    """Replace the running lab's objects by these, live; what is not concerned goes on undisturbed.

    Pods whose network changed are created anew, as deleting them in Kubernetes would.
    """
    built = _with_progress(cluster.apply, its, source)
    _exit_for(built, _probe(its, built) if probe else 0)


@lab.command
@click.option("--json", "as_json", is_flag=True, help="For machines: every connection, intended and found.")
@_on_a_lab
def probe(its: Lab, *, as_json: bool) -> None:
    """Try every connection between pods, Services, hosts and nodes with real packets, and compare with what is intended.

    A packet is judged where it arrives, not only by its answer. Exit status 1 if anything is not as intended.
    """
    built = desired.live(its)
    if not as_json:
        _exit_for(None, _probe(its, built))
    meant = intended(built.state)
    findings = reach.measure(its, built.state, meant)
    click.echo(json.dumps(lab_view.findings_as_json(meant, findings), indent=1))
    _exit_for(None, sum(not reach.is_as_intended(meant[each], findings[each]) for each in meant))


@lab.command(name="exec", context_settings=_RUNS_PROGRAMS)
@click.argument("place", metavar="POD | host NAME")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_on_a_lab
def execute(its: Lab, place: str, command: tuple[str, ...]) -> None:
    """Run COMMAND inside a pod (namespace/name), or in a host outside the cluster (host NAME), with its network.

    Its exit status is passed on.
    """
    state = desired.live(its).state
    name, command = _named(place, command)
    if name.startswith(HOST_PREFIX):
        known = [HOST_PREFIX + host for host in state.external_host_by_name]
        _one_of(name, known, "host", its)
        namespace = its.host_namespace(name.removeprefix(HOST_PREFIX))
        mark = its.host_mark(namespace)
    else:
        _one_of(name, pods.recorded(its), "pod", its)
        namespace, mark = its.pod_namespace(name), its.pod(name)
    if not netns.exists(namespace):
        raise LabError(f"{name} is not there; `lace-sdn lab up` completes the lab")
    _become(netns.command_with_sys(namespace, *command), processes.marked(mark))


@lab.command(context_settings=_RUNS_PROGRAMS)
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_on_a_lab
def node(its: Lab, node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in a node; ovs-vsctl, ovs-ofctl and ovs-appctl talk to that node's switch.

    ovs-ofctl speaks OpenFlow 1.5, as br-int does, unless it is told otherwise with -O.
    """
    _one_of(node, desired.live(its).state.node_by_name, "node", its)
    environment = processes.marked(its.run / "exec") | Switch(its, node).environment()
    _become(
        netns.command_with_sys(its.node_namespace(node), *_in_the_bridges_version(_without_dashes(command))),
        environment,
    )


@lab.command
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@_on_a_lab
def status(its: Lab, *, as_json: bool) -> None:
    """Show nodes, hosts, pods and processes, and whether everything is programmed. Exit status 1 if it is not."""
    now = lab_view.status_of(its, desired.live(its))
    if as_json:
        click.echo(json.dumps(now, indent=1))
    else:
        lab_view.print_status(now)
    if not now["programmed"]:
        raise SystemExit(1)


@lab.command
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now.")
@click.option("-n", "--lines", default=20, show_default=True, help="Lines of each log to begin with.")
@_on_a_lab
def logs(its: Lab, *, follow: bool, lines: int) -> None:
    """Print the logs of controller, agent, switches and the agents of the nodes' own network stacks."""
    desired.live(its)
    files = [control.log(its), agent_client.log(its), *sorted(its.nodes.glob("*/*.log"))]
    paths = [str(path) for path in files if path.exists()]
    _become(["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *paths], dict(os.environ))


@lab.command
@_on_a_lab
def down(its: Lab) -> None:
    """Remove the lab: its processes, namespaces and folder, and nothing else."""
    with lab_view.progress() as tell:
        was_there = cluster.down(its, tell)
    click.echo(f'Lab "{its.name}" is removed.' if was_there else f'There is no lab "{its.name}".')


def _with_progress(change: Callable[..., Built], its: Lab, source: Path) -> Built:
    try:
        with lab_view.progress() as tell:
            built = change(its, source, tell)
    except KeyboardInterrupt:
        name = lab_view.option_name(its)
        click.echo(
            f"Interrupted: `lace-sdn lab up{name} -f {source}` goes on from here, `lace-sdn lab down{name}` removes it.",
            err=True,
        )
        raise SystemExit(_INTERRUPTED) from None
    for problem in built.problems:
        click.secho(str(problem), err=True, fg="red")
    for each in built.conditions:
        if not each.status:
            click.secho(lab_view.condition_line(each), err=True, fg="yellow")
    return built


def _probe(its: Lab, built: Built) -> int:
    """Print the matrices; the number of differences."""
    meant = intended(built.state)
    with lab_view.progress() as tell:
        tell(f"probing {len(meant)} connections with real packets")
        findings = reach.measure(its, built.state, meant)
    return lab_view.print_findings(lab_view.output(), meant, findings)


def _exit_for(built: Built | None, differences: int) -> None:
    if differences or (built is not None and built.problems):
        raise SystemExit(1)
    if built is None:
        raise SystemExit(0)


def _one_of(name: str, known: Iterable[str], what: str, its: Lab) -> None:
    names = sorted(known)
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    raise LabError(f'no {what} "{name}" in lab "{its.name}"; {hint}there are: {", ".join(names) or "none"}')


def _named(place: str, command: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """``host NAME`` may be one word or two; a pod's name has a slash, so it is no pod. Raises UsageError without a command."""
    if place == HOST_PREFIX.strip():
        place, command = f"{HOST_PREFIX}{command[0]}", command[1:]
    command = _without_dashes(command) if command else ()
    if not command:
        raise click.UsageError(f"{place}: what is to be run there? For example: -- ip address")
    return place, command


def _without_dashes(command: tuple[str, ...]) -> tuple[str, ...]:
    """``POD -- COMMAND``: the dashes end our options and are no part of the command."""
    return command[1:] if command[0] == "--" else command


def _in_the_bridges_version(command: tuple[str, ...]) -> tuple[str, ...]:
    """By itself ovs-ofctl speaks OpenFlow 1.0, which br-int refuses."""
    told = any(word.startswith(("-O", "--protocols")) for word in command)
    return command if command[0] != "ovs-ofctl" or told else (command[0], "-OOpenFlow15", *command[1:])


def _become(arguments: list[str], environment: Mapping[str, str]) -> None:
    try:
        os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - no shell: the command is the operator's own
    except FileNotFoundError:
        raise LabError(f'the program "{arguments[0]}" is not installed; {processes.INSTALL}') from None
