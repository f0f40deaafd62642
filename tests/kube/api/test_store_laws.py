"""Whatever order lists, events, repeated events and late answers come in: a store ends where the server is, and never goes back.

The server is a log of versions. A reflector hears it in order, from its list on; answers to writes come at any time after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lace_sdn.kube.api.store import Store

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["x", "y", "left out"])


@dataclass(frozen=True)
class Change:
    """``value``: None for a removal."""

    version: int
    name: str
    value: str | None
    before: int = 0
    """The version that ended here."""

    def body(self, version: int | str) -> dict[str, Any]:
        metadata = {"namespace": "shop", "name": self.name, "resourceVersion": str(version)}
        return {"kind": "Pod", "metadata": metadata, "value": self.value}


def _transform(body: dict[str, Any]) -> tuple[int, str] | None:
    value = body["value"]
    return None if value == "left out" else (int(body["metadata"]["resourceVersion"]), value)


class Interleavings(RuleBasedStateMachine):
    """``heard``: how far the watch has come in the log; ``least``: by name, the version that the store must not go back behind."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Change] = []
        self.present: dict[str, Change] = {}
        self.heard = 0
        self.since = 0
        self.listing: tuple[dict[str, Change], int] | None = None
        self.least = dict.fromkeys(["a", "b", "c"], 0)
        self.mirror: dict[str, Any] = {}
        self.store: Store[tuple[int, str]] = Store(_transform)
        self.store.on_change = self._told

    def _told(self, key: tuple[str, str], old: Any, new: Any) -> None:
        assert old != new
        assert self.mirror.get(key[1]) == old
        self.mirror[key[1]] = new

    def _take(self, change: Change) -> None:
        if change.value is None:
            self.store.remove(change.body(change.version))
        else:
            self.store.put(change.body(change.version))
        self.least[change.name] = max(self.least[change.name], change.version)

    @initialize()
    def begin(self) -> None:
        self.write("a", "x")
        self.ask_for_a_list()

    @rule(name=NAMES, value=VALUES)
    def write(self, name: str, value: str) -> None:
        self.present[name] = Change(len(self.log) + 1, name, value)
        self.log.append(self.present[name])

    @rule(name=NAMES, says_so=st.sampled_from(["not", "with its version", "without"]))
    def delete(self, name: str, says_so: str) -> None:
        if name not in self.present:
            return
        known = self.present.pop(name)
        self.log.append(Change(len(self.log) + 1, name, None, known.version))
        if says_so != "not" and self.store.get("shop", name) == (known.version, known.value):
            self.store.remove(known.body(known.version if says_so == "with its version" else ""))
            self.least[name] = max(self.least[name], known.version + 1)

    @rule(back=st.integers(1, 8))
    def an_answer_comes_late(self, back: int) -> None:
        """Of one of the last writes; those that delete answer with nothing that is kept."""
        for change in self.log[-back:][:1]:
            if change.value is not None:
                self.store.put(change.body(change.version))

    @precondition(lambda self: self.listing is None)
    @rule(count=st.integers(1, 4))
    def hear(self, count: int) -> None:
        for change in self.log[self.heard : self.heard + count]:
            self._take(change)
            self.heard += 1

    @precondition(lambda self: self.listing is None)
    @rule(count=st.integers(1, 4))
    def hear_again(self, count: int) -> None:
        for change in self.log[max(self.since, self.heard - count) : self.heard]:
            self._take(change)

    @precondition(lambda self: self.listing is None)
    @rule()
    def ask_for_a_list(self) -> None:
        self.listing = dict(self.present), len(self.log)

    @precondition(lambda self: self.listing is not None)
    @rule()
    def get_the_list(self) -> None:
        assert self.listing is not None
        listed, version = self.listing
        self.listing = None
        self.store.replace([each.body(each.version) for each in listed.values()], str(version))
        self.since = self.heard = version
        for name, least in self.least.items():
            # A list that is newer than what was known counts, also where the store took an object for removed.
            if least <= version + 1:
                self.least[name] = listed[name].version if name in listed else version + 1

    @invariant()
    def it_never_goes_back(self) -> None:
        for (_, name), (version, _) in self.store.items():
            assert version >= self.least[name]

    @invariant()
    def who_listens_knows_the_same(self) -> None:
        known = {name: value for name, value in self.mirror.items() if value is not None}
        assert known == {name: value for (_, name), value in self.store.items()}

    def teardown(self) -> None:
        if self.listing is not None:
            self.get_the_list()
        self.hear(len(self.log))
        for back in range(1, 9):
            self.an_answer_comes_late(back)
        meant = {name: (each.version, each.value) for name, each in self.present.items()}
        assert {name: value for (_, name), value in self.store.items()} == {
            name: value for name, value in meant.items() if value[1] != "left out"
        }


Interleavings.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
test_any_interleaving = Interleavings.TestCase
