"""``lace-sdn host``: keep the network stack of a node as its plan says."""

from __future__ import annotations

import logging
from pathlib import Path

import click


@click.command()
@click.option(
    "--plan",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the host's program, as the controller writes it; followed when it changes.",
)
@click.option(
    "--status",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write here which plan is in force, and what is in the way.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05, max=60.0),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="The whole host is read back this often.",
)
@click.option("--remove", is_flag=True, help="Take away what was set here, and end.")
@click.option("-v", "--verbose", is_flag=True, help="Log every change, not only what needs attention.")
def host(plan: Path | None, status: Path | None, interval: float, remove: bool, verbose: bool) -> None:
    """Keep nft table, addresses, routes and settings of the network namespace it runs in, until stopped.

    Stopping it changes nothing for packets. --remove takes everything away again, except the kernel's forwarding.
    """
    # netlink's library takes time to load, which --help need not.
    from lace_sdn.node import NodeError, agent  # noqa: PLC0415

    if not remove and (plan is None or status is None):
        raise click.UsageError("give --plan FILE and --status FILE, or --remove")
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        agent.require_host()
        if remove:
            problems = agent.remove().problems
        else:
            assert plan is not None  # noqa: S101  # for mypy: see above
            assert status is not None  # noqa: S101
            agent.Agent(agent.Settings(plan, status, interval)).run()
            problems = []
    except NodeError as error:
        raise click.ClickException(str(error)) from None
    if problems:
        raise click.ClickException("; ".join(problems))
