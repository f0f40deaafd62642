"""Promises of the lab about namespaces: they come about however slow the machine is."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pytest
from pyroute2.netns import _create as create_at_once

from lace_sdn.lab import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab
SLOW = 3.0
"""Seconds; pyroute2 by itself gives a child process 2."""


@pytest.fixture
def name() -> Iterator[str]:
    its = f"lace-test-{secrets.token_hex(4)}"
    yield its
    netns.remove(its)


def test_a_namespace_that_takes_long_comes_about(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def create_late(*arguments: object) -> None:
        time.sleep(SLOW)
        create_at_once(*arguments)

    monkeypatch.setattr("pyroute2.netns._create", create_late)
    netns.ensure(name)
    assert netns.exists(name)
