"""A node as the manifests deploy it, in a /run and a network of its own: ``.ci/isolated python tests/deploy/one_node.py WORK``.

Every program is started by the command line of its container; Open vSwitch switches in userspace. The pods of the example of two teams are attached by
the installed plugin, as a container runtime does. Prints JSON: what was probed, what the programs say of themselves, and what they asked the API server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "path"))

from api_process import ApiProcess
from deployment import base, containers

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import Api, ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Data = dict[str, Any]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "manifests/examples/two-teams"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NODE, ADDRESS, VIP = "node-1", "192.0.2.11", "10.96.0.77"
PATIENCE = 60.0
OF_NODE = ("openvswitch", "controller", "host")
PLACES = {"/usr/lib/lace-sdn/lace-sdn-cni": ROOT / "lace_sdn/cni.py", "/usr/lib/lace-sdn": ROOT / "deploy"}
USUAL = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP",
    "SETUID", "SYS_CHROOT",
}  # fmt: skip
"""Capabilities of a container that says nothing of them (containerd)."""
KINDS = {each.kind: each for each in vars(resources).values() if isinstance(each, resources.Resource)}


class Node:
    """``work``: for what would lie on the host beside /run."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.server = ApiProcess(work)
        self.containers: dict[str, subprocess.Popen[bytes]] = {}
        self.namespaces: dict[str, str] = {}

    def start(self) -> None:
        """All of it."""
        subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
        self.server.start()
        self.api = Api.connect(self.server.kubeconfig, user_agent="kubectl")
        ACCOUNT.mkdir(parents=True)
        for name, text in {"token": "none", "ca.crt": "none", "namespace": "lace-sdn"}.items():
            (ACCOUNT / name).write_text(text)
        namespace = next(each for each in base() if each["kind"] == "Namespace")
        self.api.create(resources.NAMESPACES, namespace)
        status = {"addresses": [{"type": "InternalIP", "address": ADDRESS}]}
        self.api.create(resources.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        self.api.patch(resources.NODES, NODE, "", {"status": status}, "status")
        for volume in containers()["controller"].pod["volumes"]:
            if "/run/" in volume["hostPath"]["path"]:
                Path(volume["hostPath"]["path"]).mkdir(parents=True, exist_ok=True)
        self.start_node()
        self._container("operator")

    def close(self) -> None:
        """What is not ended here ends with the process namespace."""
        self.server.close()

    def _container(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        values = {
            "API_SERVER": self.server.url,
            "DATAPATH_TYPE": "netdev",
            "HOST_IP": ADDRESS,
            "NODE_NAME": NODE,
        }
        words = [self._here(word) for word in containers()[name].words_with(values)]
        program = [sys.executable, "-c", "from lace_sdn.cli import main; main()"]
        words = [
            *_confined(containers()[name].spec),
            *(program if words[0] == "lace-sdn" else words[:1]),
            *words[1:],
            *more,
        ]
        environment = {
            **os.environ,
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
            "KUBERNETES_SERVICE_PORT": "443",
            "OVS_DBDIR": str(self.work / "openvswitch"),
        }
        with (self.work / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        self.containers[name] = started
        return started

    def _here(self, word: str) -> str:
        for place, there in PLACES.items():
            word = word.replace(place, str(there))
        return word.replace("/host/", f"{self.work}/host/")

    def restart(self) -> None:
        """The containers of the DaemonSet, as an update does."""
        for name in OF_NODE:
            self.containers[name].terminate()
        for name in OF_NODE:
            self.containers[name].wait(PATIENCE)
        self.start_node()

    def start_node(self) -> None:
        for name in ("make-folder", "install-cni"):
            self._container(name).wait(PATIENCE)
        for name in OF_NODE:
            self._container(name, *(["--disable-system"] if name == "openvswitch" else []))

    # The cluster's other parts.

    def apply(self) -> None:
        """The example, scheduled; the Service with its VIP."""
        for path in sorted(EXAMPLE.glob("*.yaml")):
            for body in yaml.safe_load_all(path.read_text()):
                if body["kind"] == "Pod":
                    body["spec"]["nodeName"] = NODE
                if body["kind"] == "Service":
                    body["spec"]["clusterIP"] = VIP
                self.api.create(KINDS[body["kind"]], body)

    def attach(self) -> None:
        """Every pod, as a runtime does that takes the configuration from its folder."""
        (path,) = (self.work / "host/etc/cni/net.d").iterdir()
        config = json.loads(path.read_text())
        (plugin,) = config["plugins"]
        given = {**plugin, "cniVersion": max(config["cniVersions"]), "name": config["name"]}
        for pod in self.pods():
            meta = pod["metadata"]
            name = f"cni-{meta['uid']}"
            subprocess.run(["ip", "netns", "add", name], check=True)
            self.namespaces[f"{meta['namespace']}/{meta['name']}"] = name
            arguments = {
                "K8S_POD_NAMESPACE": meta["namespace"],
                "K8S_POD_NAME": meta["name"],
                "K8S_POD_UID": meta["uid"],
            }
            environment = {
                "CNI_COMMAND": "ADD",
                "CNI_CONTAINERID": meta["uid"].replace("-", ""),
                "CNI_NETNS": f"/var/run/netns/{name}",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(self.work / "host/opt/cni/bin"),
                "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
            }
            program = self.work / "host/opt/cni/bin" / plugin["type"]
            until(lambda program=program, environment=environment: _added(program, given, environment))

    def pods(self) -> list[Data]:
        return self.api.list(resources.PODS)[0]

    def serve(self) -> None:
        """What the pods' containers do, and the slice of the Service."""
        for pod, namespace in self.namespaces.items():
            words = [sys.executable, str(ROOT / "vagrant/probe.py"), "serve", pod, "tcp/8080"]
            self.containers[pod] = subprocess.Popen(["ip", "netns", "exec", namespace, *words])
        target = {"kind": "Pod", "namespace": "shared", "name": "registry"}
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": "shared",
                "name": "registry-0",
                "labels": {"kubernetes.io/service-name": "registry"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [self.address("shared/registry")],
                    "conditions": {"ready": True},
                    "targetRef": target,
                }
            ],
        }
        self.api.create(resources.ENDPOINT_SLICES, body)

    def address(self, pod: str) -> str:
        namespace, _, name = pod.partition("/")
        return str(self.api.get(resources.NETWORK_ENDPOINTS, name, namespace)["spec"]["addresses"][0])

    def ask(self, source: str, probe: str, destination: str) -> str:
        """The destination: a pod, or an address."""
        address = self.address(destination) if "/" in destination else destination
        words = [sys.executable, str(ROOT / "vagrant/probe.py"), "ask", json.dumps([[probe, address, 1]])]
        command = ["ip", "netns", "exec", self.namespaces[source], *words]
        return str(json.loads(subprocess.run(command, check=True, capture_output=True).stdout)[0][0])


def _confined(spec: Data) -> list[str]:
    """A command that takes away the capabilities which a container does not have."""
    its = spec.get("securityContext", {})
    if its.get("privileged"):
        return []
    had = set() if "ALL" in its.get("capabilities", {}).get("drop", ()) else USUAL
    kept = sorted(had | set(its.get("capabilities", {}).get("add", ())))
    bounds = ",".join(["-all", *(f"+{name.lower()}" for name in kept)])
    return ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all"]


def _added(program: Path, given: Data, environment: dict[str, str]) -> bool:
    """Kubelets try again, too: the Networks are as young as the pods."""
    words = {"input": json.dumps(given), "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([program], check=False, **words)  # type: ignore[call-overload]
    time.sleep(0.5 if done.returncode else 0.0)
    return not done.returncode


def well(port: int, path: str) -> str:
    """What a program says of itself."""
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode().strip())
    except OSError as error:
        return str(error)


def until(what: Callable[[], bool]) -> None:
    """Ends with the process where it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.1)


def probed(node: Node) -> Iterator[tuple[str, str, str, str]]:
    for source, probe, destination in (
        ("team-a/client", "tcp/8080", "team-a/web"),
        ("team-a/client", "icmp", "team-a/web"),
        ("team-b/client", "tcp/8080", "team-b/web"),
        ("shared/scanner", "tcp/8080", "team-a/web"),
        ("team-a/web", "tcp/8080", "shared/scanner"),
        ("shared/scanner", "icmp", "10.50.255.1"),
        ("team-b/client", "tcp/80", VIP),
        ("team-b/client", "tcp/8080", "shared/registry"),
    ):
        yield source, probe, destination, node.ask(source, probe, destination)


def main() -> None:
    """As the module says."""
    node = Node(Path(sys.argv[1]))
    try:
        node.start()
        until(lambda: well(9404, "/readyz") == "ok")
        until(lambda: well(9405, "/readyz") == "ok")
        node.apply()
        node.attach()
        node.serve()
        until(lambda: node.ask("team-a/client", "tcp/80", VIP) == "shared/registry")
        found = list(probed(node))
        status = json.loads(Path("/run/lace-sdn/host-status.json").read_text())
        until(lambda: has_node_state(node.api))
        ended = [name for name, each in node.containers.items() if each.poll() is not None]
        node.restart()
        until(lambda: well(9405, "/readyz") == "ok")
        until(lambda: node.ask("team-a/client", "tcp/80", VIP) == "shared/registry")
        said = {
            "probed": found,
            "again": list(probed(node)),
            "host": status["problems"],
            "ended": ended,
            "verbs": sorted(node.server.verbs()),
        }
        print(json.dumps(said))
    finally:
        node.close()


def has_node_state(api: Api) -> bool:
    try:
        return bool(api.get(resources.NODE_STATES, NODE).get("status"))
    except ApiError:
        return False


if __name__ == "__main__":
    main()
