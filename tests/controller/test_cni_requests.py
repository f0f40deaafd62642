"""Promises of what the CNI plugin hands over and prints (CNI specification 1.1.0), without a controller behind them."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lace_sdn.cni import VERSIONS, request_of
from lace_sdn.controller import cni_requests
from lace_sdn.controller.attaching import Attached, AttachError
from lace_sdn.controller.cni_requests import BAD_CONFIG, BAD_ENVIRONMENT, BAD_VERSION, NOT_DECODED

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u1",
    "PATH": "/bin",
}
CONFIG = {"cniVersion": "1.1.0", "name": "lace-sdn", "type": "lace-sdn-cni"}
ATTACHED = Attached("p-1", "02:01:00:00:00:01", (ip_address("10.0.0.2"), ip_address("fd00::2")), 1450)
LAW = settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def message(config: Any = CONFIG, **changes: str | None) -> bytes:
    its = {key: value for key, value in {**ENVIRONMENT, **changes}.items() if value is not None}
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    return request_of({key.encode(): value.encode() for key, value in its.items()}, text)


def test_what_is_handed_over_is_understood() -> None:
    request = cni_requests.read(message())
    its = request.sandbox
    assert (request.command, request.version) == ("ADD", "1.1.0")
    assert (its.pod, its.uid, its.container) == ("shop/web-0", "u1", "c1")
    assert (its.namespace, its.device) == ("/run/netns/x", "eth0")
    assert "PATH" not in request.environment


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"CNI_COMMAND": "MAKE"}, BAD_ENVIRONMENT, "CNI_COMMAND is 'MAKE': expected one of ADD, DEL, CHECK, GC, STATUS, VERSION"),
        ({"CNI_COMMAND": None}, BAD_ENVIRONMENT, "CNI_COMMAND is ''"),
        ({"CNI_CONTAINERID": None}, BAD_ENVIRONMENT, "CNI_CONTAINERID is missing: expected a value with ADD"),
        ({"CNI_NETNS": "", "CNI_IFNAME": ""}, BAD_ENVIRONMENT, "CNI_NETNS and CNI_IFNAME are missing"),
        ({"CNI_ARGS": ""}, BAD_ENVIRONMENT, "CNI_ARGS names no pod: expected K8S_POD_NAMESPACE and K8S_POD_NAME"),
        ({"config": b"{"}, NOT_DECODED, "is not JSON"),
        ({"config": b"["*100_000}, NOT_DECODED, "is not JSON: maximum recursion depth"),
        ({"config": b"[]"}, BAD_CONFIG, "is no object: expected an object, found '[]'"),
        ({"CNI_ARGS": "K8S_POD_NAME=web-0"}, BAD_ENVIRONMENT, "CNI_ARGS names no pod"),
        ({"CNI_COMMAND": "CHECK", "CNI_ARGS": None}, BAD_ENVIRONMENT, "CNI_ARGS names no pod"),
        ({"CNI_CONTAINERID": "../x"}, BAD_ENVIRONMENT, "CNI_CONTAINERID is '../x': expected letters, digits,"),
        ({"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "-x"}, BAD_ENVIRONMENT, "CNI_CONTAINERID is '-x'"),
        *(({"CNI_IFNAME": name}, BAD_ENVIRONMENT, f"CNI_IFNAME is {name!r}: expected the name of an interface")
          for name in (".", "..", "a/b", "a:b", "a b", "a\n", "sixteen-letters-")),
        ({"config": {"cniVersion": "9.0.0"}}, BAD_VERSION, "cniVersion 9.0.0 is not supported: expected one of 0.3.1,"),
    ],
)  # fmt: skip
def test_what_should_not_have_been_asked_is_refused(changes: Any, code: int, said: str) -> None:
    with pytest.raises(AttachError) as refused:
        cni_requests.read(message(**changes))
    assert refused.value.code == code
    assert said in str(refused.value)


def test_deleting_needs_no_namespace_and_no_pod() -> None:
    """It may be gone; some runtimes do not say the pod then."""
    request = cni_requests.read(message(CNI_COMMAND="DEL", CNI_NETNS=None, CNI_ARGS=None))
    assert (request.sandbox.container, request.sandbox.namespace) == ("c1", "")


@pytest.mark.parametrize("command", ["GC", "STATUS"])
def test_what_is_about_no_pod_needs_no_pod(command: str) -> None:
    nothing = {"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None, "CNI_ARGS": None}
    assert cni_requests.read(message(CNI_COMMAND=command, **nothing)).command == command


@LAW
@given(st.binary())
def test_any_octets_are_refused(octets: bytes) -> None:
    with pytest.raises(AttachError) as refused:
        cni_requests.read(octets)
    assert refused.value.code in (BAD_ENVIRONMENT, BAD_CONFIG, BAD_VERSION, NOT_DECODED)


@LAW
@given(
    st.dictionaries(st.sampled_from(sorted(ENVIRONMENT)), st.text(st.characters(exclude_characters="\0", codec="utf-8"))),
    st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)),
)  # fmt: skip
def test_any_environment_and_configuration_too(environment: dict[str, str], config: Any) -> None:
    try:
        request = cni_requests.read(message(config, **environment))
    except AttachError:
        return
    assert request.environment["CNI_COMMAND"] == environment.get("CNI_COMMAND", "ADD")


def test_a_result_is_what_runtimes_expect() -> None:
    assert cni_requests.result(cni_requests.read(message()), ATTACHED) == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "p-1", "mtu": 1450},
            {"name": "eth0", "mac": "02:01:00:00:00:01", "mtu": 1450, "sandbox": "/run/netns/x"},
        ],
        "ips": [
            {"address": "10.0.0.2/32", "gateway": "169.254.127.1", "interface": 1},
            {"address": "fd00::2/128", "gateway": str(ATTACHED.gateways[6]), "interface": 1},
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "169.254.127.1"},
            {"dst": "::/0", "gw": str(ATTACHED.gateways[6])},
        ],
        "dns": {},
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_result_is_of_the_version_that_was_asked_for(version: str) -> None:
    found = cni_requests.result(cni_requests.read(message({**CONFIG, "cniVersion": version})), ATTACHED)
    is_old = version.startswith("0.")
    assert found["cniVersion"] == version
    assert [each.get("version") for each in found["ips"]] == (["4", "6"] if is_old else [None, None])
    assert all(("mtu" in each) is (version == "1.1.0") for each in found["interfaces"])


def test_a_refusal_is_an_error_of_the_specification() -> None:
    said = cni_requests.refused(AttachError("no", "because", 50), "1.0.0")
    assert said[:1] == b"1"
    assert json.loads(said[1:]) == {"cniVersion": "1.0.0", "code": 50, "msg": "no", "details": "because"}


@pytest.mark.parametrize(
    "answer", [cni_requests.said(None), cni_requests.said({"a": 1}), cni_requests.refused(AttachError("no"))]
)
def test_an_answer_ends_with_its_only_line(answer: bytes) -> None:
    """By that the plugin knows that it is whole."""
    assert answer.endswith(b"\n")
    assert answer.count(b"\n") == 1


def test_gc_says_what_there_is() -> None:
    valid = [{"containerID": "a", "ifname": "eth0"}, {"containerID": "b"}]
    request = cni_requests.read(message({**CONFIG, cni_requests.VALID: valid}, CNI_COMMAND="GC"))
    assert request.valid == {"a", "b"}


@pytest.mark.parametrize("config", [CONFIG, {**CONFIG, cni_requests.VALID: None}])
def test_gc_without_a_list_says_nothing(config: Any) -> None:
    """Null is what some runtimes write for a list that they do not have. An empty one says that there is no container."""
    assert cni_requests.read(message(config, CNI_COMMAND="GC")).valid is None
    assert cni_requests.read(message({**CONFIG, cni_requests.VALID: []}, CNI_COMMAND="GC")).valid == set()


@pytest.mark.parametrize("bad", ["", {}, 1, True, ["a"], [{}], [{"containerID": 1}], [None]])
def test_gc_with_a_list_that_is_none_is_refused(bad: Any) -> None:
    request = cni_requests.read(message({**CONFIG, cni_requests.VALID: bad}, CNI_COMMAND="GC"))
    with pytest.raises(AttachError, match="valid-attachments cannot be read: expected a list") as refused:
        _ = request.valid
    assert refused.value.code == BAD_CONFIG
