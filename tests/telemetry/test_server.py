"""What a process says of itself over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Gauge

from lace_sdn.telemetry import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lace_sdn.telemetry import Server


@pytest.fixture
def server() -> Iterator[Server]:
    registry = CollectorRegistry()
    Gauge("things", "How many there are.", registry=registry).set(3)
    its = serve("127.0.0.1:0", lambda: "", lambda: "not listed yet: Pod", registry)
    yield its
    its.close()


def test_who_is_well_says_ok(server: Server) -> None:
    with urlopen(f"http://{server.address}/healthz") as answer:
        assert answer.read() == b"ok\n"


def test_who_is_not_ready_says_why(server: Server) -> None:
    with pytest.raises(HTTPError) as error:
        urlopen(f"http://{server.address}/readyz")
    with error.value as answer:
        assert (answer.status, answer.read()) == (503, b"not listed yet: Pod\n")


def test_metrics_are_in_the_format_of_prometheus(server: Server) -> None:
    with urlopen(f"http://{server.address}/metrics?name=things") as answer:
        assert b"things 3.0\n" in answer.read()


@pytest.mark.parametrize("address", ["9404", "localhost:", "localhost:http"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no HOST:PORT"):
        serve(address, str, str, CollectorRegistry())
