"""``lace-sdn operator``: what must be unique in the cluster, done once."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import click

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its Namespace."""


def _default_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "kube-system"
    except OSError:
        return "kube-system"


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="How to reach the API server; without it, as the pod's service account.",
)
@click.option("--api-server", metavar="URL", help="Another address of the API server than that says.")
@click.option(
    "--namespace",
    help="Namespace of the Lease.  [default: the pod's own, else kube-system]",
)
@click.option("--lease", default="lace-sdn-operator", show_default=True, help="Name of the Lease.")
@click.option("--identity", help="Of this process, unlike any other's.  [default: host name and process id]")
@click.option(
    "--telemetry",
    default="127.0.0.1:9404",
    show_default=True,
    metavar="HOST:PORT",
    help="Serve /healthz, /readyz and /metrics there; empty for not at all.",
)
@click.option(
    "--keys",
    "last_key",
    type=click.IntRange(1, 0xFFFFFF),
    default=0xFFFFFF,
    help="The largest network key to give.",
    hidden=True,
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0.0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="So long a block or key has no use before it is taken back.",
)
@click.option(
    "--lease-seconds",
    type=click.FloatRange(min=1.0),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="After so long without a sign of life another one leads.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every change, not only what needs attention.")
def operator(  # noqa: PLR0913, PLR0917 - the options of a command are its parameters
    kubeconfig: Path | None,
    api_server: str | None,
    namespace: str | None,
    lease: str,
    identity: str | None,
    telemetry: str,
    last_key: int,
    grace: float,
    lease_seconds: float,
    verbose: bool,
) -> None:
    """Give network keys and blocks of addresses, and say in each object's status what became of it, until stopped.

    Several may run: one leads, by a Lease. Stopping all of them changes nothing for packets; new networks, and pods on nodes that are new to
    theirs, wait until one is back.
    """
    # The client library takes time to load, which --help need not.
    from lace_sdn.kube.api.client import ApiUnreachable  # noqa: PLC0415
    from lace_sdn.kube.api.elector import Times  # noqa: PLC0415
    from lace_sdn.operator.process import Process, Settings  # noqa: PLC0415

    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings(
        namespace or _default_namespace(),
        identity or f"{socket.gethostname()}_{os.getpid()}",
        kubeconfig,
        api_server,
        lease,
        telemetry,
        range(1, last_key + 1),
        grace,
        Times(lease_seconds, lease_seconds * 2 / 3, lease_seconds * 2 / 15),
    )
    try:
        Process(settings).run()
    except ApiUnreachable as error:
        raise click.ClickException(str(error)) from None
    except (OSError, ValueError) as error:
        raise click.ClickException(f"--telemetry {telemetry}: {error}") from None
