"""``lace-sdn controller``: keep the bridges of one node or of many as the manifests say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from lace_sdn.pipeline.constants import DEFAULT_MTU
from lace_sdn.pipeline.limits import CONNECTIONS, OUTSIDE_SHARE

KUBERNETES = "kubernetes"


def _node_remote(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for value in values:
        node, separator, remote = value.partition("=")
        if not separator or not node or not remote:
            raise click.BadParameter(
                f"{value!r} is not NODE=REMOTE, such as node-1=unix:/var/run/openvswitch/db.sock"
            )
        found[node] = remote
    return found


@click.command()
@click.option(
    "--source",
    required=True,
    metavar="DIR|kubernetes",
    help="Folder of manifests, re-read when it changes; or the API server (a folder of that name is ./kubernetes).",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With a folder: file of the allocations made so far (network keys, blocks, addresses).",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With kubernetes: how to reach the API server; without, the pod's service account.",
)
@click.option(
    "--api-server",
    metavar="URL",
    help="With kubernetes: its address, in place of the one that is configured. Never the VIP of a Service that is programmed here.",
)
@click.option(
    "--cni-socket",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With kubernetes: unix socket that the CNI plugin asks.",
)
@click.option(
    "--serve", metavar="HOST:PORT", help="With kubernetes: serve /healthz, /readyz and /metrics here."
)
@click.option(
    "--listen",
    required=True,
    type=click.Path(path_type=Path),
    help="Unix socket that the switches connect to (works across network namespaces).",
)
@click.option(
    "--ovsdb",
    multiple=True,
    callback=_node_remote,
    metavar="NODE=REMOTE",
    help="Database of a node's Open vSwitch, such as node-1=unix:/var/run/openvswitch/db.sock. Repeatable.",
)
@click.option(
    "--ovsdb-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with NODE/db.sock for every node; watched, nodes may come and go.",
)
@click.option("--node", help="Serve this node alone, whatever else --ovsdb or --ovsdb-dir name.")
@click.option(
    "--status",
    "status_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a JSON status here.",
)
@click.option(
    "--datapath-type",
    type=click.Choice(["system", "netdev"]),
    default="system",
    show_default=True,
    help="system: the kernel's datapath; netdev: the userspace one.",
)
@click.option(
    "--hosts",
    "hosts_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write DIR/NODE/host.json: what `lace-sdn host` does on each node.",
)
@click.option(
    "--mtu",
    type=click.IntRange(1280, 65535),
    default=DEFAULT_MTU,
    show_default=True,
    help="Octets of the pods' packets: the underlay's less 50, over an IPv6 underlay less 70.",
)
@click.option(
    "--conntrack-limit",
    type=click.IntRange(0, 0xFFFFFFFF // OUTSIDE_SHARE),
    default=CONNECTIONS,
    show_default=True,
    help="Tracked connections of a pod in each of its two conntrack zones at most; clients outside together have four times as many. 0: no limit.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every change, not only what needs attention.")
def controller(  # noqa: PLR0913, PLR0917 - the options of a command are its parameters
    source: str,
    state_file: Path | None,
    kubeconfig: Path | None,
    api_server: str | None,
    cni_socket: Path | None,
    serve: str | None,
    listen: Path,
    ovsdb: dict[str, str],
    ovsdb_dir: Path | None,
    node: str | None,
    status_file: Path | None,
    datapath_type: str,
    hosts_dir: Path | None,
    mtu: int,
    conntrack_limit: int,
    verbose: bool,
) -> None:
    """Keep every bridge as the objects in --source say, until stopped.

    Stopping it changes nothing for packets: the flows stay, and the next start sends only the difference.
    """
    if not ovsdb and ovsdb_dir is None:
        raise click.UsageError("give --ovsdb NODE=REMOTE or --ovsdb-dir DIR: no switch is named")
    if "lace_sdn.switch.patched" not in sys.modules:
        # The standard library must be patched by the first import of a process: start as another one.
        os.execv(sys.executable, [sys.executable, "-m", "lace_sdn.cli.patched_controller", *sys.argv[2:]])  # noqa: S606
    from lace_sdn.controller import process  # noqa: PLC0415 - needs the patched library

    its_source: process.FolderSettings | process.KubernetesSettings
    if source == KUBERNETES:
        if not node:
            raise click.UsageError("--source kubernetes needs --node NAME: such a controller serves one node")
        its_source = process.KubernetesSettings(node, kubeconfig, api_server, cni_socket, serve or "")
    else:
        if state_file is None:
            raise click.UsageError("a folder of manifests needs --state FILE")
        its_source = process.FolderSettings(Path(source), state_file)
    settings = process.Settings(
        source=its_source,
        listen=listen,
        ovsdb=ovsdb,
        ovsdb_dir=ovsdb_dir,
        only_node=node,
        status_file=status_file,
        datapath_type=datapath_type,
        hosts_dir=hosts_dir,
        mtu=mtu,
        connections=conntrack_limit,
        verbose=verbose,
    )
    try:
        process.Process(settings).run()
    except (process.ApiUnreachable, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
