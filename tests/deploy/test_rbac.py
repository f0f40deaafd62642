"""Who may do what: exactly what the programs ask, in the manifests' roles."""

from __future__ import annotations

import asked
import pytest
from deployment import NAMESPACE, allowed, base, permissions

from lace_sdn.kube.api import resources
from lace_sdn.operator import stores

OPERATOR, CONTROLLER = "lace-sdn-operator", "lace-sdn-controller"


def test_the_operator_may_do_what_it_does_and_nothing_else() -> None:
    assert permissions(OPERATOR) == asked.by_operator()


def test_a_node_s_controller_may_do_what_it_does_and_nothing_else() -> None:
    assert permissions(CONTROLLER) == asked.by_controller()


def test_what_is_read_from_the_source_is_not_too_little() -> None:
    """The operator's writes by another way: it writes what it keeps with versions, and these alone."""
    written = {(each.group, each.plural) for each in stores.WRITTEN}
    changing = {"create", "patch", "update", "delete"}
    found = {
        (group, resource.partition("/")[0])
        for verb, group, resource in asked.by_operator()
        if verb in changing and group == resources.GROUP
    }
    assert found == written


@pytest.mark.parametrize(
    ("agent", "verb", "group", "resource"),
    [
        (CONTROLLER, "list", "lace-cni.io", "networkkeys"),
        (CONTROLLER, "patch", "lace-cni.io", "networks/status"),
        (CONTROLLER, "delete", "lace-cni.io", "allocations"),
        (CONTROLLER, "get", "", "secrets"),
        (OPERATOR, "delete", "lace-cni.io", "networkendpoints"),
        (OPERATOR, "patch", "", "services"),
        (OPERATOR, "get", "", "secrets"),
    ],
)
def test_what_neither_needs_is_not_allowed(agent: str, verb: str, group: str, resource: str) -> None:
    assert not allowed(agent, verb, group, resource)


def test_nothing_is_allowed_by_stars() -> None:
    assert "*" not in {
        part for agent in (OPERATOR, CONTROLLER) for each in permissions(agent) for part in each
    }


def test_the_lease_is_the_operator_s_in_its_own_namespace_alone() -> None:
    groups = {
        each["kind"]: {group for rule in each["rules"] for group in rule["apiGroups"]}
        for each in base()
        if each["metadata"]["name"] == OPERATOR and "rules" in each
    }
    assert groups["Role"] == {resources.LEASES.group}
    assert resources.LEASES.group not in groups["ClusterRole"]


def test_roles_are_bound_to_accounts_that_there_are() -> None:
    accounts = {each["metadata"]["name"] for each in base() if each["kind"] == "ServiceAccount"}
    bound = {
        (subject["kind"], subject["name"], subject["namespace"])
        for each in base()
        for subject in each.get("subjects", ())
    }
    assert bound == {("ServiceAccount", name, NAMESPACE) for name in accounts}
