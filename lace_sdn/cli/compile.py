"""``lace-sdn compile``: the flow tables that manifests mean, as text that ovs-ofctl takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lace_sdn.cli.source import FOLDER, built
from lace_sdn.pipeline import compile_node, offline_ports
from lace_sdn.pipeline.listing import flows_text, groups_text, meters_text

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.model.cluster import ClusterState


def programs_text(state: ClusterState, nodes: tuple[str, ...]) -> dict[str, str]:
    """File name -> content, for each of ``nodes``: ``NODE.flows``, ``NODE.meters``, and ``NODE.groups`` where there are groups."""
    files = {}
    for node in nodes:
        program = compile_node(state, node, offline_ports(state, node))
        files[f"{node}.flows"] = flows_text(program)
        files[f"{node}.meters"] = meters_text(program)
        if program.groups:
            files[f"{node}.groups"] = groups_text(program)
    return files


@click.command
@FOLDER
@click.option("--node", "nodes", multiple=True, help="Only this node; may be repeated.")
@click.option(
    "--write", is_flag=True, help="Write NODE.flows, NODE.meters and NODE.groups beside the manifests."
)
def command(source: Path, nodes: tuple[str, ...], write: bool) -> None:
    """Print the flows, meters and groups of each node's bridge.

    Pods get the port numbers 1, 2, ... in order of namespace/name: which ports a live bridge has, its database says.
    Every flow stands under its table's heading and below the name of the object that it comes from.
    """
    result = built(source)
    state = result.state
    unknown = sorted(set(nodes) - set(state.node_by_name))
    if unknown:
        known = ", ".join(state.node_by_name) or "none"
        raise click.ClickException(f"no Node {', '.join(unknown)} in {source}; there are: {known}")
    files = programs_text(state, nodes or tuple(state.node_by_name))
    if write:
        folder = source if source.is_dir() else source.parent
        _write(folder, files, prune=not nodes)
    else:
        for name, text in files.items():
            click.echo(f"# {name}\n{text}")
    if result.problems:
        raise SystemExit(1)


def _write(folder: Path, files: dict[str, str], *, prune: bool) -> None:
    """Write what differs; with ``prune``, remove listings of nodes that are no more."""
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            click.echo(f"wrote {path}")
    kinds = ("*.flows", "*.meters", "*.groups") if prune else ()
    listings = [path for kind in kinds for path in folder.glob(kind)]
    for path in sorted(listings):
        if path.name not in files:
            path.unlink()
            click.echo(f"removed {path}")
