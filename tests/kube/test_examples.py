"""The examples read cleanly, and are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_bad_manifests import said

from lace_sdn.kube.build import build
from lace_sdn.kube.manifests import read
from lace_sdn.model.objects import Protocol
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.selection import selects

EXAMPLES = Path(__file__).parents[2] / "manifests/examples"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_about_an_example_there_is_nothing_to_say(name: str) -> None:
    assert said(build(read(EXAMPLES / name), Ledger())) == ""


def test_cluster_services_are_dns_and_the_api_for_every_pod_network() -> None:
    state = build(read(EXAMPLES / "cluster-services.yaml"), Ledger()).state
    api, dns = state.service_by_id["default/kubernetes"], state.service_by_id["kube-system/kube-dns"]
    assert (api.network, dns.network) == ("nodes", "system")
    assert [(str(each.address), each.port, each.node, each.pod) for each in api.ports[0].backends] == [
        ("192.0.2.11", 6443, "node-1", "")
    ]
    assert [(port.protocol, len(port.backends)) for port in dns.ports] == [
        (Protocol.TCP, 2),
        (Protocol.UDP, 2),
    ]
    assert [
        (policy.destination.name, [each.name for each in state.networks if selects(policy.source, each)])
        for policy in state.service_policies
    ] == [("system", ["system", "tenant"]), ("nodes", ["system", "tenant"])]
    assert [each.probes for each in state.endpoints if each.namespace == "kube-system"] == [(8080, 8181)] * 2
    assert [each.id for each in state.host_pods] == ["kube-system/kube-apiserver-node-1"]
