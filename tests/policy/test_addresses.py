"""Laws of choosing an address for a new pod."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lace_sdn.policy.addresses import Taken, choose
from lace_sdn.policy.blocks import RESERVED

LAW = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
BLOCKS = (ip_network("10.0.0.0/29"), ip_network("10.0.0.16/29"))
USABLE = {address for block in BLOCKS for address in list(block)[RESERVED:-1]}
ANY = st.sets(st.sampled_from(sorted(USABLE)))


@LAW
@given(ANY, ANY, st.sampled_from([0, *map(int, sorted(USABLE)), int(ip_address("10.9.9.9"))]))
def test_it_is_free_and_usable_and_there_is_one_while_one_is_left(
    own: set[object], others: set[object], last: int
) -> None:
    taken = Taken()
    taken.add("blue", own)  # type: ignore[arg-type]
    taken.add("red", others)  # type: ignore[arg-type]
    found = choose(BLOCKS, "blue", taken, last)
    if own >= USABLE:
        assert found is None
        return
    assert found in USABLE - own
    if own | others < USABLE:
        assert found not in others


def test_all_are_given_before_one_comes_again() -> None:
    taken, last, given_ = Taken(), 0, []
    for _ in range(2 * len(USABLE)):
        found = choose(BLOCKS, "blue", taken, last)
        assert found is not None
        given_.append(found)
        last = int(found)
    assert given_[: len(USABLE)] == sorted(USABLE)
    assert given_[len(USABLE) :] == sorted(USABLE)


def test_the_order_of_blocks_does_not_matter() -> None:
    assert choose(BLOCKS, "blue", Taken()) == choose(BLOCKS[::-1], "blue", Taken())


def test_a_block_too_small_for_any_pod_gives_none() -> None:
    assert choose([IPv4Network("10.0.0.0/31")], "blue", Taken()) is None


def test_all_of_an_ipv6_block_but_the_first_are_used() -> None:
    taken, block, found = Taken(), ip_network("fd00::/125"), []
    while (address := choose([block], "blue", taken)) is not None:
        taken.add("blue", [address])
        found.append(address)
    assert found == list(block)[RESERVED:]
