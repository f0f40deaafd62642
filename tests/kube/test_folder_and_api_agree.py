"""What the folder source refuses, an API server with our CRDs refuses, and the other way round; the exceptions are listed here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import api_site
import pytest
from custom_objects import SPECS, objects
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from refusals import Refused

from lace_sdn.kube.manifests import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

Data = dict[str, Any]


class Server:
    """A fake API server that is asked without HTTP, strictly: unknown fields are refused, as kubectl wants it."""

    def __init__(self, its: api_site.ApiServer) -> None:
        self._its = its
        self._served = {each.kind: each for each in its._served.values() if each.schema is not None}

    def refuses(self, body: Data) -> str:
        """Why an object of it is not made; "" if it is."""
        served = self._served[body["kind"]]
        place = ("default" if served.is_namespaced else "", "", "")
        try:
            _, made = self._its.write(
                served, place, "POST", json.loads(json.dumps(body)), {"fieldValidation": "Strict"}, ""
            )
        except Refused as refused:
            return refused.message
        self._its.write(served, (place[0], made["metadata"]["name"], ""), "DELETE", {}, {}, "")
        return ""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with api_site.ApiServer() as its:
        yield Server(its)


def the_folder_refuses(body: Data) -> str:
    """Why; "" if it does not."""
    found = parse(json.dumps(body), "object.json")
    assert bool(found.objects) != bool(found.problems)
    return "; ".join(map(str, found.problems))


@pytest.mark.parametrize("kind", sorted(SPECS))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_folder_and_api_server_agree(server: Server, kind: str, data: st.DataObject) -> None:
    body = data.draw(objects(kind))
    by_folder, by_server = the_folder_refuses(body), server.refuses(body)
    event("refused" if by_server else "accepted")
    assert bool(by_folder) == bool(by_server), f"folder: {by_folder!r}; API server: {by_server!r}"


def an_object(kind: str, spec: Any, **more: Any) -> Data:
    own = {"apiVersion": "lace-cni.io/v1alpha1", "kind": kind, "metadata": {"name": "red"}}
    return {**own, **({} if spec is None else {"spec": spec}), **more}


def l3(prefix: str, **more: Any) -> Data:
    family = 6 if ":" in prefix else 4
    return {"type": "l3", f"ipv{family}Subnet": {"prefix": prefix, **more}}


FOLDER_ALONE = {
    "A set of texts knows no second spelling of a prefix.": an_object(
        "Network", {"type": "external", "externalPrefixes": ["2001:db8::/32", "2001:DB8::/32"]}
    ),
    "cidr() takes no IPv4-mapped text, so no rule can name ::ffff:0:0/96 (which this contains).": an_object(
        "Network", l3("::8000:0:0/81", hostLocalPrefixLength=100)
    ),
    "Fields that are null are not there for an API server; in a file somebody forgot a value.": an_object(
        "Network", l3("10.0.0.0/16", hostLocalPrefixLength=None)
    ),
    "An API server takes no status with a new object, so it does not look at it.": an_object(
        "Network", l3("10.0.0.0/16"), status={"networkKey": 0}
    ),
}
"""By reason. Nothing is the other way round: the folder source asks the CRD's schema and rules too."""


@pytest.mark.parametrize("why", FOLDER_ALONE)
def test_the_folder_alone_refuses(server: Server, why: str) -> None:
    assert the_folder_refuses(FOLDER_ALONE[why])
    assert server.refuses(FOLDER_ALONE[why]) == ""


@pytest.mark.parametrize("name", ["", "Red", "-red", "red\n", "a" * 254, "a/b"])
def test_both_refuse_such_names(server: Server, name: str) -> None:
    body = an_object("Network", l3("10.0.0.0/16"), metadata={"name": name})
    assert the_folder_refuses(body)
    assert server.refuses(body)


@pytest.mark.parametrize("value", ["-", "web\n", "a" * 64, "a b"])
def test_both_refuse_such_labels(server: Server, value: str) -> None:
    body = an_object("Network", l3("10.0.0.0/16"), metadata={"name": "red", "labels": {"tier": value}})
    assert the_folder_refuses(body)
    assert server.refuses(body)


def test_both_take_a_record_of_a_node(server: Server) -> None:
    """All of it is status."""
    body = an_object("NodeState", None)
    assert (the_folder_refuses(body), server.refuses(body)) == ("", "")
