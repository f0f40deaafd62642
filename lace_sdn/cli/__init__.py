"""The command line: one module a verb, loaded only when that verb is asked for.

A verb's module holds a click command (or group) named as the verb, or ``command`` where that is a word of Python. So the program starts fast, and what one verb needs at
import (the controller's event loop patches the standard library) never touches another.
"""

from __future__ import annotations

import errno
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

import click

VERBS: Final = {
    "check": "Say everything that is wrong with manifests.",
    "compile": "Print the flow tables that manifests mean, or write them to files.",
    "controller": "Keep the switches of the nodes at what manifests mean.",
    "flows": "Show a switch's flows with the names of what they stand for.",
    "host": "Keep a node's own network stack as its plan says.",
    "lab": "A cluster on this machine: nodes, pods and switches.",
    "operator": "Give network keys and blocks of addresses in a Kubernetes cluster.",
    "matrix": "Print who may reach whom, from manifests alone.",
    "why": "Explain why a connection is allowed or denied, flow by flow.",
}
"""Verb -> one sentence; the module's own text is shown by ``lace-sdn VERB --help``."""


class Verbs(click.Group):
    """Commands found by name in this package."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"{__name__}.{cmd_name}")
        command = getattr(module, "command", None) or getattr(module, cmd_name)
        assert isinstance(command, click.Command), cmd_name  # noqa: S101  # a fault of ours, not of the user
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """A full disk behind standard output is the operator's to mend; no traceback for it."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                raise
            raise click.ClickException(f"cannot write the output: {error.strerror}") from None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: lace-sdn lab up -f manifests/examples/quickstart.yaml",
)
@click.version_option(version("lace-sdn"), prog_name="lace-sdn")
def main() -> None:
    """Isolated networks and directional policies for Kubernetes, on Open vSwitch.

    DIR is a folder of Kubernetes manifests, or one file.
    """
