"""The judges judged: each seeded fault of an operator is found."""

from __future__ import annotations

import pytest
from operator_faults import FAULTS
from verdicts import JUDGES


@pytest.mark.parametrize("judge", JUDGES, ids=lambda each: each.__name__)
def test_judges_find_nothing_in_the_operator(judge: object) -> None:
    assert list(judge()) == []  # type: ignore[operator]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_fault_is_found(fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.seed(monkeypatch)  # type: ignore[attr-defined]
    assert any(next(judge(), "") for judge in JUDGES)
