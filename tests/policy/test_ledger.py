"""The ledger survives its text, and says what is wrong with a text that is none."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lace_sdn.model.objects import Allocation
from lace_sdn.policy.ledger import Lease, Ledger, LedgerError, ledger

FULL = ledger(
    {"web": 2, "app": 1},
    [
        Allocation("web", "node-1", ip_network("fd00::/64")),
        Allocation("web", "node-1", ip_network("10.0.0.0/24")),
    ],
    [
        Lease("shop/b", "node-1", "web", (ip_address("10.0.0.3"), ip_address("fd00::3"))),
        Lease("shop/a", "node-1", "web", (ip_address("10.0.0.2"),), "1234"),
    ],
)


@pytest.mark.parametrize("known", [Ledger(), FULL])
def test_the_text_of_a_ledger_is_that_ledger(known: Ledger) -> None:
    assert Ledger.from_json(known.to_json()) == known


def test_the_text_has_a_line_an_entry_in_a_fixed_order() -> None:
    assert FULL.to_json().splitlines() == [
        '{"format": 1,',
        '"networkKeys": [',
        '  {"network": "app", "key": 1},',
        '  {"network": "web", "key": 2}',
        "],",
        '"blocks": [',
        '  {"network": "web", "node": "node-1", "block": "10.0.0.0/24"},',
        '  {"network": "web", "node": "node-1", "block": "fd00::/64"}',
        "],",
        '"leases": [',
        '  {"pod": "shop/a", "node": "node-1", "network": "web", "addresses": ["10.0.0.2"], "uid": "1234"},',
        '  {"pod": "shop/b", "node": "node-1", "network": "web", "addresses": ["10.0.0.3", "fd00::3"]}',
        "]}",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the text is no ledger: JSONDecodeError"),
        ("[]", "the text is no ledger: TypeError"),
        ("{}", "the text is no ledger: KeyError('format')"),
        ('{"format": 9}', "the ledger has format 9, expected 1"),
        (
            '{"format": 1, "networkKeys": [], "blocks": [{"network": "a"}]}',
            "the text is no ledger: KeyError('node')",
        ),
    ],
)
def test_a_text_that_is_no_ledger_is_refused(text: str, found: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger.from_json(text)
    assert str(caught.value).startswith(found)


def test_a_deleted_pod_leaves_no_lease() -> None:
    assert [lease.pod for lease in FULL.without_pods(["shop/a", "shop/none"]).leases] == ["shop/b"]
