"""The lab of machines, as far as none is needed: what its scripts would do, and what they make of the book of scenarios."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "vagrant"))

import book
import probe
from stand_in_kubectl import answer

from lace_sdn.kube.api.resources import BINDING_POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterator


VAGRANT = Path(__file__).parents[2] / "vagrant"
STEPS = VAGRANT / "steps.sh"
VERIFY = VAGRANT / "verify.sh"
RUNNABLE = [each for each in book.scenarios() if not each.why_not]
EVERY_RUNNABLE = pytest.mark.parametrize("scenario", RUNNABLE, ids=lambda each: each.name)
PLACES = {f"node{dash}{number}": f"machine-{number}" for dash in ("", "-") for number in (1, 2, 3)}


def dry(script: Path, *words: str, **environment: str) -> list[str]:
    """What it would do, a line each."""
    its = {**os.environ, "DRY_RUN": "1", "PYTHON": sys.executable, **environment}
    done = subprocess.run([script, *words], env=its, capture_output=True, text=True, check=True)
    return [line.replace("'", "") for line in done.stdout.splitlines()]


# Steps.


def steps() -> list[str]:
    """Those that the script tells of."""
    return re.findall(r"^#   ([a-z-]+)  ", STEPS.read_text(), re.MULTILINE)


def test_a_dry_run_of_all_steps_does_nothing_and_says_what_it_would_do() -> None:
    lines = dry(STEPS, *steps())
    begun = [line.removeprefix("== ") for line in lines if line.startswith("== ")]
    assert list(dict.fromkeys(begun)) == steps()
    told = "\n".join(lines)
    assert "+ kubeadm init --config" in told
    assert "+ kubeadm join 192.168.56.10:6443" in told
    assert "+ kubectl apply -k" in told
    assert not (VAGRANT / ".install").exists()


def test_neither_network_plugin_nor_kube_proxy_is_installed() -> None:
    text = "\n".join(
        line.removeprefix("    ") for line in dry(STEPS, "control-plane") if line.startswith("    ")
    )
    init, cluster = yaml.safe_load_all(text)
    assert init["skipPhases"] == ["addon/kube-proxy", "addon/coredns"]
    assert cluster["networking"]["serviceSubnet"] == str(book.SERVICE_ADDRESSES)


@pytest.mark.parametrize("overlay", ["base", "host-ovs"])
def test_an_overlay_is_installed_with_the_address_of_the_control_plane(overlay: str) -> None:
    lines = dry(STEPS, "install", OVERLAY=overlay, CONTROL_PLANE_IP="192.0.2.1")
    made = yaml.safe_load("\n".join(line for line in lines if line.startswith("    ")))
    assert [(VAGRANT / ".install" / each).resolve().name for each in made["resources"]] == [overlay]
    (config,) = made["configMapGenerator"]
    assert config["literals"] == ["API_SERVER=https://192.0.2.1:6443", "MTU=1450"]
    assert (config["name"], config["behavior"]) == ("lace-sdn", "merge")


def test_the_host_s_switch_is_stopped_where_the_pod_has_one() -> None:
    assert "+ systemctl disable --now openvswitch-switch" in dry(STEPS, "openvswitch")
    assert "+ systemctl enable --now openvswitch-switch" in dry(STEPS, "openvswitch", OVERLAY="host-ovs")


def test_containerd_looks_where_the_plugin_is_installed() -> None:
    assert '      bin_dir = "/opt/cni/bin"'.strip() in [line.strip() for line in dry(STEPS, "prerequisites")]


@pytest.mark.parametrize("word", ["no-such-step", "run", "put"])
def test_what_is_no_step_is_refused_before_anything_is_done(word: str) -> None:
    done = subprocess.run(
        [STEPS, "image", word],
        env={**os.environ, "DRY_RUN": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_the_machines_run_steps_that_there_are() -> None:
    text = (VAGRANT / "Vagrantfile").read_text()
    named = re.search(r"steps\.sh ([a-z -]+)#", text)
    assert named is not None
    last = re.findall(r'"(control-plane install|join)"', text)
    assert {*named[1].split(), *" ".join(last).split()} <= set(steps())


# Verification.


def test_a_dry_run_of_the_verification_names_every_pod_that_calls() -> None:
    lines = dry(VERIFY, "service-only")
    called = [line for line in lines if "kubectl exec" in line]
    assert len(called) == len(book.Scenario("service-only").sources)
    assert lines[-1].startswith("+ kubectl delete")


def test_objects_can_stay() -> None:
    assert not any("kubectl delete" in line for line in dry(VERIFY, "service-only", KEEP="1"))


def test_without_names_all_are_verified_that_a_cluster_can_run(tmp_path: Path) -> None:
    """Here by a stand-in for the book, which says that these two can."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        "[ $2 = names ] && printf 'one\\ntwo\\n' || touch $4/namespaces.yaml $4/objects.yaml $4/sources\n"
    )
    python.chmod(0o755)
    lines = dry(VERIFY, PYTHON=str(python))
    assert [line for line in lines if line.startswith("== ")] == ["== one", "== two"]


def test_most_of_the_book_that_does_not_speak_of_the_world_outside_can_be_run() -> None:
    assert len(RUNNABLE) > 25
    assert {"quickstart", "two-networks-isolated", "service-only", "overlapping-prefixes-isolated"} <= {
        each.name for each in RUNNABLE
    }


@EVERY_RUNNABLE
def test_pods_are_placed_and_answer_on_their_ports(scenario: book.Scenario) -> None:
    made = scenario.manifests("lace-sdn:0.1.0", PLACES)
    pods = [each for each in made if each["kind"] == "Pod"]
    assert {each["spec"]["nodeName"] for each in pods} <= set(PLACES.values())
    assert {container["image"] for each in pods for container in each["spec"]["containers"]} == {
        "lace-sdn:0.1.0"
    }
    assert not [each for each in made if "status" in each or each["kind"] in ("Node", "Namespace")]
    named = {each["metadata"]["name"] for each in scenario.namespaces()}
    assert {each["metadata"]["namespace"] for each in made if "namespace" in each["metadata"]} <= named


@EVERY_RUNNABLE
def test_what_is_as_written_is_accepted_and_anything_else_is_not(scenario: book.Scenario) -> None:
    for source in scenario.sources:
        connections = scenario.connections(source)
        found = [answer(scenario, each) for each in connections]
        assert list(scenario.wrong(source, found)) == []
        for wrong in (["silence"], ["refused"], ["somebody/else"], []):
            said = list(scenario.wrong(source, [wrong] * len(connections)))
            assert len(said) == sum(each != wrong for each in found)


@EVERY_RUNNABLE
def test_every_connection_is_probed_at_an_address(scenario: book.Scenario) -> None:
    addresses = {
        each.id: [str(address) for address in each.addresses] for each in scenario.built.state.endpoints
    }
    for source in scenario.sources:
        asked = scenario.asked(source, addresses)
        assert len(asked) == len(scenario.connections(source))
        assert len(json.dumps(asked)) < 100_000  # one argument of a command


def test_addresses_are_those_of_network_endpoints() -> None:
    listed: dict[str, Any] = {
        "items": [{"metadata": {"namespace": "a", "name": "b"}, "spec": {"addresses": ["10.0.0.2"]}}]
    }
    assert book.addresses_of(listed) == {"a/b": ["10.0.0.2"]}


def test_kinds_that_are_applied_are_those_of_the_product() -> None:
    assert BINDING_POLICIES.kind in book.GIVEN


def verified(folder: Path, name: str, wrong: str = "") -> tuple[int, str, list[str]]:
    """Exit status, output, and the verbs of kubectl that ``verify.sh`` used."""
    log, kubectl = folder / "log", folder / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent}/stand_in_kubectl.py "$@"\n')
    kubectl.chmod(0o755)
    its = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": sys.executable, "SETTLE": "0"}
    told = {"LOG": str(log), "SCENARIO": name, "WRONG": wrong}
    done = subprocess.run(
        [VERIFY, name], env={**os.environ, **its, **told}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, [line.split()[0] for line in log.read_text().splitlines()]


def test_a_cluster_that_is_as_written_is_found_to_be_so(tmp_path: Path) -> None:
    status, said, verbs = verified(tmp_path, "service-only")
    assert status == 0
    assert re.search(r"service-only: \d+ connections probed: 0 not as written", said)
    assert verbs == [
        *["apply"],
        *["wait"] * 2,
        "apply",
        *["wait"] * 3,
        "get",
        *["exec"] * 4,
        "delete",
        "delete",
    ]


def test_one_wrong_answer_fails_the_verification_and_is_told(tmp_path: Path) -> None:
    status, said, verbs = verified(tmp_path, "service-only", wrong="desk/pod-1")
    assert status == 1
    assert re.search(
        r"1 not as written\n  desk/pod-1 -> desk/pod-2 icmp v4: expected allow, found silence\n", said
    )
    assert verbs[-1] == "delete"


# What runs in the pods.


@pytest.fixture
def server() -> Iterator[None]:
    words = [
        sys.executable,
        "-c",
        (VAGRANT / "probe.py").read_text(),
        "serve",
        "team/web",
        "tcp/41080",
        "udp/41053",
    ]
    with subprocess.Popen(words) as process:
        yield
        process.kill()


@pytest.mark.host
@pytest.mark.usefixtures("server")
def test_a_pod_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until_it_answers()
    monkeypatch.setattr(probe, "PATIENCE", 0.3)
    assert probe.outcomes("tcp/41080", "127.0.0.1", 2) == ["team/web"]
    assert probe.outcomes("udp/41053", "127.0.0.1", 2) == ["team/web"]
    assert probe.outcomes("icmp", "127.0.0.1", 1) == ["echo"]
    assert probe.outcomes("tcp/41081", "127.0.0.1", 1) == ["refused"]
    assert probe.outcomes("udp/41081", "127.0.0.1", 1) == ["refused"]


def wait_until_it_answers() -> None:
    """It has just been started."""
    deadline = time.monotonic() + 10.0
    while probe.outcomes("tcp/41080", "127.0.0.1", 1) != ["team/web"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_silence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE", 0.1)
    with probe.socket.socket(probe.socket.AF_INET, probe.socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        assert probe.outcomes(f"udp/{mute.getsockname()[1]}", "127.0.0.1", 1) == ["silence"]
