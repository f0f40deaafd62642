"""What Lace SDN relies on of an API server: facts that hold for the fake one of these tests, and for a real one.

    LACE_SDN_TEST_KUBECONFIG=~/.kube/config pytest tests/kube/test_api_contract.py

asks the real server of a kubeconfig instead, one on which Lace SDN does not run: everything is made in a namespace and under names with a random
prefix, and removed in the end; CRDs are installed, and removed again, where they are missing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from api_site import CONFIG_MAPS, REAL, Site, causes, eventually, site_of, version

from lace_sdn.kube.api import client
from lace_sdn.kube.api.resources import BINDING_POLICIES, LEASES, NETWORK_ENDPOINTS, NETWORKS, PODS

if TYPE_CHECKING:
    from collections.abc import Iterator

Data = dict[str, Any]

COLLECTED_WITHIN = 90.0
"""Seconds: the garbage collector of a real cluster looks for new CRDs every 30 s."""


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    yield whole_site
    whole_site.tidy()


def external(*prefixes: str) -> Data:
    return {"type": "external", "externalPrefixes": list(prefixes)}


# Versions.


def test_versions_are_numbers_that_grow(site: Site) -> None:
    """KEP-5504; over all objects of a resource."""
    first, second = site.config_map("a"), site.config_map("b")
    third = site.patch(CONFIG_MAPS, "a", {"data": {"value": "new"}})
    assert 0 < version(first) < version(second) < version(third)
    assert int(site.marked(CONFIG_MAPS)[1]) >= version(third)


def test_a_put_of_the_same_is_no_write(site: Site) -> None:
    made = site.config_map("a", "x")
    assert version(site.api.replace(CONFIG_MAPS, made)) == version(made)
    assert site.events(CONFIG_MAPS, made["metadata"]["resourceVersion"]) == []


def test_a_patch_that_changes_nothing_is_no_write(site: Site) -> None:
    made = site.network("a")
    assert version(site.patch(NETWORKS, "a", {"spec": {"type": "l3"}})) == version(made)
    assert site.events(NETWORKS, made["metadata"]["resourceVersion"]) == []


def test_a_put_with_an_old_version_is_a_conflict(site: Site) -> None:
    old = site.config_map("a", "x")
    site.patch(CONFIG_MAPS, "a", {"data": {"value": "y"}})
    error = site.refusal(lambda: site.api.replace(CONFIG_MAPS, {**old, "data": {"value": "z"}}))
    assert (error.status, error.reason, error.is_conflict) == (409, "Conflict", True)


def test_a_patch_with_an_old_version_is_a_conflict(site: Site) -> None:
    old = site.network("a")["metadata"]["resourceVersion"]
    site.patch(NETWORKS, "a", {"metadata": {"labels": {"new": "yes"}}})
    body = {"metadata": {"resourceVersion": old, "labels": {"new": "no"}}}
    assert site.refusal(lambda: site.patch(NETWORKS, "a", body)).is_conflict


def test_a_put_of_a_custom_resource_needs_a_version(site: Site) -> None:
    made = site.network("a")
    del made["metadata"]["resourceVersion"]
    error = site.refusal(lambda: site.api.replace(NETWORKS, made))
    assert error.is_invalid
    assert [each.field for each in error.causes] == ["metadata.resourceVersion"]


def test_a_second_one_of_a_name_already_exists(site: Site) -> None:
    site.config_map("a")
    error = site.refusal(lambda: site.config_map("a"))
    assert (error.status, error.reason) == (409, "AlreadyExists")
    assert error.is_already_exists
    assert not error.is_conflict


def test_what_is_not_there_is_not_found(site: Site) -> None:
    assert site.refusal(lambda: site.get(NETWORKS, "none")).is_not_found
    assert site.refusal(lambda: site.delete(NETWORKS, "none")).is_not_found
    assert site.refusal(lambda: site.patch(NETWORKS, "none", {"metadata": {"labels": {}}})).is_not_found


@pytest.mark.parametrize("wrong", [{"uid": "another"}, {"resource_version": "1"}])
def test_a_deletion_of_another_state_is_a_conflict(site: Site, wrong: dict[str, str]) -> None:
    site.network("a")
    assert site.refusal(lambda: site.delete(NETWORKS, "a", **wrong)).is_conflict
    assert not site.is_gone(NETWORKS, "a")


def test_a_deletion_of_the_present_state_is_done(site: Site) -> None:
    meta = site.network("a")["metadata"]
    site.delete(NETWORKS, "a", uid=meta["uid"], resource_version=meta["resourceVersion"])
    assert site.is_gone(NETWORKS, "a")


def test_of_two_writers_of_a_lease_one_gets_a_conflict(site: Site) -> None:
    seen = site.create(LEASES, "lease", {"spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 15}})
    won = site.api.replace(LEASES, {**seen, "spec": {**seen["spec"], "holderIdentity": "one"}})
    loser = {**seen, "spec": {**seen["spec"], "holderIdentity": "other"}}
    assert site.refusal(lambda: site.api.replace(LEASES, loser)).is_conflict
    assert site.get(LEASES, "lease")["spec"]["holderIdentity"] == won["spec"]["holderIdentity"] == "one"


# Lists and watches.


def test_a_watch_goes_on_where_a_list_ends(site: Site) -> None:
    site.config_map("before")
    _, listed = site.marked(CONFIG_MAPS)
    site.config_map("a")
    site.patch(CONFIG_MAPS, "a", {"data": {"value": "new"}})
    site.delete(CONFIG_MAPS, "a")
    events = site.events(CONFIG_MAPS, listed)
    assert site.told(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [version(each["object"]) for each in events]
    assert versions == sorted({*versions, int(listed)})[1:]


def test_a_watch_goes_on_where_an_event_was(site: Site) -> None:
    _, listed = site.marked(CONFIG_MAPS)
    site.config_map("a")
    site.config_map("b")
    first = next(site.watch(CONFIG_MAPS, listed))
    assert site.told([first]) == [("ADDED", "a")]
    assert site.told(site.events(CONFIG_MAPS, str(version(first["object"])))) == [("ADDED", "b")]


def test_a_list_in_pages_is_of_one_moment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made or removed between two pages is not in the list, and is heard by the watch."""
    monkeypatch.setattr(client, "PAGE", 2)
    [site.config_map(name) for name in "abcde"]
    pages = site.api.pages(CONFIG_MAPS, site.namespace, f"mark={site.prefix}")
    first = next(pages)
    site.config_map("late")
    site.delete(CONFIG_MAPS, "e")
    rest = list(pages)
    names = [each["metadata"]["name"] for page in (first, *rest) for each in page["items"]]
    assert names == [site.name(name) for name in "abcde"]
    assert {page["metadata"]["resourceVersion"] for page in rest} == {first["metadata"]["resourceVersion"]}
    told = site.told(site.events(CONFIG_MAPS, first["metadata"]["resourceVersion"]))
    assert told == [("ADDED", "late"), ("DELETED", "e")]


@pytest.mark.skipif(bool(REAL), reason="a real server forgets after minutes, and not when it is told to")
def test_a_page_whose_list_is_forgotten_has_expired(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE", 1)
    [site.config_map(name) for name in "ab"]
    pages = site.api.pages(CONFIG_MAPS, site.namespace, f"mark={site.prefix}")
    assert len(next(pages)["items"]) == 1
    site.forget_pages()
    assert site.refusal(lambda: next(pages)).is_expired


def test_quiet_watches_bring_bookmarks(site: Site) -> None:
    """The version of a bookmark is not older than anything that was heard, and a watch goes on from it."""
    made = site.config_map("a")
    bookmark = next(
        each
        for each in site.watch(CONFIG_MAPS, made["metadata"]["resourceVersion"])
        if each["type"] == "BOOKMARK"
    )
    assert version(bookmark["object"]) >= version(made)
    site.config_map("b")
    assert site.told(site.events(CONFIG_MAPS, str(version(bookmark["object"])))) == [("ADDED", "b")]


def test_bookmarks_are_for_those_who_ask_for_them(site: Site) -> None:
    made = site.config_map("a")
    at = made["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": at, "timeoutSeconds": str(site.patience)}
    with site.api._open("GET", CONFIG_MAPS.path(site.namespace), query) as response:
        types = {json.loads(line)["type"] for line in response.read().splitlines()}
    assert "BOOKMARK" not in types


def test_a_watch_from_a_forgotten_version_says_so_and_ends(site: Site) -> None:
    """HTTP 200, and a Status with 410 as its only event. Version 1 is one that a real server has always forgotten."""
    error = site.refusal(lambda: list(site.watch(NETWORKS, site.forget())))
    assert (error.status, error.reason) == (410, "Expired")


def test_a_watch_ends_when_its_time_is_over(site: Site) -> None:
    made = site.config_map("a")
    watch = site.watch(CONFIG_MAPS, made["metadata"]["resourceVersion"], timeout=1)
    assert {each["type"] for each in watch} <= {"BOOKMARK"}


# Selectors.


def test_labels_select(site: Site) -> None:
    site.network("one", labels={"tier": "web"})
    site.network("two", labels={"tier": "db", "old": "yes"})
    site.network("three")
    assert site.marked(NETWORKS, "tier=web")[0] == ["one"]
    assert site.marked(NETWORKS, "tier!=web")[0] == ["three", "two"]
    assert site.marked(NETWORKS, "tier in (web,db),!old")[0] == ["one"]
    assert site.marked(NETWORKS, "tier")[0] == ["one", "two"]


def test_a_name_selects(site: Site) -> None:
    site.network("one")
    site.network("two")
    assert site.marked(NETWORKS, fields=f"metadata.name={site.name('one')}")[0] == ["one"]


def test_the_node_of_pods_selects(site: Site) -> None:
    site.pod("here", "n1")
    site.pod("there", "n2")
    mine = f"spec.nodeName={site.name('n1')}"
    listed, at = site.marked(PODS, fields=mine)
    assert listed == ["here"]
    site.pod("also-there", "n2")
    site.pod("also-here", "n1")
    assert site.told(site.events(PODS, at, fields=mine)) == [("ADDED", "also-here")]


def test_the_selectable_fields_of_our_kinds_select(site: Site) -> None:
    site.endpoint("here", "n1")
    site.endpoint("there", "n2")
    mine = f"spec.node={site.name('n1')}"
    listed, at = site.marked(NETWORK_ENDPOINTS, fields=mine)
    assert listed == ["here"]
    assert site.marked(NETWORK_ENDPOINTS, fields=f"{mine},spec.network=blue")[0] == []
    site.endpoint("also-there", "n2")
    site.endpoint("also-here", "n1")
    assert site.told(site.events(NETWORK_ENDPOINTS, at, fields=mine)) == [("ADDED", "also-here")]


def test_other_fields_do_not_select(site: Site) -> None:
    error = site.refusal(lambda: site.marked(NETWORKS, fields="spec.type=l3"))
    assert (error.status, error.reason) == (400, "BadRequest")


def test_an_object_that_leaves_a_selector_is_deleted_for_its_watch(site: Site) -> None:
    """As it was, with the version of the change; it comes back as one that is added."""
    made = site.network("a", labels={"tier": "web"})
    left = site.patch(NETWORKS, "a", {"metadata": {"labels": {"tier": "db"}}})
    site.patch(NETWORKS, "a", {"metadata": {"labels": {"tier": "web"}}})
    events = site.events(NETWORKS, made["metadata"]["resourceVersion"], "tier=web")
    assert site.told(events) == [("DELETED", "a"), ("ADDED", "a")]
    gone = events[0]["object"]
    assert (gone["metadata"]["labels"]["tier"], version(gone)) == ("web", version(left))


# Ends.


def test_a_deletion_has_a_version_of_its_own(site: Site) -> None:
    made = site.network("a")
    site.delete(NETWORKS, "a")
    (gone,) = site.events(NETWORKS, made["metadata"]["resourceVersion"])
    assert (gone["type"], gone["object"]["metadata"]["uid"]) == ("DELETED", made["metadata"]["uid"])
    assert version(gone["object"]) > version(made)


def test_a_finalizer_holds_what_is_deleted(site: Site) -> None:
    made = site.network("a", finalizers=["lace-cni.io/test"])
    site.delete(NETWORKS, "a")
    held = site.get(NETWORKS, "a")["metadata"]
    assert held["deletionTimestamp"]
    assert held["generation"] == 2
    site.delete(NETWORKS, "a")
    assert version(site.get(NETWORKS, "a")) == int(held["resourceVersion"])
    site.patch(NETWORKS, "a", {"metadata": {"finalizers": None}})
    assert site.is_gone(NETWORKS, "a")
    events = site.events(NETWORKS, made["metadata"]["resourceVersion"])
    assert site.told(events) == [("MODIFIED", "a"), ("DELETED", "a")]
    assert events[0]["object"]["metadata"]["deletionTimestamp"] == held["deletionTimestamp"]


def test_what_is_owned_goes_with_its_owner(site: Site) -> None:
    pod = site.pod("owner", "n1")
    owner = {"apiVersion": "v1", "kind": "Pod", "name": site.name("owner"), "uid": pod["metadata"]["uid"]}
    site.endpoint("owned", "n1", ownerReferences=[owner])
    site.endpoint("free", "n1")
    site.delete(PODS, "owner", grace_seconds=0)
    eventually(lambda: site.is_gone(NETWORK_ENDPOINTS, "owned"), COLLECTED_WITHIN)
    assert not site.is_gone(NETWORK_ENDPOINTS, "free")


# Status and generation.


def test_a_new_object_has_no_status_and_generation_1(site: Site) -> None:
    made = site.create(NETWORKS, "a", {"spec": external("192.0.2.0/24"), "status": {"networkKey": 7}})
    assert "status" not in made
    assert made["metadata"]["generation"] == 1


def test_a_write_of_the_object_leaves_its_status(site: Site) -> None:
    site.network("a")
    made = site.patch(NETWORKS, "a", {"status": {"networkKey": 7}}, "status")
    put = site.api.replace(NETWORKS, {**made, "status": {"networkKey": 8}})
    patched = site.patch(NETWORKS, "a", {"status": {"networkKey": 8}})
    assert put["status"] == patched["status"] == {"networkKey": 7}
    assert version(put) == version(patched) == version(made)


def test_a_write_of_the_status_leaves_all_else(site: Site) -> None:
    made = site.create(BINDING_POLICIES, "a", {"spec": {"network": "red", "priority": 1}})
    status = {"observedGeneration": 1}
    body = {"metadata": {"labels": {"new": "yes"}}, "spec": {"priority": 2}, "status": status}
    found = site.patch(BINDING_POLICIES, "a", body, "status")
    assert found["status"] == status
    assert found["spec"] == made["spec"]
    assert found["metadata"]["labels"] == made["metadata"]["labels"]
    assert version(found) > version(made)


def test_the_generation_grows_with_the_spec_alone(site: Site) -> None:
    site.create(BINDING_POLICIES, "a", {"spec": {"network": "red"}})
    status = site.patch(BINDING_POLICIES, "a", {"status": {"observedGeneration": 1}}, "status")
    labels = site.patch(BINDING_POLICIES, "a", {"metadata": {"labels": {"new": "yes"}}})
    spec = site.patch(BINDING_POLICIES, "a", {"spec": {"priority": 5}})
    assert [each["metadata"]["generation"] for each in (status, labels, spec)] == [1, 1, 2]


# What the CRDs say.


def test_defaults_are_filled_in(site: Site) -> None:
    assert site.network("a")["spec"]["ipv4Subnet"]["hostLocalPrefixLength"] == 24
    policy = site.create(BINDING_POLICIES, "a", {"spec": {"network": "red"}})
    assert policy["spec"]["priority"] == 0


def test_fields_that_are_null_are_not_there(site: Site) -> None:
    policy = site.create(
        BINDING_POLICIES, "a", {"spec": {"network": "red", "priority": None, "selector": None}}
    )
    assert policy["spec"] == {"network": "red", "priority": 0}


def test_unknown_fields_are_pruned(site: Site) -> None:
    spec = {"network": "red", "unknown": 1, "selector": {"unknown": {}, "matchLabels": {"any": "key"}}}
    policy = site.create(BINDING_POLICIES, "a", {"spec": spec})
    assert policy["spec"] == {"network": "red", "priority": 0, "selector": {"matchLabels": {"any": "key"}}}


L3 = {"type": "l3", "ipv4Subnet": {"prefix": "10.0.0.0/16"}}
PREFIX = "spec.ipv4Subnet.prefix"
REFUSED = {
    "wrong type": ({"type": 3}, "spec.type", "TypeInvalid"),
    "missing": ({**L3, "ipv4Subnet": {}}, PREFIX, "Required"),
    "not in the enum": ({**L3, "type": "l4"}, "spec.type", "NotSupported"),
    "pattern": ({"type": "l3", "ipv4Subnet": {"prefix": "ten/8"}}, PREFIX, "Invalid"),
    "pattern, the whole text": ({"type": "l3", "ipv4Subnet": {"prefix": "10.0.0.0/8\n"}}, PREFIX, "Invalid"),
    "rule of a field": ({"type": "l3", "ipv4Subnet": {"prefix": "10.0.0.1/16"}}, PREFIX, "Invalid"),
    "rule of the spec": ({"type": "l3"}, "spec", "Invalid"),
    "rule of an item": (external("192.0.2.0/24", "127.0.0.0/24"), "spec.externalPrefixes[1]", "Invalid"),
    "twice in a set": (external("192.0.2.0/24", "192.0.2.0/24"), "spec.externalPrefixes[1]", "Duplicate"),
}


@pytest.mark.parametrize(("spec", "field", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_valid_is_refused_by_its_field(site: Site, spec: Data, field: str, reason: str) -> None:
    error = site.refusal(lambda: site.create(NETWORKS, "a", {"spec": spec}))
    assert (error.status, error.reason, error.is_invalid) == (422, "Invalid", True)
    assert (field, f"FieldValue{reason}") in causes(error)
    assert site.is_gone(NETWORKS, "a")


CHANGES: tuple[Data, ...] = (
    {"type": "l2"},
    {"ipv4Subnet": {"prefix": "10.1.0.0/16"}},
    {"ipv4Subnet": {"hostLocalPrefixLength": 25}},
    {"ipv6Subnet": {"prefix": "fd00:10::/48"}},
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_immutable_stays(site: Site, change: Data) -> None:
    made = site.network("a")
    error = site.refusal(lambda: site.patch(NETWORKS, "a", {"spec": change}))
    assert error.is_invalid
    assert ("spec", "FieldValueInvalid") in causes(error)
    assert "immutable" in error.message
    assert version(site.get(NETWORKS, "a")) == version(made)
