"""A reflector beside an API server that fails in every way: nothing is lost, nothing is asked too often, nothing is made up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from lace_sdn.kube.api import client
from lace_sdn.kube.api.reflector import RETRY_FIRST, RETRY_LAST, Outage, Reflector
from lace_sdn.kube.api.resources import NODES, Resource
from lace_sdn.kube.api.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apiserver import ApiServer

    from lace_sdn.kube.api.client import Api

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", is_namespaced=True)
WITHIN = 10.0
"""Seconds, far more than anything takes."""


class Watching:
    """A reflector in a thread of its own, what its store told, the versions that it watched from, and how long it paused.

    A hundredth of that is waited.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self.told: list[tuple[str, Any, Any]] = []
        self.pauses: list[float] = []
        self.asked: list[str] = []
        self.stop = threading.Event()
        self.store: Store[str] = Store(lambda body: body["data"]["value"])
        self.store.on_change = lambda key, old, new: self.told.append((key[1], old, new))
        self._watch = api.watch
        api.watch = self._noted  # type: ignore[method-assign]
        self.reflector = Reflector(api, CONFIG_MAPS, self.store, pause=self._pause, draw=lambda: 1.0)
        self.thread = threading.Thread(target=self.reflector.run, args=(self.stop,), daemon=True)

    def _pause(self, stop: threading.Event, seconds: float) -> bool:
        self.pauses.append(seconds)
        return stop.wait(seconds / 100)

    def _noted(self, *resources: Any, **options: Any) -> Iterator[Any]:
        self.asked.append(options["resource_version"])
        return self._watch(*resources, **options)

    def named(self) -> dict[str, str]:
        return {name: value for (_, name), value in self.store.items()}

    def becomes(self, **wanted: str) -> None:
        eventually(lambda: self.named() == wanted)

    def is_watching(self) -> None:
        """Wait until it is."""
        eventually(lambda: self.store.is_synced and self.reflector.statistics.watches)


def eventually(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WITHIN
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def put(api: Api, **values: str) -> None:
    for name, value in values.items():
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name}}
        api.create(CONFIG_MAPS, {**body, "data": {"value": value}})


def change(api: Api, **values: str) -> None:
    for name, value in values.items():
        api.patch(CONFIG_MAPS, name, "default", {"data": {"value": value}})


def delete(api: Api, *names: str) -> None:
    for name in names:
        api.delete(CONFIG_MAPS, name, "default")


@pytest.fixture
def watching(server: ApiServer, api: Api) -> Iterator[Watching]:
    put(api, a="1", b="1")
    found = Watching(api)
    yield found
    found.stop.set()
    server.faults.set()
    deadline = time.monotonic() + WITHIN
    while found.thread.is_alive() and time.monotonic() < deadline:
        server.break_connections()  # again: a watch may just have been about to begin
        found.thread.join(0.1)
    assert not found.thread.is_alive()


@pytest.fixture
def started(watching: Watching) -> Watching:
    watching.thread.start()
    watching.is_watching()
    watching.becomes(a="1", b="1")
    watching.told.clear()
    return watching


def through_storage(server: ApiServer, **values: str) -> None:
    """Changes that need no request: for a server that answers none."""
    served = server.served("", "v1", "configmaps")
    for name, value in values.items():
        old = server.storage.get(served, "default", name)
        server.storage.update(served, {**old, "metadata": dict(old["metadata"]), "data": {"value": value}})


def one_by_one(server: ApiServer, watching: Watching, between: Callable[[], None]) -> None:
    """Five changes; each is heard before the next."""
    for value in "23456":
        between()
        through_storage(server, a=value)
        watching.becomes(a=value, b="1")


def test_it_follows(started: Watching) -> None:
    put(started.api, c="1")
    change(started.api, a="2")
    delete(started.api, "b")
    started.becomes(a="2", c="1")
    assert started.told == [("c", None, "1"), ("a", "1", "2"), ("b", "1", None)]
    assert started.reflector.trouble == ""


def test_nothing_is_synced_before_a_whole_list(
    server: ApiServer, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of its pages are no list."""
    monkeypatch.setattr(client, "PAGE", 1)
    pages = watching.api.pages

    def one_page(*asked: Any) -> Iterator[Any]:
        yield next(pages(*asked))
        server.faults.set(status=500)
        watching.api.get(CONFIG_MAPS, "a", "default")

    monkeypatch.setattr(watching.api, "pages", one_page)
    watching.thread.start()
    eventually(lambda: watching.reflector.statistics.errors > 2)
    assert (watching.store.is_synced, watching.named()) == (False, {})
    monkeypatch.undo()
    server.faults.set()
    watching.becomes(a="1", b="1")
    assert watching.store.is_synced


def test_connections_that_break_lose_nothing(server: ApiServer, started: Watching) -> None:
    one_by_one(server, started, server.break_connections)
    assert [new for _, _, new in started.told] == list("23456")
    assert started.reflector.statistics.lists == 1


def test_a_watch_that_is_dropped_again_and_again_loses_nothing(server: ApiServer, started: Watching) -> None:
    server.faults.set(watch_seconds=0.05)
    server.break_connections()
    one_by_one(server, started, lambda: None)
    assert [new for _, _, new in started.told] == list("23456")
    assert started.reflector.statistics.lists == 1


def test_a_version_that_is_too_old_is_listed_anew_and_the_difference_told(
    server: ApiServer, started: Watching
) -> None:
    server.faults.set(status=500)
    server.break_connections()
    eventually(lambda: started.reflector.statistics.errors > 0)
    through_storage(server, a="2")
    server.storage.expire()
    server.faults.set()
    started.becomes(a="2", b="1")
    assert started.told == [("a", "1", "2")]
    assert started.reflector.statistics.lists == 2


def test_a_watch_that_expires_while_it_is_open_is_listed_anew(server: ApiServer, started: Watching) -> None:
    server.storage.expire()
    eventually(lambda: started.reflector.statistics.lists == 2)
    through_storage(server, b="2")
    started.becomes(a="1", b="2")
    assert started.told == [("b", "1", "2")]


def test_pages_that_expire_are_asked_for_from_the_start(
    server: ApiServer, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAGE", 1)
    ask, expired = watching.api._ask, [False]

    def expiring(*asked: Any, **more: Any) -> Any:
        if "continue" in (asked[2] if len(asked) > 2 else {}) and not expired[0]:
            expired[0] = True
            server.expire_tokens()
        return ask(*asked, **more)

    monkeypatch.setattr(watching.api, "_ask", expiring)
    watching.thread.start()
    watching.becomes(a="1", b="1")
    assert (expired, watching.reflector.statistics.errors) == ([True], 0)


def test_a_server_that_hangs_is_given_up(
    server: ApiServer, started: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and says nothing."""
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.2)
    server.faults.set(hang=True)
    server.break_connections()
    eventually(lambda: started.reflector.statistics.errors >= 3)
    assert "timed out" in started.reflector.trouble
    through_storage(server, a="2")
    server.faults.set()
    started.becomes(a="2", b="1")
    assert started.reflector.trouble == ""


def test_a_watch_that_falls_silent_is_given_up(
    server: ApiServer, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without bookmarks it is dead, though its connection is not."""
    monkeypatch.setattr(client, "SILENCE", 0.3)
    server.faults.set(silent=True)
    watching.thread.start()
    watching.is_watching()
    through_storage(server, a="2")
    eventually(lambda: watching.reflector.statistics.errors)
    server.faults.set()
    watching.becomes(a="2", b="1")


def test_a_server_that_refuses_is_asked_ever_more_seldom(server: ApiServer, started: Watching) -> None:
    server.faults.set(status=500)
    server.break_connections()
    eventually(lambda: len(started.pauses) >= 9)
    assert started.pauses[:7] == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]
    assert (started.pauses[0], max(started.pauses)) == (RETRY_FIRST, RETRY_LAST)
    assert started.reflector.trouble.startswith("500 InternalError")


def test_after_an_event_the_first_pause_is_short_again(server: ApiServer, started: Watching) -> None:
    server.faults.set(status=500)
    server.break_connections()
    eventually(lambda: len(started.pauses) >= 6)
    started.pauses.clear()
    server.faults.set(watch_seconds=0.05)
    through_storage(server, a="2")
    started.becomes(a="2", b="1")
    eventually(lambda: RETRY_FIRST in started.pauses)


def test_a_watch_goes_on_from_the_last_event(server: ApiServer, started: Watching) -> None:
    through_storage(server, a="2")
    started.becomes(a="2", b="1")
    heard = str(server.storage.version)
    server.break_connections()
    eventually(lambda: started.asked[-1] == heard)


def test_a_watch_goes_on_from_the_last_bookmark(server: ApiServer, started: Watching) -> None:
    """What changes elsewhere makes versions old, too."""
    server.bookmarks = 0.05
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    heard = started.api.create(NODES, body)["metadata"]["resourceVersion"]
    server.faults.set(watch_seconds=0.5)
    eventually(lambda: started.asked[-1] == heard)


def test_a_server_that_ends_every_watch_is_asked_about_once_a_second(
    server: ApiServer, started: Watching
) -> None:
    server.faults.set(watch_seconds=0.01)
    server.break_connections()
    eventually(lambda: len(started.pauses) >= 8)
    assert set(started.pauses[4:]) <= {1.0}


def test_a_server_that_asks_for_patience_gets_it(server: ApiServer, started: Watching) -> None:
    server.faults.set(status=429, retry_after=30)
    server.break_connections()
    eventually(lambda: 30.0 in started.pauses)
    assert started.pauses[-1] == 30.0
    server.faults.set()


def test_a_refusal_to_list_is_said(server: ApiServer, watching: Watching) -> None:
    server.faults.set(status=403)
    watching.thread.start()
    eventually(lambda: watching.reflector.trouble)
    assert watching.reflector.trouble.startswith("403")
    assert not watching.store.is_synced


def test_it_ends_at_once_when_it_pauses(server: ApiServer, api: Api) -> None:
    server.faults.set(status=500)
    reflector = Reflector(api, CONFIG_MAPS, Store(dict), draw=lambda: 1.0)
    stop = threading.Event()
    thread = threading.Thread(target=reflector.run, args=(stop,), daemon=True)
    thread.start()
    eventually(lambda: reflector.statistics.errors >= 3)
    stop.set()
    thread.join(0.5)
    assert not thread.is_alive()


def test_it_ends_with_the_next_word_of_the_server(started: Watching) -> None:
    """A watch that waits is not broken off: its threads are daemons."""
    started.stop.set()
    change(started.api, a="2")
    started.thread.join(1.0)
    assert not started.thread.is_alive()
    assert started.named() == {"a": "2", "b": "1"}


def test_a_fault_of_a_listener_ends_nothing(started: Watching, caplog: pytest.LogCaptureFixture) -> None:
    """The watch begins again where it was, and the listener is told then."""
    started.store.on_change = lambda *_: 1 / 0
    change(started.api, a="2")
    eventually(lambda: started.reflector.statistics.errors)
    started.store.on_change = lambda *_: None
    change(started.api, b="2")
    started.becomes(a="2", b="2")
    assert "watching failed" in caplog.text


def test_who_finds_the_server_back_ends_the_pauses_of_the_others() -> None:
    outage, stop, ended = Outage(), threading.Event(), []
    waiting = threading.Thread(target=lambda: ended.append(outage.pause(stop, 60.0)))
    waiting.start()
    eventually(lambda: outage.found("pods") or bool(ended))
    waiting.join(5)
    assert ended == [False]


def test_a_pause_ends_with_the_process() -> None:
    stop = threading.Event()
    stop.set()
    assert Outage().pause(stop, 60.0)


def test_an_outage_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    times = iter([100.0, 107.0])
    outage = Outage(lambda: next(times))
    for plural in ("pods", "nodes", "pods"):
        outage.lost(plural, "http://api: connection refused")
    for plural in ("nodes", "pods"):
        outage.found(plural)
    assert [record.getMessage() for record in caplog.records] == [
        "the API server is away: http://api: connection refused; what is known stays in force, trying again",
        "the API server is back after 7 s",
    ]


def test_a_server_that_is_away_is_a_trouble_of_every_watch(server: ApiServer, started: Watching) -> None:
    server.break_connections()
    server.faults.set(status=500)
    eventually(lambda: started.reflector.trouble)
    server.faults.set()
    eventually(lambda: not started.reflector.trouble)
