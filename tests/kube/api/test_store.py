"""A store: what is older than what is known changes nothing, and whoever listens hears each change once."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lace_sdn.kube.api import store as its
from lace_sdn.kube.api.store import Store

Change = tuple[tuple[str, str], Any, Any]


def pod(name: str, version: int | str, value: str = "", namespace: str = "shop") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "value": value}


class Watched:
    """A store of values, and what it told."""

    def __init__(self) -> None:
        self.told: list[Change] = []
        self.store: Store[str] = Store(lambda body: body["value"] or None)
        self.store.on_change = lambda key, old, new: self.told.append((key, old, new))

    def named(self) -> dict[str, str]:
        return {name: value for (_, name), value in self.store.items()}


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_it_is_synced_with_the_first_whole_list(watched: Watched) -> None:
    watched.store.put(pod("a", 1, "x"))
    assert not watched.store.is_synced
    watched.store.replace([], "2")
    assert watched.store.is_synced


def test_each_change_is_told_once(watched: Watched) -> None:
    watched.store.put(pod("a", 1, "x"))
    watched.store.put(pod("a", 1, "x"))
    watched.store.put(pod("a", 2, "y"))
    watched.store.remove(pod("a", 3, "y"))
    watched.store.remove(pod("a", 3, "y"))
    key = ("shop", "a")
    assert watched.told == [(key, None, "x"), (key, "x", "y"), (key, "y", None)]
    assert watched.store.version == 3


def test_what_is_transformed_to_the_same_is_no_change(watched: Watched) -> None:
    watched.store.put(pod("a", 1, "x"))
    watched.store.put(pod("a", 2, "x"))
    assert (len(watched.told), watched.store.version) == (1, 1)


def test_a_second_list_tells_the_difference_alone(watched: Watched) -> None:
    watched.store.replace([pod("stays", 1, "x"), pod("goes", 2, "x"), pod("changes", 3, "x")], "4")
    watched.told.clear()
    watched.store.replace([pod("stays", 1, "x"), pod("changes", 6, "y"), pod("comes", 7, "x")], "8")
    assert sorted(watched.told) == [
        (("shop", "changes"), "x", "y"),
        (("shop", "comes"), None, "x"),
        (("shop", "goes"), "x", None),
    ]


def test_an_older_state_changes_nothing(watched: Watched) -> None:
    watched.store.put(pod("a", 5, "new"))
    watched.store.put(pod("a", 4, "old"))
    watched.store.remove(pod("a", 3, "old"))
    assert watched.named() == {"a": "new"}


@pytest.mark.parametrize("late", [4, 5, 9, 10])
def test_a_removal_is_not_undone_by_an_older_answer(watched: Watched, late: int) -> None:
    """10 is also the version of the write by which an object leaves a selector."""
    watched.store.put(pod("a", 5, "x"))
    watched.store.remove(pod("a", 10, "x"))
    watched.store.put(pod("a", late, "x"))
    assert watched.named() == {}


def test_a_removal_that_is_heard_again_forgets_no_later_one(watched: Watched) -> None:
    watched.store.remove(pod("a", 10, "x"))
    watched.store.remove(pod("a", 8, "x"))
    watched.store.put(pod("a", 9, "x"))
    assert watched.named() == {}


def test_an_object_of_the_same_name_may_come_after_a_removal(watched: Watched) -> None:
    watched.store.remove(pod("a", 10, "x"))
    watched.store.put(pod("a", 11, "y"))
    watched.store.remove(pod("a", 10, "x"))
    assert watched.named() == {"a": "y"}


@pytest.mark.parametrize("late", [4, 5, 9])
def test_what_a_list_did_not_have_is_not_brought_back_by_an_older_answer(watched: Watched, late: int) -> None:
    """Its end was not heard: the watch had broken off, and the list tells by leaving it out."""
    watched.store.put(pod("a", 4, "x"))
    watched.store.replace([], "9")
    watched.store.put(pod("a", late, "x"))
    assert watched.named() == {}


def test_an_answer_that_is_newer_than_the_list_stays(watched: Watched) -> None:
    """It was written while the list was on its way."""
    watched.store.put(pod("new", 10, "x"))
    watched.store.replace([pod("a", 3, "x")], "9")
    assert watched.named() == {"a": "x", "new": "x"}


def test_a_removal_that_is_newer_than_the_list_stays(watched: Watched) -> None:
    watched.store.put(pod("a", 3, "x"))
    watched.store.remove(pod("a", 10, "x"))
    watched.store.replace([pod("a", 3, "x")], "9")
    assert watched.named() == {}


def test_a_list_brings_back_what_was_taken_for_removed(watched: Watched) -> None:
    """Whoever deletes says so before the server does; the server's word counts."""
    watched.store.put(pod("a", 3, "x"))
    watched.store.remove(pod("a", "", "x"))
    watched.store.replace([pod("a", 3, "x")], "9")
    assert watched.named() == {"a": "x"}


def test_a_removal_without_a_version_outlasts_what_was_known(watched: Watched) -> None:
    watched.store.put(pod("a", 5, "x"))
    watched.store.remove(pod("a", "", "x"))
    watched.store.put(pod("a", 5, "x"))
    assert watched.named() == {}
    watched.store.put(pod("a", 6, "y"))
    assert watched.named() == {"a": "y"}


def test_versions_that_are_no_numbers_are_taken_as_they_come(watched: Watched) -> None:
    watched.store.put(pod("a", "xyz", "x"))
    watched.store.put(pod("a", "abc", "y"))
    watched.store.replace([pod("b", "abc", "z")], "opaque")
    assert watched.named() == {"b": "z"}


def test_an_object_that_the_transform_leaves_out_is_not_there(watched: Watched) -> None:
    watched.store.put(pod("a", 1, "x"))
    watched.store.put(pod("a", 2, ""))
    watched.store.put(pod("a", 1, "x"))
    assert watched.named() == {}


def test_an_object_that_cannot_be_read_is_said_once_and_the_rest_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found: Store[int] = Store(lambda body: int(body["value"]))
    with caplog.at_level(logging.ERROR):
        found.replace([pod("bad", 1, "one"), pod("good", 2, "2")], "3")
        found.put(pod("bad", 4, "two"))
    assert found.items() == ((("shop", "good"), 2),)
    assert [record.getMessage() for record in caplog.records] == [
        "Pod shop/bad: cannot be read and is left out"
    ]


def test_objects_of_one_name_in_two_namespaces_are_two(watched: Watched) -> None:
    watched.store.put(pod("a", 1, "x", "one"))
    watched.store.put(pod("a", 2, "y", "two"))
    assert watched.store.get("one", "a") == "x"
    assert watched.store.get("two", "a") == "y"


def test_removals_are_not_remembered_for_ever(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods come and go for as long as a watch lasts; an answer that is late by so many of them is none."""
    monkeypatch.setattr(its, "REMEMBERED", 3)
    watched.store.remove(pod("first", 1, "x"))
    watched.store.remove(pod("second", 2, "x"))
    watched.store.remove(pod("first", 3, "x"))
    watched.store.remove(pod("third", 4, "x"))
    watched.store.remove(pod("fourth", 5, "x"))
    assert [name for _, name in watched.store._removed] == ["first", "third", "fourth"]


def test_a_change_whose_listener_failed_is_told_when_it_comes_again(watched: Watched) -> None:
    """Whether an object came, changed or went: who was to be told was not."""
    tell, store = watched.store.on_change, watched.store
    for act, body in (
        (store.put, pod("a", 1, "x")),
        (store.put, pod("a", 2, "y")),
        (store.remove, pod("a", 3, "y")),
    ):
        store.on_change = lambda *_: 1 / 0
        with pytest.raises(ZeroDivisionError):
            act(body)
        store.on_change = tell
        act(body)
    key = ("shop", "a")
    assert watched.told == [(key, None, "x"), (key, "x", "y"), (key, "y", None)]
    assert watched.named() == {}
