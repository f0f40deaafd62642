"""``vagrant/steps.sh`` for real, on an /etc of its own and with stand-ins for the programs that would change the machine: a second run does nothing anew."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "apt-mark",
    "buildah",
    "ctr",
    "curl",
    "kubeadm",
    "kubectl",
    "modprobe",
    "python3",
    "swapoff",
    "sysctl",
    "systemctl",
)
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
case "$(basename "$0") $*" in
"systemctl is-active --quiet ovs-vswitchd") exit 3 ;;
"kubeadm init"*) mkdir -p /etc/kubernetes && touch /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf ;;
"kubeadm join"*) mkdir -p /etc/kubernetes && touch /etc/kubernetes/kubelet.conf ;;
"curl "*) mkdir -p /etc/apt/keyrings && touch /etc/apt/keyrings/kubernetes.asc ;;
"python3 -m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/pip" && touch "$3/bin/lace-sdn" ;;
esac
"""
ISOLATED = """
mount -t tmpfs tmpfs "$WORK_ETC" && cp -a /etc/apt /etc/fstab /etc/passwd "$WORK_ETC" 2>/dev/null
mkdir -p "$WORK_ETC/modules-load.d" "$WORK_ETC/sysctl.d" "$WORK_ETC/default" && printf '/dev/vdb none swap sw 0 0\\n' >"$WORK_ETC/fstab"
mount --bind "$WORK_ETC" /etc || exit
for run in first second; do
    echo "# $run" >>"$LOG"
    "$@" || exit
done
cat /etc/fstab
"""


@dataclass(frozen=True)
class Machine:
    folder: Path

    def twice(self, *steps: str, **environment: str) -> tuple[list[str], list[str]]:
        """The commands of the first and of the second run."""
        log = self.folder / "log"
        log.touch()
        its = {
            **os.environ,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "LOG": str(log),
            "WORK": str(self.folder / "work"),
            "WORK_ETC": str(self.folder / "etc"),
            **environment,
        }
        script = self.folder / "clone/vagrant/steps.sh"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", ISOLATED, "sh", script, *steps],
            env=its,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        first, second = log.read_text().split("# second\n")
        return first.splitlines()[1:], second.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With a clone in which packages are only noted, too."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "etc").mkdir()
    shutil.copytree(ROOT / "vagrant", tmp_path / "clone/vagrant")
    (tmp_path / "clone/.ci").mkdir()
    for path in (*(tmp_path / "bin" / name for name in PROGRAMS), tmp_path / "clone/.ci/deps"):
        path.write_text(STAND_IN)
        path.chmod(0o755)
    return Machine(tmp_path)


def test_the_container_runtime_is_configured_and_restarted_once(machine: Machine) -> None:
    first, second = machine.twice("prerequisites")
    assert first.count("systemctl restart containerd") == 1
    assert "systemctl restart containerd" not in second


def test_kubernetes_packages_are_fetched_once(machine: Machine) -> None:
    first, second = machine.twice("kubernetes", NODE_IP="192.0.2.12")
    assert [line.split()[0] for line in first if line.startswith("curl")] == ["curl"]
    assert first.count("systemctl restart kubelet") == 1
    assert not [line for line in second if line.startswith("curl") or "restart" in line]


def test_a_cluster_is_made_once_and_lace_sdn_is_applied_each_time(machine: Machine) -> None:
    first, second = machine.twice("control-plane", "install", "ready")
    assert [line for line in first if line.startswith("kubeadm")] == [
        f"kubeadm init --config {machine.folder}/work/kubeadm.yaml"
    ]
    assert not [line for line in second if line.startswith(("kubeadm", "python3", "pip"))]
    applied = f"kubectl apply -k {machine.folder}/clone/vagrant/.install"
    assert (first.count(applied), second.count(applied)) == (1, 1)


def test_a_worker_joins_once(machine: Machine) -> None:
    first, second = machine.twice("join")
    assert [line.split()[:2] for line in first] == [["kubeadm", "join"]]
    assert second == []


def test_the_image_goes_to_the_container_runtime_under_the_name_of_the_manifests(machine: Machine) -> None:
    first, _ = machine.twice("image")
    name = "docker.io/library/lace-sdn:0.1.0"
    assert [line.split()[:2] for line in first] == [
        ["buildah", "build"],
        ["buildah", "push"],
        ["ctr", "--namespace"],
    ]
    assert first[1] == f"buildah push {name} docker-archive:{machine.folder}/work/image.tar:{name}"


def test_a_host_without_a_switch_of_its_own_is_left_alone(machine: Machine) -> None:
    first, _ = machine.twice("openvswitch")
    assert first == ["systemctl is-active --quiet ovs-vswitchd"]


def test_swap_stays_off_after_a_restart_and_the_line_is_commented_once(machine: Machine) -> None:
    log = machine.folder / "fstab"
    (machine.folder / "bin/sysctl").write_text(f"#!/bin/sh\ncp /etc/fstab {log}\n")
    machine.twice("prerequisites")
    assert log.read_text() == "#/dev/vdb none swap sw 0 0\n"
