"""Scenarios of the book for a real cluster: which of them it can run, their objects with pods that answer, what to probe, and whether it is as written."""

from __future__ import annotations

import argparse
import json
import sys
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.manifests import read
from lace_sdn.policy.ends import SERVICE_PREFIX
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.reachability import Outcome, expected, intended, parse, probe_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lace_sdn.policy.oracle import Connection
    from lace_sdn.policy.reachability import Expectation

Data = dict[str, Any]

ROOT = Path(__file__).parents[1]
QUICKSTART = "quickstart"
SERVICE_ADDRESSES = ip_network("10.96.0.0/12")
"""Of a cluster that kubeadm makes without being told others."""
MOST_NODES = 3
GIVEN = {
    "Namespace",
    "Network",
    "NetworkBindingPolicy",
    "NetworkRoutingPolicy",
    "ServiceRoutingPolicy",
    "Pod",
    "Service",
}
"""Kinds that are applied. A cluster has Nodes itself."""
USAGE = """
book.py names                  scenarios that a cluster can run, one a line; with --all also the others, and why not
book.py prepare NAME FOLDER    writes namespaces.yaml, objects.yaml, and sources: pods that start connections, NAMESPACE NAME a line
book.py ask NAME FOLDER        reads endpoints.json, all NetworkEndpoints; writes NAMESPACE.POD.asked: what probe.py is asked there
book.py judge NAME FOLDER      reads NAMESPACE.POD.said: what probe.py answered there
"""
ATTEMPTS = 8
"""At a Service that several pods answer for."""


class Scenario:
    """A folder of ``flows/``, or the quickstart."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = ROOT / "flows" / name
        self.file = (
            ROOT / "manifests/examples/quickstart.yaml"
            if name == QUICKSTART
            else self.folder / "cluster.yaml"
        )

    @cached_property
    def objects(self) -> list[Data]:
        return [each for each in yaml.safe_load_all(self.file.read_text()) if each]

    @cached_property
    def built(self) -> Built:
        return build(read(self.file), Ledger())

    @cached_property
    def expected(self) -> Mapping[Connection, Expectation]:
        """By what ``reachability.txt`` says, deny for what it leaves out; of the quickstart by what its objects mean."""
        if self.name == QUICKSTART:
            return intended(self.built.state)
        path = self.folder / "reachability.txt"
        return expected(self.built.state, parse(path.read_text(), str(path)))

    @property
    def why_not(self) -> str:
        """Why a cluster of three nodes with IPv4 Services cannot run it; "" if it can."""
        nodes = [each for each in self.objects if each["kind"] == "Node"]
        others = {each["kind"] for each in self.objects} - GIVEN - {"Node"}
        ends = {end for each in self.expected for end in (each.source, each.destination)}
        if others:
            return (
                f"has objects that a cluster makes itself, or of the lab alone: {', '.join(sorted(others))}"
            )
        if any(end.startswith(("host ", "node ")) for end in ends):
            return "speaks of hosts outside or of the nodes themselves"
        if len(nodes) > MOST_NODES:
            return f"has {len(nodes)} nodes"
        if any(each["metadata"].get("labels") for each in nodes):
            return "needs labels on nodes"
        first = [each["spec"].get("clusterIP", "None") for each in self.objects if each["kind"] == "Service"]
        if any(each != "None" and ip_address(each) not in SERVICE_ADDRESSES for each in first):
            return f"has Services with first addresses outside of {SERVICE_ADDRESSES}"
        return ""

    @cached_property
    def probed(self) -> list[Connection]:
        """In an order that is always the same; Services have no IPv6 here."""
        found = [each for each in self.expected if each.family == 4 or not _is_to_service(each)]
        return sorted(
            found, key=lambda each: (each.source, each.destination, each.protocol, each.port, each.family)
        )

    @property
    def sources(self) -> list[str]:
        return sorted({each.source for each in self.probed})

    def connections(self, source: str) -> list[Connection]:
        """Those that a pod starts."""
        return [each for each in self.probed if each.source == source]

    def namespaces(self) -> list[Data]:
        """Those that are named, and those that objects are in."""
        named = {each["metadata"]["name"]: each for each in self.objects if each["kind"] == "Namespace"}
        used = {each["metadata"].get("namespace") for each in self.objects} - {None, *named}
        made = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(used)
        ]
        return [*named.values(), *made]

    def manifests(self, image: str, nodes: Mapping[str, str]) -> list[Data]:
        """All but Nodes and Namespaces."""
        found = []
        for each in self.objects:
            if each["kind"] in GIVEN - {"Namespace"}:
                kept = {key: value for key, value in each.items() if key != "status"}
                if kept["kind"] == "Pod":
                    kept = _pod(kept, image, nodes)
                found.append(_single_stack(kept) if kept["kind"] == "Service" else kept)
        return found

    def asked(self, source: str, addresses: Mapping[str, list[str]]) -> list[list[Any]]:
        """Each as ``probe.py`` wants it. ``addresses``: by pod, ``namespace/name``."""
        found = []
        for each in self.connections(source):
            meant = self.expected[each]
            if _is_to_service(each):
                service = self.built.state.service_by_id[each.destination.removeprefix(SERVICE_PREFIX)]
                its = [str(vip) for vip in service.vips]
            else:
                its = addresses[each.destination]
            (address,) = [text for text in its if ip_address(text).version == each.family]
            attempts = ATTEMPTS if len(meant.backends or ()) > 1 else 1
            found.append([probe_name(each.protocol, each.port), address, attempts])
        return found

    def wrong(self, source: str, found: list[list[str]]) -> Iterator[str]:
        """What is not as written, in words."""
        for each, said in zip(self.connections(source), found, strict=True):
            meant = self.expected[each]
            if not _is_as_meant(each, meant, said):
                by = f" by {' '.join(sorted(meant.backends))}" if meant.backends else ""
                yield f"{_written(each)}: expected {meant.outcome}{by}, found {', '.join(said)}"


def _written(connection: Connection) -> str:
    """As a line of ``reachability.txt``."""
    probe = probe_name(connection.protocol, connection.port)
    return f"{connection.source} -> {connection.destination} {probe} v{connection.family}"


def _is_to_service(connection: Connection) -> bool:
    return connection.destination.startswith(SERVICE_PREFIX)


def _is_as_meant(connection: Connection, meant: Expectation, said: list[str]) -> bool:
    if meant.outcome is Outcome.DENY:
        return said == ["silence"]
    if meant.outcome is Outcome.REJECT:
        return said == ["refused"]
    if probe_name(connection.protocol, connection.port) == "icmp":
        return said == ["echo"]
    if _is_to_service(connection):
        return bool(said) and (meant.backends is None or set(said) <= meant.backends)
    return said == [connection.destination]


def _pod(pod: Data, image: str, nodes: Mapping[str, str]) -> Data:
    """The pod with containers that answer on its ports with its name."""
    metadata, spec = pod["metadata"], pod["spec"]
    name = f"{metadata['namespace']}/{metadata['name']}"
    program = (Path(__file__).parent / "probe.py").read_text()
    containers = []
    for each in spec["containers"]:
        ports = [
            f"{port.get('protocol', 'TCP').lower()}/{port['containerPort']}"
            for port in each.get("ports", ())
            if port.get("protocol") != "SCTP"
        ]
        command = ["python3", "-c", program, "serve", name, *ports]
        containers.append({**each, "image": image, "imagePullPolicy": "IfNotPresent", "command": command})
    placed = {**spec, "nodeName": nodes[spec["nodeName"]], "containers": containers}
    quick = {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    return {**pod, "spec": {**placed, **quick}}


def _single_stack(service: Data) -> Data:
    """The Service with its IPv4 address alone."""
    dropped = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"}
    return {**service, "spec": {key: value for key, value in service["spec"].items() if key not in dropped}}


def scenarios() -> list[Scenario]:
    """All, the quickstart first."""
    book = sorted((ROOT / "flows").rglob("cluster.yaml"))
    return [Scenario(QUICKSTART), *(Scenario(str(path.parent.relative_to(ROOT / "flows"))) for path in book)]


def addresses_of(endpoints: Data) -> dict[str, list[str]]:
    """By pod, from a list of NetworkEndpoints."""
    return {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["spec"]["addresses"]
        for each in endpoints["items"]
    }


def main(words: list[str]) -> int:
    """The exit status: 1 if something is not as written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("names").add_argument("--all", action="store_true")
    for verb in ("prepare", "ask", "judge"):
        verbs.add_parser(verb).add_argument("name")
        verbs.choices[verb].add_argument("folder", type=Path)
    verbs.choices["prepare"].add_argument("--image", required=True)
    verbs.choices["prepare"].add_argument("--node", action="append", default=[], metavar="NAME=NODE")
    options = parser.parse_args(words)
    if options.verb == "names":
        for each in scenarios():
            if options.all or not each.why_not:
                print(f"{each.name}: {each.why_not}" if each.why_not else each.name)
        return 0
    scenario, folder = Scenario(options.name), options.folder
    match options.verb:
        case "prepare":
            nodes = dict(each.split("=", 1) for each in options.node)
            (folder / "namespaces.yaml").write_text(yaml.safe_dump_all(scenario.namespaces()))
            objects = scenario.manifests(options.image, nodes)
            (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects))
            (folder / "sources").write_text(
                "".join(f"{each.replace('/', ' ')}\n" for each in scenario.sources)
            )
        case "ask":
            addresses = addresses_of(json.loads((folder / "endpoints.json").read_text()))
            for source in scenario.sources:
                asked = json.dumps(scenario.asked(source, addresses))
                (folder / f"{source.replace('/', '.')}.asked").write_text(asked)
        case "judge":
            return _judge(scenario, folder)
    return 0


def _judge(scenario: Scenario, folder: Path) -> int:
    wrong = []
    for source in scenario.sources:
        found = json.loads((folder / f"{source.replace('/', '.')}.said").read_text())
        wrong += scenario.wrong(source, found)
    print(f"{scenario.name}: {len(scenario.probed)} connections probed: {len(wrong)} not as written")
    for each in wrong:
        print(f"  {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
