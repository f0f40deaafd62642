"""Manifests for the verbs that only read; what is wrong with them is said on standard error and stops nothing."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.ledger_file import read_ledger
from lace_sdn.kube.manifests import read
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.relations import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.argument("source", metavar="DIR", type=EXISTING)
MANIFESTS = click.option(
    "-f",
    "--filename",
    "source",
    metavar="DIR",
    type=EXISTING,
    required=True,
    help="Folder or file of manifests.",
)


def silently_built(source: Path, ledger: Ledger) -> Built:
    """What the manifests mean, given the allocations made so far.

    A scenario of the book is its ``cluster.yaml``: the folders of its steps hold other states of the same cluster.
    """
    scenario = source / "cluster.yaml"
    return build(read(scenario if (source / "reachability.txt").exists() else source), ledger)


def built(source: Path) -> Built:
    """What the manifests mean by themselves. Problems and bad conditions go to standard error."""
    result = silently_built(source, Ledger())
    for problem in result.problems:
        click.secho(str(problem), err=True, fg="red")
    if result.held:
        click.secho(result.held, err=True, fg="red")
    for each in (*result.conditions, *resolve(result.state).conditions):
        if not each.status:
            click.secho(f"{each.kind} {each.name}: {each.reason}: {each.message}", err=True, fg="yellow")
    return result


def ledger_of(path: Path | None) -> Ledger:
    """The allocations in a controller's state file; none without one. Raises ClickException for a bad file."""
    try:
        return read_ledger(path) if path else Ledger()
    except OSError as error:
        raise click.ClickException(str(error)) from None


def known(name: str, names: Iterable[str]) -> str:
    """What there is, and what was perhaps meant."""
    there = list(names)
    close = get_close_matches(name, there, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}there are: {', '.join(there) or 'none'}"
