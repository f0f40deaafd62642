"""Whether the bridges hold what the objects in the API server mean: compiled here from all of them, compared flow by flow."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from lace_sdn.lab import LabError, datapath, links
from lace_sdn.lab.switches import INTEGRATION_BRIDGE, Switch
from lace_sdn.openflow.diff import diff
from lace_sdn.openflow.flow import BridgeProgram, Flow, Group, Meter, program
from lace_sdn.openflow.text import parse_flow, parse_group, parse_meters
from lace_sdn.pipeline.compiler import Cluster, NodeCompiler
from lace_sdn.switch.contract import is_learned

if TYPE_CHECKING:
    from lace_sdn.lab.names import Lab

_PATIENCE = 20.0


def difference(lab: Lab, cluster: Cluster, node: str) -> str:
    """What a node's bridge has otherwise than the objects mean, in words; "" if nothing."""
    switch = Switch(lab, node)
    try:
        ports = _ports(switch)
        found = _installed(switch)
    except (LabError, OSError, ValueError) as problem:
        return f'node "{node}": {problem}'
    missing = {endpoint.id for endpoint in cluster.endpoints_of.get(node, ())} - ports.keys()
    if missing:
        return f'node "{node}": no port of {", ".join(sorted(missing)[:5])}'
    sctp = not datapath.of(lab).is_userspace
    meant = NodeCompiler(node, sctp=sctp, mtu=links.POD_MTU).compile(cluster, ports)
    delta = diff(found, meant)
    if delta.is_empty:
        return ""
    changes: list[tuple[str, tuple[Flow | Group | Meter, ...]]]
    changes = [("lacks", delta.put_flows), ("has too many", delta.remove_flows)]
    changes += [
        ("has other groups than", delta.add_groups + delta.modify_groups),
        ("has too many", delta.remove_groups),
        ("has other meters than", delta.add_meters + delta.modify_meters),
        ("has too many", delta.remove_meters),
    ]
    said = [f"{verb} {len(which)}, such as {which[0]}" for verb, which in changes if which]
    return f'node "{node}" {"; ".join(said)}'


def size(lab: Lab, node: str) -> int:
    """How many flows a node's bridge holds. Raises LabError or OSError if it does not answer."""
    return len(_installed(Switch(lab, node)).flows)


def _installed(switch: Switch) -> BridgeProgram:
    flows = [
        parse_flow(line.strip())
        for line in _ask(switch, "dump-flows", "--no-stats").splitlines()
        if "actions=" in line
    ]
    groups = [
        parse_group(line.strip()) for line in _ask(switch, "dump-groups").splitlines() if "group_id=" in line
    ]
    meters = parse_meters(_ask(switch, "dump-meters"))
    return program((flow for flow in flows if not is_learned(flow.cookie)), groups, meters)


def _ports(switch: Switch) -> dict[str, int]:
    """Endpoint -> ofport, of interfaces that can be used."""
    table = json.loads(switch.vsctl("--format=json", "--columns=external_ids,ofport", "list", "Interface"))
    ports = {}
    for ids, ofport in table["data"]:
        identity = dict(ids[1]).get("iface-id")
        if identity and isinstance(ofport, int) and ofport > 0:
            ports[identity] = ofport
    return ports


def _ask(switch: Switch, verb: str, *options: str) -> str:
    socket = switch.folder / f"{INTEGRATION_BRIDGE}.mgmt"
    done = subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow15", "--no-names", *options, verb, f"unix:{socket}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    if done.returncode:
        raise LabError(f"its switch does not answer: {done.stderr.strip()}")
    return done.stdout
