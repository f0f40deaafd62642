"""Errors of the kernel as an operator's message: what they are about, and what to do."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pyroute2.netlink.exceptions import NetlinkError

from lace_sdn.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTS = (NetlinkError, OSError, KeyError)
"""What the kernel, or a file that is not as it was written, answers where something was changed behind the lab's back."""


@contextlib.contextmanager
def concerning(what: str) -> Iterator[None]:
    """Raise what goes wrong inside as LabError about ``what``, e.g. ``pod "shop/web-0"``."""
    try:
        yield
    except FAULTS as problem:
        raise LabError(in_words(what, problem)) from problem


def in_words(what: str, problem: Exception) -> str:
    """The message of ``problem``, which is one of FAULTS."""
    return (
        f"{what}: {_reason(problem)}; `lace-sdn lab up` completes the lab, or `lace-sdn lab down` removes it"
    )


def _reason(problem: Exception) -> str:
    if isinstance(problem, NetlinkError):
        # Our own say more than the kernel's number.
        return str(problem.args[1]) if len(problem.args) > 1 else os.strerror(problem.code)
    if isinstance(problem, KeyError):
        return f"{problem} is missing"
    return str(problem)
