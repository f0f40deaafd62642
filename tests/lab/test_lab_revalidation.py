"""How the lab waits until switches have forgotten what older flows had said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.lab import processes, switches
from lace_sdn.lab.names import Lab
from lace_sdn.lab.switches import Switch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def test_two_rounds_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The round that is going on may have looked at a packet's flow before the change."""
    ran: list[str] = []

    def run(command: Sequence[str], **_options: object) -> str:
        ran.append(command[-1])
        return ""

    monkeypatch.setattr(processes, "run", run)
    switches.await_revalidation(Switch(Lab("any"), "node"))
    assert ran == ["revalidator/wait"] * 2
