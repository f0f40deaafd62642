"""``lace-sdn check`` says everything that is wrong, and its exit status says whether anything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lace_sdn.cli import main

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "manifests/examples/quickstart.yaml"
BAD = ROOT / "tests/kube/bad"
SCENARIOS = sorted(path.name for path in (ROOT / "flows").iterdir() if (path / "cluster.yaml").exists())


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def as_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check(str(path), "--json").stdout)
    return found


NOT_ALL_RIGHT = ("overlapping-destinations-conflict", "affinity")


def test_what_is_kept_only_in_part_is_no_error_and_is_said() -> None:
    result = check(str(ROOT / "flows/affinity"))
    assert result.exit_code == 0
    assert "nothing is wrong, 1 not as asked" in " ".join(result.stdout.split())


def test_the_quickstart_is_all_right() -> None:
    result = check(str(QUICKSTART))
    assert result.exit_code == 0
    assert "3 nodes, 7 networks, 12 policies, 11 pods, 2 services: nothing is wrong" in " ".join(
        result.stdout.split()
    )


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in NOT_ALL_RIGHT])
def test_the_scenarios_of_the_book_are_all_right(scenario: str) -> None:
    found = as_json(ROOT / "flows" / scenario / "cluster.yaml")
    assert (found["problems"], found["conditions"], found["ok"]) == ([], [], True)


def test_every_error_is_said_and_the_exit_status_is_1() -> None:
    result = check(str(BAD / "pod-addresses"))
    assert result.exit_code == 1
    assert [line.split(": ")[1] for line in result.stdout.splitlines() if line.startswith("error")] == [
        f'Pod "shop/{name}"' for name in "acde"
    ]


def test_machines_get_the_parts_of_a_problem() -> None:
    found = as_json(BAD / "prefix-no-cidr")
    assert not found["ok"]
    assert found["problems"] == [
        {
            "file": "cluster.yaml",
            "line": 8,
            "object": 'Network "blue"',
            "field": "spec.ipv4Subnet.prefix",
            "found": '"10.0.0.0/33" is not an IPv4 CIDR',
            "expected": 'expected one such as "10.0.0.0/16"',
            "consequence": "the object is left out",
            "message": (BAD / "prefix-no-cidr/said.txt").read_text().strip(),
        }
    ]


def test_conflicts_between_policies_are_conditions() -> None:
    result = check(str(ROOT / "flows/overlapping-destinations-conflict"))
    assert result.exit_code == 1
    assert "OverlappingPrefixes" in result.stdout


def test_text_of_manifests_is_never_taken_for_markup(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("kind: '[red]Nothing'\n")
    assert 'kind "[red]Nothing" is unknown' in check(str(tmp_path)).stdout


def test_a_device_is_no_manifest() -> None:
    result = check("/dev/null")
    assert (result.exit_code, "nothing is wrong" in result.stdout) == (1, False)
    assert "/dev/null: is no regular file; expected a folder" in result.stdout


def test_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = check(str(QUICKSTART)).stdout
    assert "\u2026" not in shown
    assert all(len(line) <= 60 for line in shown.splitlines())
