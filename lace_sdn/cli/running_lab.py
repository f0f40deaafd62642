"""Which lab a verb speaks of: the option, and what the lab holds now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from lace_sdn.lab import LabError, desired
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    from lace_sdn.kube.build import Built

DEFAULT: Final = "lab"
LAB: Final = click.option(
    "--lab",
    "--name",
    "lab",
    metavar="NAME",
    help=f"What the lab of this name holds now.  [default: {DEFAULT}]",
)


def running(name: str | None) -> tuple[Lab, Built]:
    """The lab and its cluster. Raises ClickException for what cannot be a lab's name, or if there is no such lab."""
    try:
        lab = Lab(name or DEFAULT)
        return lab, desired.live(lab)
    except (LabError, OSError) as problem:
        raise click.ClickException(str(problem)) from None
