"""Whether a claimed address may be used, as the API server says it after the claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lace_sdn.kube.api.resources import ALLOCATIONS, NETWORKS
from lace_sdn.kube.claims import FREEING, why_not

if TYPE_CHECKING:
    from lace_sdn.kube.api.client import Api

ENDPOINT = {"spec": {"network": "red", "node": "n1", "addresses": ["10.0.1.2"]}}


def add(api: Api, resource: Any, name: str, spec: dict[str, Any], **meta: Any) -> None:
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    api.create(resource, {**kind, "metadata": {"name": name, **meta}, "spec": spec})


@pytest.fixture
def site(api: Api) -> Api:
    """Two nodes with a block each."""
    subnet = {"type": "l3", "ipv4Subnet": {"prefix": "10.0.0.0/16"}}
    add(api, NETWORKS, "red", subnet, finalizers=["lace-cni.io/in-use"])
    add(api, ALLOCATIONS, "red-0", {"network": "red", "node": "n2", "ipv4Block": "10.0.0.0/24"})
    add(api, ALLOCATIONS, "red-1", {"network": "red", "node": "n1", "ipv4Block": "10.0.1.0/24"})
    return api


def test_an_address_of_the_nodes_block_may_be_used(site: Api) -> None:
    assert why_not(site, ENDPOINT, is_new=True) == ""


def test_none_of_another_nodes_block(site: Api) -> None:
    other = {"spec": {**ENDPOINT["spec"], "addresses": ["10.0.0.2"]}}
    expected = 'the block of 10.0.0.2 in Network "red" is taken back from Node "n1"'
    assert why_not(site, other, is_new=True) == expected


def test_none_of_a_block_that_is_being_freed(site: Api) -> None:
    site.patch(ALLOCATIONS, "red-1", "", {"metadata": {"annotations": {FREEING: "true"}}})
    assert "is taken back" in why_not(site, ENDPOINT, is_new=True)


def test_none_of_a_network_that_is_being_deleted_but_for_pods_that_have_theirs(site: Api) -> None:
    site.delete(NETWORKS, "red")
    assert why_not(site, ENDPOINT, is_new=True) == 'Network "red" is being deleted'
    assert why_not(site, ENDPOINT, is_new=False) == ""


def test_none_of_a_network_that_is_gone(site: Api) -> None:
    site.delete(NETWORKS, "red")
    site.patch(NETWORKS, "red", "", {"metadata": {"finalizers": []}})
    assert why_not(site, ENDPOINT, is_new=False) == 'Network "red" is gone'
