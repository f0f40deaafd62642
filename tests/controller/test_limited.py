"""What an operator is told of who is at a limit."""

from __future__ import annotations

from lace_sdn.controller.limited import Limited, LimitWatch

A, B = (Limited(f"Pod {name}", "refusals", "100 packets a second") for name in ("a/a", "b/b"))


def test_it_is_told_when_it_begins_and_when_it_is_over() -> None:
    """Not again and again."""
    watch = LimitWatch()
    told = [list(watch.note({A: count, B: 0})) for count in (0, 5, 9, 9, 9, 12)]
    assert told == [[], [(A, True)], [], [(A, False)], [], [(A, True)]]


def test_each_is_told_by_itself_and_counted() -> None:
    watch = LimitWatch()
    assert list(watch.note({A: 5})) == [(A, True)]
    assert list(watch.note({A: 6, B: 2})) == [(B, True)]
    assert watch.totals == {A: 6, B: 2}


def test_a_switch_that_counts_anew_takes_nothing_back() -> None:
    """It was restarted, or the port has another meter."""
    watch = LimitWatch()
    list(watch.note({A: 5}))
    list(watch.note({A: 3}))
    assert watch.totals == {A: 8}


def test_who_is_gone_is_over() -> None:
    watch = LimitWatch()
    list(watch.note({A: 5}))
    assert list(watch.note({})) == [(A, False)]


def test_who_has_all_that_it_may_have_is_at_its_limit_until_it_has_less() -> None:
    """Nothing was counted as dropped."""
    watch = LimitWatch()
    told = [list(watch.note({}, full)) for full in ((), (A,), (A, B), ())]
    assert told == [[], [(A, True)], [(B, True)], [(A, False), (B, False)]]
    assert watch.totals == {}
