"""How the parts of a lab reach the API server: the user's kubeconfig from here, a relay's from inside a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import Api, ApiError
from lace_sdn.lab import LabError
from lace_sdn.lab.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.lab.names import Lab

RELAY_PORT = 16443
"""Of the relay, on a node's loopback: none that a process of a scenario is likely to listen on, which may do so on all addresses."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the API server is, as the kubeconfig says."""

    host: str
    port: int


def inside(lab: Lab) -> Path:
    """The kubeconfig of processes inside a node."""
    return lab.run / "kubeconfig-inside"


def remember(lab: Lab, kubeconfig: Path) -> None:
    """Keep the kubeconfig with the lab, with its files inside it. Raises LabError for one that cannot be used."""
    try:
        config = yaml.safe_load(kubeconfig.read_text())
        _, cluster = _current(config)
        urlsplit(cluster["server"]).port  # noqa: B018 - raises for no port
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration, ValueError) as problem:
        raise LabError(f"{kubeconfig}: is no kubeconfig that can be used: {problem!r}") from None
    _make_absolute(config, kubeconfig.resolve().parent)
    lab.run.mkdir(parents=True, exist_ok=True)
    write_whole(lab.kubeconfig, yaml.safe_dump(config))
    server = server_of(lab)
    _, its = _current(config)
    scheme = urlsplit(its["server"]).scheme
    if scheme == "https":
        its.setdefault("tls-server-name", server.host)
    its["server"] = f"{scheme}://127.0.0.1:{RELAY_PORT}"
    write_whole(inside(lab), yaml.safe_dump(config))
    for path in (lab.kubeconfig, inside(lab)):
        path.chmod(0o600)


def server_of(lab: Lab) -> Server:
    """Where the relays lead."""
    _, cluster = _current(yaml.safe_load(lab.kubeconfig.read_text()))
    found = urlsplit(cluster["server"])
    return Server(str(found.hostname), found.port or (443 if found.scheme == "https" else 80))


def connect(lab: Lab) -> Api:
    """From outside of the nodes."""
    return Api.connect(lab.kubeconfig, user_agent="lace-sdn-lab")


def has_controllers(api: Api) -> bool:
    """Whether kube-controller-manager runs in the cluster: it then makes EndpointSlices."""
    try:
        lease = api.get(resources.LEASES, "kube-controller-manager", "kube-system")
    except ApiError as error:
        if error.is_not_found:
            return False
        raise
    return bool((lease.get("spec") or {}).get("holderIdentity"))


def _current(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Context and cluster that are in use."""
    context = next(each for each in config["contexts"] if each["name"] == config["current-context"])[
        "context"
    ]
    cluster = next(each for each in config["clusters"] if each["name"] == context["cluster"])["cluster"]
    return context, cluster


def _make_absolute(config: dict[str, Any], folder: Path) -> None:
    """Paths in a kubeconfig are relative to it."""
    for section, names in (
        ("clusters", ("certificate-authority",)),
        ("users", ("client-certificate", "client-key", "tokenFile")),
    ):
        for entry in config.get(section) or ():
            its = entry[section[:-1]] or {}
            for name in names:
                if its.get(name):
                    its[name] = str(folder / its[name])
