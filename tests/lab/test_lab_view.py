"""Promises about how a lab is spoken of: names of places, the order of a matrix, its status."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from lace_sdn.cli.lab import _named
from lace_sdn.cli.lab_view import print_status, status_of
from lace_sdn.cli.matrix_view import matrix_table
from lace_sdn.lab import netns
from lace_sdn.model.objects import ExternalHost, Protocol
from lace_sdn.policy.oracle import Connection

if TYPE_CHECKING:
    from conftest import BringWith

    from lace_sdn.lab.names import Lab

PEERING = Path(__file__).parents[2] / "flows" / "one-way-peering"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("shop/web-0", "ip", "address"), ("shop/web-0", ("ip", "address"))),
        (("shop/web-0", "--", "ip", "address"), ("shop/web-0", ("ip", "address"))),
        (("host client", "--", "ip"), ("host client", ("ip",))),
        (("host", "client", "--", "ip"), ("host client", ("ip",))),
        (("host", "client", "ip", "--", "x"), ("host client", ("ip", "--", "x"))),
        (("host/web-0", "ip"), ("host/web-0", ("ip",))),
    ],
)
def test_a_host_is_named_by_one_word_or_two_and_a_pod_of_a_namespace_called_host_is_none(
    words: tuple[str, ...], named: tuple[str, tuple[str, ...]]
) -> None:
    assert _named(words[0], words[1:]) == named


@pytest.mark.parametrize("words", [("host", "client"), ("host", "client", "--"), ("shop/web-0", "--")])
def test_without_a_command_it_is_said_what_is_missing(words: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="what is to be run there"):
        _named(words[0], words[1:])


def test_a_matrix_has_pods_then_hosts_then_nodes_then_services_in_rows_and_columns() -> None:
    pairs = [
        ("node n", "shop/web"),
        ("host client", "node n"),
        ("shop/web", "host client"),
        ("shop/web", "service shop/api"),
        ("a/z", "shop/web"),
    ]
    asked = {Connection(*pair, Protocol.TCP, 80): "allow" for pair in pairs}
    names = [str(cell).strip().partition(" ")[2] for cell in matrix_table(asked).columns[0].cells]
    assert names == ["a/z", "shop/web", "host client", "node n", "service shop/api"]


@pytest.mark.lab
def test_status_tells_of_hosts_and_of_one_that_lost_its_link(
    standing: Lab, bring_with: BringWith, capsys: pytest.CaptureFixture[str]
) -> None:
    client = ExternalHost("client", (ip_address("203.0.113.10"),), (), "node1")
    built = bring_with(standing, PEERING, lambda state: replace(state, external_hosts=(client,)))
    now = status_of(standing, built)
    assert now["hosts"] == {"client": {"addresses": ["203.0.113.10"], "gateway": "node1", "attached": True}}
    assert now["programmed"]
    print_status(now)
    assert "203.0.113.10" in capsys.readouterr().out
    with netns.netlink(standing.host_namespace("client")) as route:
        route.link("del", index=route.link_lookup(ifname="eth0")[0])
    now = status_of(standing, built)
    assert not now["hosts"]["client"]["attached"]
    assert not now["programmed"]
