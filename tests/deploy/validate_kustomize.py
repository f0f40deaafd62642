"""What kustomize makes of the manifests. Not collected by itself, for it needs a present kubectl: ``make kustomize-validate``."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from deployment import MANIFESTS, settings


@pytest.mark.parametrize(("overlay", "switch"), [("base", True), ("host-ovs", False)])
def test_kustomize_makes_of_them_what_is_meant(overlay: str, *, switch: bool) -> None:
    made = subprocess.run(["kubectl", "kustomize", MANIFESTS / overlay], capture_output=True, check=True)
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(made.stdout)}
    pod = found["DaemonSet", "lace-sdn-controller"]["spec"]["template"]["spec"]
    assert ("openvswitch" in [each["name"] for each in pod["containers"]]) is switch
    assert ("openvswitch-database" in [each["name"] for each in pod["volumes"]]) is switch
    (config,) = [name for kind, name in found if kind == "ConfigMap"]
    (controller,) = [each for each in pod["containers"] if each["name"] == "controller"]
    assert controller["envFrom"] == [{"configMapRef": {"name": config}}]
    assert found["ConfigMap", config]["data"] == settings()
