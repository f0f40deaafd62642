"""Objects of our kinds, most of them valid, some changed in one place into what may not be."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

Data = dict[str, Any]

NAMES = st.sampled_from(["red", "blue", "a.b-c", "n1"])
PREFIXES = st.sampled_from(
    [
        "10.0.0.0/16",
        "10.128.0.0/9",
        "192.0.2.0/24",
        "100.64.0.0/30",
        "169.254.169.254/32",
        "0.0.0.0/0",
        "fd00:10::/48",
        "2001:db8::/32",
        "fd00:0010::/64",
        "FD00::/8",
        "::/0",
    ]
)
ODD = st.sampled_from(
    [
        "10.0.0.1/16",
        "010.0.0.0/8",
        "10.0.0.0/08",
        "10.0.0.0/33",
        "10.0.0.0",
        "10.0/16",
        "127.0.0.0/24",
        "126.0.0.0/7",
        "224.1.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "::/127",
        "::ffff:10.0.0.0/104",
        "fe80::/64",
        "fd00::1/64",
        "fd00::/129",
        "64:ff9b:1::/64",
        "10.0.0.2",
        "fd00:10::2",
        "::ffff:10.0.0.2",
        "fe80::1%eth0",
        "1.2.3",
        "red\n",
        "Red",
        "",
        "-",
        "a" * 64,
        "a" * 254,
        "In",
        "Exists",
        "l2",
        "external",
        0,
        -1,
        1.5,
        24.0,
        31,
        127,
        2**31,
        True,
        [],
        ["red", "red"],
        {},
        {"unknown": 1},
        {"matchLabels": {}},
    ]
)
"""What a field is changed to; some of it is right in some places."""

LABELS = st.dictionaries(
    st.sampled_from(["tier", "example.com/tier", "kubernetes.io/metadata.name"]),
    st.sampled_from(["", "web", "a.B_c-1"]),
    max_size=2,
)
TERMS = st.one_of(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["tier", "example.com/tier"]),
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(st.sampled_from(["", "web", "db"]), min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries(
        {"key": st.just("tier"), "operator": st.sampled_from(["Exists", "DoesNotExist"])},
        optional={"values": st.just([])},
    ),
)
BY_LABELS = st.fixed_dictionaries(
    {}, optional={"matchLabels": LABELS, "matchExpressions": st.lists(TERMS, max_size=2)}
)
OF_NETWORKS = st.one_of(BY_LABELS, st.fixed_dictionaries({"name": NAMES}))
SUBNET_4 = st.fixed_dictionaries(
    {"prefix": st.sampled_from(["10.0.0.0/16", "192.168.0.0/20", "100.64.0.0/30"])},
    optional={"hostLocalPrefixLength": st.sampled_from([16, 24, 30])},
)
SUBNET_6 = st.fixed_dictionaries(
    {"prefix": st.sampled_from(["fd00:10::/48", "2001:db8::/56"])},
    optional={"hostLocalPrefixLength": st.sampled_from([48, 64, 126])},
)
ADDRESSES = st.lists(
    st.sampled_from(["10.0.0.2", "10.0.0.3", "fd00:10::2", "FD00:10::2", "fd00:10::3"]),
    min_size=1,
    max_size=2,
)

SPECS: dict[str, st.SearchStrategy[Data]] = {
    "Network": st.one_of(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["l3", "l2"])}, optional={"ipv4Subnet": SUBNET_4, "ipv6Subnet": SUBNET_6}
        ),
        st.fixed_dictionaries(
            {"type": st.just("external")},
            optional={"externalPrefixes": st.lists(PREFIXES, min_size=1, max_size=3)},
        ),
    ),
    "NetworkRoutingPolicy": st.fixed_dictionaries({"srcSelector": OF_NETWORKS, "destSelector": OF_NETWORKS}),
    "ServiceRoutingPolicy": st.fixed_dictionaries(
        {"srcSelector": OF_NETWORKS, "destSelector": OF_NETWORKS}, optional={"namespaceSelector": BY_LABELS}
    ),
    "NetworkBindingPolicy": st.fixed_dictionaries(
        {"network": NAMES},
        optional={
            "namespaceSelector": BY_LABELS,
            "selector": BY_LABELS,
            "priority": st.sampled_from([0, -(2**31), 2**31 - 1]),
        },
    ),
    "NetworkEndpoint": st.fixed_dictionaries(
        {"network": NAMES, "node": NAMES, "addresses": ADDRESSES}, optional={"gateways": ADDRESSES}
    ),
    "Allocation": st.fixed_dictionaries(
        {"network": NAMES, "node": NAMES},
        optional={"ipv4Block": st.just("10.0.1.0/24"), "ipv6Block": st.just("fd00:10:0:1::/64")},
    ),
    "NetworkKey": st.fixed_dictionaries({"network": NAMES, "uid": st.just("u1")}),
    "ServiceMembership": st.fixed_dictionaries(
        {},
        optional={
            "members": st.lists(st.just({"address": "10.0.0.2", "podUID": "u1"}), max_size=2),
            "foreign": st.lists(
                st.just({"address": "10.0.0.2", "pod": "shop/web", "podUID": "u1", "network": "red"}),
                max_size=1,
            ),
        },
    ),
}
OBJECT_NAMES = {"NetworkKey": st.sampled_from(["1", "16777215", "16777216", "0", "01", "red", "1.5"])}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """All that may be changed."""
    inner: Any = (
        value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    )
    for step, part in inner:
        yield (*path, step)
        yield from places(part, (*path, step))


def changed(body: Data, path: tuple[str | int, ...], to: Any, deed: str) -> Data:
    """``deed``: replace the value there, remove it, add one beside it."""
    found = copy.deepcopy(body)
    around: Any = found
    for step in path[:-1]:
        around = around[step]
    if deed == "remove":
        del around[path[-1]]
    elif deed == "add" and isinstance(around, list):
        around.append(to)
    elif deed == "add":
        around["unknown"] = to
    else:
        around[path[-1]] = to
    return found


@st.composite
def objects(draw: st.DrawFn, kind: str) -> Data:
    """An object, with at most two changes of its spec."""
    body: Data = {
        "apiVersion": "lace-cni.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": draw(OBJECT_NAMES.get(kind, NAMES)), "labels": draw(LABELS)},
        "spec": draw(SPECS[kind]),
    }
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        path = draw(st.sampled_from([("spec",), *places(body["spec"], ("spec",))]))
        if "spec" in body and path[0] == "spec":
            deed = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
            body = changed(body, path, draw(st.one_of(ODD, PREFIXES)), deed)
        if not isinstance(body.get("spec"), dict):
            break
    return body
