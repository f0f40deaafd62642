"""How many packets are answered: so many a second, and never more than a second's worth at once; each port by itself."""

from __future__ import annotations

from lace_sdn.switch.allowance import Allowance, Allowances


def taken(allowance: Allowance, times: list[float]) -> list[bool]:
    """What it grants."""
    return [allowance.take(now) for now in times]


def test_a_second_s_worth_may_come_at_once() -> None:
    assert taken(Allowance(3, 3, 100.0), [100.0] * 5) == [True] * 3 + [False] * 2


def test_what_was_taken_comes_back_with_time() -> None:
    """One each third of a second."""
    assert taken(Allowance(3, 0, 100.0), [100.2, 100.4, 100.5, 100.8, 100.9]) == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_what_was_not_taken_is_not_saved() -> None:
    """After an hour it is still a second's worth."""
    assert taken(Allowance(3, 3, 100.0), [3700.0] * 5) == [True] * 3 + [False] * 2


def test_a_refusal_costs_nothing() -> None:
    assert taken(Allowance(1, 0, 100.0), [100.5, 100.6, 100.7, 101.1]) == [False, False, False, True]


def test_what_one_port_takes_is_not_missing_to_another() -> None:
    """And what it takes is its own."""
    shares = Allowances(2)
    assert [shares.take(port, 5.0) for port in (1, 1, 1, 2, 1, 2, 2)] == [
        True,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
