"""What is deployed, as the files in ``manifests/`` say it: documents, containers, command lines, and who may do what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Data = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
MANIFESTS: Final = ROOT / "manifests"
OVERLAYS: Final = ("base", "host-ovs", "crds")
NAMESPACE: Final = "lace-sdn"
_OF_PODS: Final = {
    "spec.nodeName": "node-1",
    "status.hostIP": "192.0.2.11",
    "metadata.name": "lace-sdn-operator-0",
}
"""Values for ``fieldRef``."""


def kustomization(folder: Path) -> tuple[Path, Data]:
    """The one of a folder, by any of its names."""
    (found,) = [path for path in folder.iterdir() if path.stem == "kustomization"]
    return found, yaml.safe_load(found.read_text())


def files_of(folder: Path) -> Iterator[Path]:
    """All files that a kustomization leads to, bases first; also those that do not exist."""
    _, its = kustomization(folder)
    for name in its["resources"]:
        path = (folder / name).resolve()
        if path.is_dir():
            yield from files_of(path)
        else:
            yield path
    yield from (folder / each["path"] for each in its.get("patches", ()))
    yield from (folder / name for each in its.get("configMapGenerator", ()) for name in each["envs"])


def documents(path: Path) -> list[Data]:
    """All of a file."""
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


@cache
def base() -> tuple[Data, ...]:
    """All objects of ``manifests/base`` but CRDs."""
    _, its = kustomization(MANIFESTS / "base")
    files = [MANIFESTS / "base" / name for name in its["resources"] if name.endswith(".yaml")]
    return tuple(each for path in files for each in documents(path))


def settings() -> dict[str, str]:
    """The environment of ``settings.env``."""
    lines = (MANIFESTS / "base/settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class Container:
    """One of a workload's, init containers too."""

    workload: str
    spec: Data
    pod: Data

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def words(self) -> list[str]:
        """Its command line as the kubelet starts it."""
        return self.words_with({})

    def words_with(self, others: Mapping[str, str]) -> list[str]:
        """With other values of the environment (Kubernetes: "Define Environment Variables for a Container")."""
        known = settings() if "envFrom" in self.spec else {}
        known |= {
            each["name"]: _OF_PODS[each["valueFrom"]["fieldRef"]["fieldPath"]]
            for each in self.spec.get("env", ())
        }
        known |= others
        words = [*self.spec["command"], *self.spec.get("args", ())]
        return [re.sub(r"\$\((\w+)\)", lambda found: known[found[1]], word) for word in words]

    @property
    def options(self) -> dict[str, str]:
        """``--name=value``."""
        return dict(word.split("=", 1) for word in self.words if word.startswith("--"))


def containers() -> dict[str, Container]:
    """By name; each name is there once."""
    found = {}
    for each in base():
        if each["kind"] in ("Deployment", "DaemonSet"):
            pod = each["spec"]["template"]["spec"]
            for spec in (*pod.get("initContainers", ()), *pod["containers"]):
                assert spec["name"] not in found
                found[spec["name"]] = Container(each["metadata"]["name"], spec, pod)
    return found


Permission = tuple[str, str, str]
"""Verb, group, resource or resource/subresource."""


@cache
def permissions(agent: str) -> frozenset[Permission]:
    """Of a program by its User-Agent, which is its ServiceAccount's name too: what Roles and ClusterRoles allow."""
    found = set()
    roles = {(each["kind"], each["metadata"]["name"]): each for each in base() if "rules" in each}
    for binding in base():
        if any(each["name"] == agent for each in binding.get("subjects", ())):
            its = binding["roleRef"]
            for rule in roles[its["kind"], its["name"]]["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        found |= {(verb, group, resource) for verb in rule["verbs"]}
    return frozenset(found)


def allowed(agent: str, verb: str, group: str, resource: str) -> bool:
    """Whether ``lace-sdn-operator`` or ``lace-sdn-controller`` may do what it was seen to do; ``resource`` may be ``resource/subresource``."""
    return (verb, group, resource) in permissions(agent)
