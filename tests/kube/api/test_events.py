"""Events: said once, not too many, and never an error for who says them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lace_sdn.kube.api.events import AGAIN, BURST, Events
from lace_sdn.kube.api.resources import EVENTS

if TYPE_CHECKING:
    from apiserver import ApiServer

    from lace_sdn.kube.api.client import Api

RED = {"apiVersion": "lace-cni.io/v1alpha1", "kind": "Network", "name": "red", "uid": "u1"}


class Speaker:
    def __init__(self, api: Api) -> None:
        self.now = 1000.0
        self.api = api
        self.events = Events(api, "lace-cni.io/operator", "here", clock=lambda: self.now)

    def say(self, note: str, **regarding: str) -> bool:
        about = {**RED, **regarding}
        return self.events.record(about, type="Warning", reason="Conflict", action="Resolve", note=note)

    def say_many(self, count: int) -> int:
        return sum(self.say(f"number {number}") for number in range(count))

    def said(self) -> list[Any]:
        return self.api.list(EVENTS)[0]


@pytest.fixture
def speaker(api: Api) -> Speaker:
    return Speaker(api)


def test_an_event_says_who_and_what(speaker: Speaker) -> None:
    assert speaker.say("two claim it")
    (event,) = speaker.said()
    assert event["regarding"] == RED
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "Conflict", "two claim it")
    assert (event["reportingController"], event["reportingInstance"]) == ("lace-cni.io/operator", "here")
    assert event["metadata"]["namespace"] == "default"


def test_it_stands_beside_its_object(speaker: Speaker) -> None:
    speaker.say("one", namespace="kube-system")
    assert [each["metadata"]["namespace"] for each in speaker.said()] == ["kube-system"]


def test_the_same_is_said_once_an_hour(speaker: Speaker) -> None:
    assert [speaker.say("one"), speaker.say("one"), speaker.say("other")] == [True, False, True]
    speaker.now += AGAIN
    assert speaker.say("one")


def test_two_processes_say_the_same_once(speaker: Speaker, api: Api) -> None:
    """One that begins anew, too: its name says what it is about."""
    speaker.say("one")
    assert Speaker(api).say("one")
    assert len(speaker.said()) == 1


def test_there_are_not_too_many(speaker: Speaker) -> None:
    assert speaker.say_many(int(BURST) + 30) == BURST
    speaker.now += 1.0
    assert speaker.say_many(int(BURST) + 30) == 5


def test_a_long_note_is_cut(speaker: Speaker) -> None:
    speaker.say("x" * 2000)
    (event,) = speaker.said()
    assert (len(event["note"]), event["note"][-4:]) == (1024, "x...")


@pytest.mark.parametrize("end", ["-b", ".b", "bb"])
def test_a_long_name_gives_a_good_one(speaker: Speaker, end: str) -> None:
    assert speaker.say("one", name="a" * 199 + end + "c" * 40)


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"status": 503}, {"refuse": True}])
def test_what_could_not_be_said_now_is_said_later(
    server: ApiServer, speaker: Speaker, fault: dict[str, int]
) -> None:
    server.faults.set(**fault)
    assert not speaker.say("one")
    server.faults.set()
    assert speaker.say("one")


def test_what_must_not_be_said_is_not_tried_again_at_once(server: ApiServer, speaker: Speaker) -> None:
    """A ServiceAccount without the right to it asks once an hour."""
    server.faults.set(status=403)
    assert not speaker.say("one")
    server.faults.set()
    assert not speaker.say("one")
    assert speaker.said() == []
