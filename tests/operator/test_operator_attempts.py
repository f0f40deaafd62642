"""An attempt of the operator that failed is no attempt: one object, network or Service that fails is tried again, and the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memory_api import MemoryServer
from objects import network
from test_memberships import Office

from lace_sdn.kube.api.resources import NETWORKS
from lace_sdn.operator import facts, worker
from lace_sdn.operator.feed import Feed
from lace_sdn.operator.index import Index
from lace_sdn.operator.memberships import Memberships
from lace_sdn.operator.worker import Worker
from lace_sdn.operator.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Once:
    """Fails the first time that it is called about ``what``."""

    def __init__(self, right: Callable[..., Any], is_it: Callable[..., bool]) -> None:
        self._right = right
        self._is_it = is_it
        self.failed = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if not self.failed and self._is_it(*arguments):
            self.failed += 1
            raise RuntimeError("a mistake of ours")
        return self._right(*arguments, **options)


def test_an_object_that_could_not_be_taken_over_is_taken_over_later(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(range(1, 10))
    feed = Feed(index)
    wrong = Once(facts.network_fact, lambda data: data["metadata"]["name"] == "red")
    monkeypatch.setattr(facts, "network_fact", wrong)
    for name in ("red", "blue"):
        body = network(name)
        body["metadata"] |= {"uid": name, "resourceVersion": "1"}
        feed.listener(NETWORKS)(("", name), None, body)
    feed.settle()
    assert (set(index.networks), wrong.failed) == ({"blue"}, 1)
    feed.settle()
    assert set(index.networks) == {"red", "blue"}


def test_what_came_later_is_not_undone_by_what_failed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index(range(1, 10))
    feed = Feed(index)
    monkeypatch.setattr(facts, "network_fact", Once(facts.network_fact, lambda _data: True))
    body = network("red")
    body["metadata"] |= {"uid": "red", "resourceVersion": "1"}
    feed.listener(NETWORKS)(("", "red"), None, body)
    feed.settle()
    feed.listener(NETWORKS)(("", "red"), body, None)
    feed.settle()
    feed.settle()
    assert not index.networks


def test_a_service_that_could_not_be_worked_out_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    office.service(office.add("a", "red", "10.0.0.2"))
    wrong = Once(office.memberships.wanted, lambda _key: True)
    monkeypatch.setattr(office.memberships, "wanted", wrong)
    assert office.settle() is None
    assert isinstance(office.memberships, Memberships)
    assert office.memberships.due is not None
    monkeypatch.setattr(office.memberships, "_clock", lambda: 100.0)
    assert office.memberships.serve()
    assert office.settle() is not None


def test_a_network_that_cannot_be_planned_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    server, index, now = MemoryServer(), Index(range(1, 10)), [0.0]
    feed = Feed(index)

    def settle() -> None:
        for resource, key, data in server.log[len(taken) :]:
            taken.append(key)
            feed.listener(resource)(key, None, data)
        feed.settle()

    class Nobody:
        def put(self, *_: object) -> None: ...
        def drop(self, *_: object) -> None: ...

    taken: list[Any] = []
    wrong = Once(worker.plan, lambda view, _ripe: view.name == "red")
    monkeypatch.setattr(worker, "plan", wrong)
    its = Worker(
        index,
        Writer(server, Nobody()),  # type: ignore[arg-type]
        settle=settle,
        may_write=lambda: True,
        clock=lambda: now[0],
        jitter=lambda: 0.5,
    )
    for name, prefix in (("red", "10.0.0.0/16"), ("blue", "10.1.0.0/16")):
        server.create(NETWORKS, network(name, prefix))
    due = its.work()
    keys = {
        key[1]: each["status"].get("networkKey")
        for key, each in server.of(NETWORKS).items()
        if "status" in each
    }
    assert (wrong.failed, set(keys)) == (1, {"blue"})
    assert due is not None
    now[0] = 100.0
    its.work()
    assert all(each.get("status") for each in server.of(NETWORKS).values())
