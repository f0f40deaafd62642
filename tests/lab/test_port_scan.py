"""A port scan from pods, from hosts outside and from the nodes themselves: exactly the allowed set answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scanning import scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from lace_sdn.kube.build import Built
    from lace_sdn.lab.names import Lab

    Bring = Callable[[Lab, Path], Built]

BOOK = Path(__file__).parents[2] / "flows"


@pytest.mark.parametrize(
    ("scenario", "least"),
    [("back-doors", 40), ("nodeport-denied", 40), ("host-probe", 8), ("api-server", 12)],
)
def test_exactly_the_allowed_set_answers(  # noqa: PLR0913, PLR0917 - fixtures
    standing: Lab,
    bring: Bring,
    scenario: str,
    least: int,
    record_property: pytest.RecordProperty,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every address of the lab, inner ones too, at every declared port and twenty others, by TCP and UDP, in both families."""
    state = bring(standing, BOOK / scenario).state
    wrong, asked, answered = scan(standing, state)
    record_property("asked", asked)
    with capsys.disabled():
        print(f"\nport scan, {scenario}: {asked} questions, {answered} answered")
    assert wrong == []
    assert answered >= least
