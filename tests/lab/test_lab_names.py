"""Promises about names: labs never meet, and the kernel's limits are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lace_sdn.lab import LabError
from lace_sdn.lab.names import Lab, host_interface, node_interface, pod_interface, wire_mac

KUBERNETES_NAME = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("name", ["", "Lab", "a.b", "../x", "a b", "-a", "a-", "x" * 25])
def test_a_name_that_could_reach_outside_or_be_cut_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="expected at most 24"):
        Lab(name)


def test_one_labs_namespaces_are_never_among_anothers() -> None:
    """A lab is found by its prefix, and no prefix begins another, not even ``a`` that of ``a-b``."""
    assert not Lab("a-b").node_namespace("n").startswith(Lab("a").namespace_prefix)
    assert not Lab("ab").underlay_namespace.startswith(Lab("a").namespace_prefix)


def test_a_pod_in_a_namespace_called_host_is_not_taken_for_a_host() -> None:
    its = Lab("a")
    assert its.pod_namespace("host/x") != its.host_namespace("x")
    assert not its.pod_namespace("host/x").startswith(its.host_namespace_prefix)


def test_a_pod_in_a_namespace_called_node_is_not_taken_for_a_node() -> None:
    assert Lab("a").pod_namespace("node/x") != Lab("a").node_namespace("x")


@given(KUBERNETES_NAME)
def test_interface_names_fit_into_the_kernels_fifteen_characters(name: str) -> None:
    assert len(pod_interface(f"ns/{name}")) <= 15
    assert len(node_interface(name)) <= 15
    assert len(host_interface(name)) <= 15


@given(KUBERNETES_NAME)
def test_macs_on_the_wire_are_of_one_station_and_locally_administered(name: str) -> None:
    """IEEE 802, section 8.2: the two lowest bits of the first octet. A host is not a node of the same name."""
    octets = bytes.fromhex(wire_mac("host", name).replace(":", ""))
    assert (len(octets), octets[0] & 0b11) == (6, 0b10)
    assert wire_mac("host", name) != wire_mac("node", name)


def test_the_longest_names_of_kubernetes_fit_into_a_file_name_and_stay_apart() -> None:
    long = "n" * 63 + "/" + "p" * 252
    names = {Lab("x" * 24).pod_namespace(long + end) for end in "ab"}
    assert {len(name) <= 255 for name in names} == {True}
    assert len(names) == 2


def test_a_node_whose_sockets_would_have_too_long_a_path_is_refused_with_the_number_to_cut() -> None:
    with pytest.raises(LabError, match=r"make the node's or the lab's name \d+ shorter"):
        Lab("lab").node("n" * 100)
