"""The manifests of a deployment: they lead to each other, and every command line in them is one of the programs'."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from deployment import (
    MANIFESTS,
    NAMESPACE,
    OVERLAYS,
    ROOT,
    base,
    containers,
    documents,
    files_of,
    kustomization,
    settings,
)

import lace_sdn.cni
from lace_sdn.cli import main

if TYPE_CHECKING:
    from deployment import Container

CONTAINERS = containers()
COMMANDS = [name for name, its in CONTAINERS.items() if its.words[0] == "lace-sdn"]
FILES = sorted(MANIFESTS.rglob("*.y*ml"))


def parsed(container: Container) -> dict[str, Any]:
    """The options that the program takes from a container's command line; nothing is started. Raises click.UsageError."""
    verb, *words = container.words[1:]
    group = click.Context(main)
    command = main.get_command(group, verb)
    assert command is not None, verb
    return command.make_context(verb, words, parent=group).params


def option(container: str, name: str) -> str:
    return CONTAINERS[container].options[f"--{name}"]


# Files.


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_every_document_has_a_kind(path: Path) -> None:
    assert [each for each in documents(path) if not (each.get("kind") and each.get("apiVersion"))] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_a_kustomization_names_is_there(name: str) -> None:
    assert [path for path in files_of(MANIFESTS / name) if not path.is_file()] == []


def test_every_definition_is_installed_once() -> None:
    _, its = kustomization(MANIFESTS / "crds")
    assert sorted(its["resources"]) == sorted(path.name for path in (MANIFESTS / "crds").glob("*.yaml"))


def test_no_file_of_the_base_is_left_out() -> None:
    there = {path for path in (MANIFESTS / "base").iterdir() if path.stem != "kustomization"}
    assert there <= set(files_of(MANIFESTS / "base"))


def test_a_patch_changes_what_the_base_has() -> None:
    (patch,) = documents(MANIFESTS / "host-ovs/controller.yaml")
    pod = patch["spec"]["template"]["spec"]
    (workload,) = [
        each
        for each in base()
        if each["metadata"]["name"] == patch["metadata"]["name"] and each["kind"] == patch["kind"]
    ]
    of_base = workload["spec"]["template"]["spec"]
    assert {each["name"] for each in pod["containers"]} <= {each["name"] for each in of_base["containers"]}
    assert {each["name"] for each in pod["volumes"]} <= {each["name"] for each in of_base["volumes"]}


# Command lines.


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_line_is_one_of_the_program(name: str) -> None:
    assert parsed(CONTAINERS[name])


def test_all_programs_of_a_cluster_are_started() -> None:
    assert sorted(CONTAINERS[name].words[1] for name in COMMANDS) == ["controller", "host", "operator"]


def test_a_wrong_option_would_be_found() -> None:
    container = CONTAINERS["operator"]
    wrong = type(container)(
        container.workload, {**container.spec, "args": ["--no-such-option"]}, container.pod
    )
    with pytest.raises(click.NoSuchOption):
        parsed(wrong)


def test_a_controller_serves_its_own_node_from_the_api() -> None:
    its = parsed(CONTAINERS["controller"])
    assert (its["source"], its["node"], list(its["ovsdb"])) == ("kubernetes", "node-1", ["node-1"])


@pytest.mark.parametrize("name", ["operator", "controller"])
def test_the_api_server_s_address_is_the_configured_one(name: str) -> None:
    """Never what the kubelet puts into every pod: that is the VIP which is yet to be programmed."""
    assert parsed(CONTAINERS[name])["api_server"] == settings()["API_SERVER"]


def test_settings_are_those_that_are_used() -> None:
    its = parsed(CONTAINERS["controller"])
    assert (str(its["mtu"]), its["datapath_type"]) == (settings()["MTU"], settings()["DATAPATH_TYPE"])


@pytest.mark.parametrize(("name", "serves"), [("operator", "telemetry"), ("controller", "serve")])
def test_probes_ask_where_the_program_serves(name: str, serves: str) -> None:
    container = CONTAINERS[name]
    (port,) = container.spec["ports"]
    assert option(name, serves) == f"192.0.2.11:{port['containerPort']}"
    assert port["hostPort"] == port["containerPort"]
    probes = {
        kind: container.spec[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")
    }
    assert {each["port"] for each in probes.values()} == {port["name"]}
    assert {kind: each["path"] for kind, each in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }


def test_ports_of_one_host_differ() -> None:
    ports = [port["hostPort"] for its in CONTAINERS.values() for port in its.spec.get("ports", ())]
    assert len(ports) == len(set(ports))


# What they share.


def test_the_plugin_asks_where_the_controller_listens() -> None:
    assert option("controller", "cni-socket") == lace_sdn.cni.SOCKET


def test_the_host_follows_the_plan_that_the_controller_writes() -> None:
    folder = f"{option('controller', 'hosts')}/node-1"
    assert option("host", "plan") == f"{folder}/host.json"
    assert CONTAINERS["make-folder"].words == ["mkdir", "-p", folder]


def test_open_vswitch_is_asked_in_its_run_directory_as_it_calls_it_itself() -> None:
    """ovs-vswitchd of Debian compares a controller's path with /var/run/openvswitch, as text; /run/openvswitch is refused."""
    assert option("controller", "ovsdb") == "node-1=unix:/var/run/openvswitch/db.sock"


@pytest.mark.parametrize("option_name", ["listen", "cni-socket", "hosts"])
def test_what_others_find_of_the_controller_lies_on_the_host(option_name: str) -> None:
    mounts = [each["mountPath"] for each in CONTAINERS["controller"].spec["volumeMounts"]]
    assert any(option("controller", option_name).startswith(f"{path}/") for path in mounts)


def test_paths_in_containers_are_those_on_the_host() -> None:
    """They are told to others: to Open vSwitch in the database, to the plugin, by the container runtime."""
    volumes = {each["name"]: each["hostPath"]["path"] for each in CONTAINERS["controller"].pod["volumes"]}
    for name in ("controller", "host", "openvswitch"):
        for each in CONTAINERS[name].spec["volumeMounts"]:
            if each["name"] != "openvswitch-database":
                assert each["mountPath"] == volumes[each["name"]]


def test_network_namespaces_that_come_later_are_seen() -> None:
    (mount,) = [each for each in CONTAINERS["controller"].spec["volumeMounts"] if each["name"] == "netns"]
    assert mount["mountPropagation"] == "HostToContainer"


def test_every_volume_is_used_and_every_mount_has_one() -> None:
    its = [each for each in CONTAINERS.values() if each.workload == "lace-sdn-controller"]
    mounted = {mount["name"] for each in its for mount in each.spec["volumeMounts"]}
    assert mounted == {each["name"] for each in its[0].pod["volumes"]}


def test_all_run_before_there_is_a_pod_network() -> None:
    pods = {its.workload: its.pod for its in CONTAINERS.values()}
    assert all(pod["hostNetwork"] for pod in pods.values())
    assert pods["lace-sdn-operator"]["priorityClassName"] == "system-cluster-critical"
    assert pods["lace-sdn-controller"]["priorityClassName"] == "system-node-critical"
    assert pods["lace-sdn-controller"]["tolerations"] == [{"operator": "Exists"}]
    keys = {each["key"] for each in pods["lace-sdn-operator"]["tolerations"]}
    assert "node.kubernetes.io/not-ready" in keys


def test_two_operators_are_never_the_same_one() -> None:
    """On the host's network they have the host's name; the identity is the pod's."""
    (env,) = [each for each in CONTAINERS["operator"].spec["env"] if each["name"] == "POD_NAME"]
    assert env["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert option("operator", "identity") == "lace-sdn-operator-0"


def test_the_namespace_is_the_same_everywhere() -> None:
    _, its = kustomization(MANIFESTS / "base")
    (namespace,) = [each for each in base() if each["kind"] == "Namespace"]
    assert its["namespace"] == namespace["metadata"]["name"] == NAMESPACE


# The image.


def test_the_image_is_of_this_version() -> None:
    _, its = kustomization(MANIFESTS / "base")
    (image,) = its["images"]
    version = next(
        line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version")
    )
    assert f'version = "{image["newTag"]}"' == version
    assert {each.spec["image"] for each in CONTAINERS.values()} == {image["name"]}


def test_the_image_has_what_containers_start() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    started = [
        word for its in CONTAINERS.values() for word in its.words if word.startswith("/usr/lib/lace-sdn/")
    ]
    assert [word for word in started if Path(word).name not in dockerfile] == []
    copied = [
        line.split()[1:-1]
        for line in dockerfile.splitlines()
        if line.startswith("COPY") and "--from" not in line
    ]
    sources = [word for words in copied for word in words if not word.startswith("--")]
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_what_the_image_is_made_of_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = [
        line.split()[1:-1]
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
    ]
    sources = {word for words in lines for word in words if not word.startswith("--")}
    assert [
        name for name in sources if not any(name == each or name.startswith(f"{each}/") for each in kept)
    ] == []
