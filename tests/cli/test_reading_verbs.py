"""The verbs that read manifests: what an operator sees, and the exit status that a script sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lace_sdn.cli import VERBS, main
from lace_sdn.lab import names

if TYPE_CHECKING:
    from click.testing import Result

BOOK = Path(__file__).parents[2] / "flows"
PEERING = str(BOOK / "one-way-peering")
SERVICE_ONLY = str(BOOK / "service-only")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_help_names_every_verb() -> None:
    text = run("--help").output
    assert [verb for verb in VERBS if verb not in text] == []


def test_help_loads_no_verb() -> None:
    """The program starts fast, and the controller's patching of the standard library touches nobody else."""
    code = (
        "import sys; from lace_sdn.cli import main; main(['--help'], standalone_mode=False);"
        "print(sorted(name for name in sys.modules if name.startswith(('lace_sdn.', 'eventlet', 'os_ken', 'rich'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['lace_sdn.cli']"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert "Usage: main " + verb in result.output


def test_version_is_printed() -> None:
    assert run("--version").output.startswith("lace-sdn, version ")


def test_unknown_verb_is_refused() -> None:
    result = run("fly")
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.output


def test_compile_prints_the_golden_of_the_asked_node() -> None:
    goldens = {
        name: (BOOK / "one-way-peering" / name).read_text() for name in ("node2.flows", "node2.meters")
    }
    said = "".join(f"# {name}\n{text}\n" for name, text in goldens.items())
    assert run("compile", PEERING, "--node", "node2").output == said


def test_compile_names_the_nodes_there_are() -> None:
    result = run("compile", PEERING, "--node", "node9")
    assert result.exit_code == 1
    assert "there are: node1, node2" in result.output


def test_compile_writes_what_differs_and_removes_what_is_gone(tmp_path: Path) -> None:
    source = (BOOK / "one-way-peering" / "cluster.yaml").read_text()
    (tmp_path / "cluster.yaml").write_text(source)
    (tmp_path / "node9.flows").write_text("stale")
    result = run("compile", str(tmp_path), "--write")
    assert result.exit_code == 0
    assert {path.name for path in tmp_path.glob("*.flows")} == {"node1.flows", "node2.flows"}
    assert run("compile", str(tmp_path), "--write").output == ""


def test_compile_goes_on_without_a_bad_object_and_says_so(tmp_path: Path) -> None:
    source = (BOOK / "one-way-peering" / "cluster.yaml").read_text()
    (tmp_path / "cluster.yaml").write_text(source.replace("10.40.0.0/16", "10.40.0.0/33"))
    result = run("compile", str(tmp_path), "--node", "node1")
    assert result.exit_code == 1
    assert '"10.40.0.0/33"' in result.output
    assert "table 80 Output" in result.output


def test_matrix_shows_every_pod() -> None:
    result = run("matrix", PEERING)
    assert result.exit_code == 0
    assert [name for name in ("shop/web-0", "shop/web-1", "db/db-0") if name not in result.output] == []


def test_matrix_for_machines_gives_verdict_and_policy() -> None:
    rows = json.loads(run("matrix", PEERING, "--json").output)
    assert {
        "from": "shop/web-0",
        "to": "db/db-0",
        "probe": "tcp/5432",
        "family": 4,
        "allowed": True,
        "rejected": False,
        "backends": None,
        "policy": "shop-uses-db",
        "reason": "NetworkRoutingPolicy shop-uses-db relates shop to db",
    } in rows


def test_matrix_for_machines_names_who_answers_for_a_service() -> None:
    rows = json.loads(run("matrix", SERVICE_ONLY, "--json").output)
    found = [row for row in rows if (row["from"], row["to"]) == ("desk/pod-2", "service vault/leader")]
    assert {tuple(row["backends"]) for row in found} == {("vault/api-0",)}
    assert {row["policy"] for row in found} == {"desk-uses-services-of-vault"}


@pytest.mark.parametrize("name", ["service vault/api", "service/vault/api"])
def test_why_follows_a_connection_through_a_vip(name: str) -> None:
    result = run("why", "desk/pod-2", name, "tcp/443", "-f", SERVICE_ONLY)
    assert result.exit_code == 0
    assert "spread over vault/api-0, vault/api-1; shown is one of them" in result.output
    assert "25 EndpointDnat" in result.output


def test_why_says_that_the_pods_behind_a_vip_stay_closed() -> None:
    result = run("why", "desk/pod-2", "vault/api-0", "tcp/8443", "-f", SERVICE_ONLY)
    assert result.exit_code == 1
    assert "no policy relates desk to vault" in result.output


def test_why_says_that_a_port_is_refused_at_once() -> None:
    result = run("why", "desk/pod-2", "service/vault/api", "tcp/81", "-f", SERVICE_ONLY)
    assert result.exit_code == 1
    assert "refused at once" in result.output
    assert "has no port TCP 81" in result.output
    assert "goes to the controller" in result.output


def test_why_knows_services_by_name() -> None:
    result = run("why", "desk/pod-2", "service/vault/apy", "tcp/443", "-f", SERVICE_ONLY)
    assert result.exit_code == 2
    assert "did you mean 'vault/api'? there are: desk/pod, vault/api, vault/leader" in result.output


def test_why_names_the_policy_that_allows() -> None:
    result = run("why", "shop/web-1", "db/db-0", "tcp/5432", "-f", PEERING)
    assert result.exit_code == 0
    assert "allowed" in result.output
    assert "NetworkRoutingPolicy shop-uses-db relates shop to db" in result.output
    assert "arrives at db/db-0" in result.output


def test_why_says_where_a_denied_packet_stops() -> None:
    result = run("why", "db/db-0", "shop/web-0", "icmp", "-f", PEERING)
    assert result.exit_code == 1
    assert "no policy relates db to shop" in result.output
    assert "stops on node1 in table 30 DestinationNetwork: no flow matches" in result.output


def test_why_says_who_has_the_address_instead() -> None:
    conflict = str(BOOK / "overlapping-destinations-conflict")
    result = run("why", "client/pod", "junior/pod", "tcp/8080", "-f", conflict)
    assert result.exit_code == 1
    assert "arrives at senior/pod: for this source the address means that pod" in result.output


@pytest.mark.parametrize("verdict", ["denied", "allowed, but not every endpoint can be reached"])
def test_why_says_that_nodes_have_no_common_family(verdict: str, tmp_path: Path) -> None:
    """It is no fault: not for a pod there, nor for a Service with an endpoint there."""
    text = (BOOK / "nodeport-cluster" / "cluster.yaml").read_text()
    dropped = ("172.18.0.11", "fd00:172:18::12", "fd00:172:18::13")
    lines = [
        line
        for line in text.splitlines()
        if not any(f"address: {each}" in line.replace('"', "") for each in dropped)
    ]
    (tmp_path / "cluster.yaml").write_text("\n".join(lines))
    called = ("apps/api-2", "tcp/8080") if verdict == "denied" else ("service/apps/api", "tcp/80")
    result = run("why", "apps/api-1", *called, "-f", str(tmp_path))
    assert result.exit_code == 1
    assert verdict in result.output
    assert "nodes node1 and node2 have no address family in common" in result.output
    assert "please report it" not in result.output


def test_why_for_machines_lists_the_flows() -> None:
    answer = json.loads(run("why", "shop/web-1", "db/db-0", "tcp/5432", "-f", PEERING, "--json").output)
    assert answer["allowed"]
    assert answer["arrives_at"] == ["db/db-0"]
    assert {step["node"] for step in answer["request"]} == {"node1", "node2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shop/web-9", "db/db-0", "icmp"), "there are: db/db-0, shop/web-0, shop/web-1"),
        (("shop/web-0", "db/db-0", "gre/1"), "expected tcp/PORT, udp/PORT or icmp"),
        (("shop/web-9", "db/db-0", "icmp"), "did you mean 'shop/web-"),
        (("shop/web-0", "db/db-0", "tcp/８０"), "expected a port from 1 to 65535"),  # noqa: RUF001
        (("shop/web-0", "db/db-0", "tcp/" + 5000 * "1"), "expected a port from 1 to 65535"),
        (("shop/web-0", "db/db-0", "tcp/0"), "expected a port from 1 to 65535"),
        (("shop/web-0", "shop/web-0", "icmp"), "never leaves the pod"),
    ],
)
def test_why_says_what_was_wrong_with_the_question(arguments: tuple[str, ...], message: str) -> None:
    result = run("why", *arguments, "-f", PEERING)
    assert result.exit_code == 2
    assert message in result.output


def program(
    *arguments: str, output: int | IO[str] = subprocess.PIPE, **environment: str
) -> tuple[int, str, str]:
    """The verb in a process of its own: exit status, standard output and error."""
    code = "from lace_sdn.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("verb", ["matrix", "compile"])
def test_a_full_disk_is_one_line(verb: str) -> None:
    with Path("/dev/full").open("w") as full:
        status, _, said = program(verb, PEERING, output=full)
    assert (status, said) == (1, "Error: cannot write the output: No space left on device\n")


def test_matrix_has_ascii_marks_where_the_output_carries_no_others() -> None:
    status, shown, said = program("matrix", PEERING, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (status, said) == (0, "")
    assert (
        shown.splitlines()[-1]
        == "# everything  + some of it  . nothing  x refused at once  ! not as intended"
    )
    assert "●" in program("matrix", PEERING, PYTHONIOENCODING="utf-8")[1]


@pytest.mark.parametrize(("name", "said"), [("empty", "holds no manifests"), ("README.md", "is not YAML")])
def test_matrix_of_nothing_is_only_its_errors(tmp_path: Path, name: str, said: str) -> None:
    source = tmp_path / name
    if name == "empty":
        source.mkdir()
    else:
        source.write_text("a: b: c\n")
    result = run("matrix", str(source))
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


@pytest.mark.parametrize("verb", ["flows", "why"])
def test_examples_in_the_help_stand_on_lines_of_their_own(verb: str) -> None:
    text = run(verb, "--help").output
    assert "\\b" not in text
    assert [line for line in text.splitlines() if line.startswith(f"  lace-sdn {verb} ")]


LAB_VERBS = [("flows", "--node", "node1"), ("why", "shop/web-0", "db/db-0", "icmp")]


@pytest.mark.parametrize("option", ["--lab", "--name"])
@pytest.mark.parametrize("verb", LAB_VERBS, ids=lambda verb: verb[0])
def test_a_lab_is_named_as_the_lab_names_it(verb: tuple[str, ...], option: str) -> None:
    missing, odd = run(*verb, option, "nowhere"), run(*verb, option, "../../etc")
    assert (missing.exit_code, odd.exit_code) == (1, 1)
    assert 'there is no lab "nowhere"; `lace-sdn lab up' in missing.output
    assert 'lab name "../../etc": expected at most' in odd.output


def lab_of(root: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A lab called ``lab`` as far as its objects go."""
    (root / "lab/manifests").mkdir(parents=True)
    (root / "lab/manifests/cluster.yaml").write_text(text)
    monkeypatch.setattr(names, "RUN_ROOT", root)


def test_why_asks_the_lab_called_lab_by_default_and_says_whose_flows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab_of(tmp_path, monkeypatch, (Path(PEERING) / "cluster.yaml").read_text())
    result = run("why", "shop/web-1", "db/db-0", "tcp/5432")
    assert result.exit_code == 0
    assert "through the flows that are compiled from the lab's objects" in result.output


def test_why_of_a_pod_whose_node_is_gone_names_the_pods_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = (Path(PEERING) / "cluster.yaml").read_text().split("---\n")
    kept = [each for each in documents if not ("kind: Node\n" in each and "node2" in each)]
    assert len(kept) == len(documents) - 1
    lab_of(tmp_path, monkeypatch, "---\n".join(kept))
    result = run("why", "shop/web-1", "db/db-0", "tcp/5432")
    assert result.exit_code == 2
    assert "no pod 'shop/web-1' with a network" in result.output


def test_why_knows_pods_without_a_common_address_family() -> None:
    result = run("why", "four/pod", "six/pod", "icmp", "-f", str(BOOK / "dual-stack"))
    assert result.exit_code == 1
    assert "no IP addresses in common" in result.output


SCTP = ("why", "broad/client", "service/broad/both", "sctp/3868")


def test_why_allows_sctp_to_a_vip_where_the_datapath_may_track_it() -> None:
    result = run(*SCTP, "-f", str(BOOK / "dual-stack-service"))
    assert (result.exit_code, "over IPv4: allowed" in result.output) == (0, True)


def test_why_denies_sctp_to_a_vip_in_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab's datapath is userspace, which has no such port; other ports are as they were."""
    lab_of(tmp_path, monkeypatch, (BOOK / "dual-stack-service/cluster.yaml").read_text())
    result = run(*SCTP)
    assert result.exit_code == 1
    assert "over IPv4: denied" in result.output
    assert "port SCTP 3868 of Service broad/both is not installed: " in result.output
    assert "disagree" not in result.output
    assert run(*SCTP[:3], "tcp/80").exit_code == 0


def test_the_status_of_a_lab_says_what_its_datapath_cannot_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab_of(tmp_path, monkeypatch, (BOOK / "dual-stack-service/cluster.yaml").read_text())
    said = "Service broad/both: UnsupportedProtocol: SCTP 3868 is not served"
    assert said in " ".join(run("lab", "status").output.split())
    (condition,) = json.loads(run("lab", "status", "--json").stdout)["conditions"]
    assert condition.startswith(said)
