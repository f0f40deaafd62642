"""What ``docs/kubernetes.md`` names is in the code: metrics, reasons, short names."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from lace_sdn.controller.limited import LimitWatch
from lace_sdn.controller.metrics import NodeMetrics
from lace_sdn.kube.schemas import custom_resource_definitions
from lace_sdn.operator.metrics import Metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/kubernetes.md").read_text()
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "lace_sdn").rglob("*.py")))


def names(registry: CollectorRegistry) -> set[str]:
    """As they are scraped; a histogram by its own name."""
    return {f"{each.name}_total" if each.type == "counter" else each.name for each in registry.collect()}


def test_every_metric_is_told_of_and_no_other() -> None:
    world = SimpleNamespace(reflectors=())
    known = names(Metrics().registry) | names(NodeMetrics(world, LimitWatch).registry)  # type: ignore[arg-type]
    assert set(re.findall(r"`(lace_\w+)[`{]", TEXT)) == known


@pytest.mark.parametrize("reason", sorted(set(re.findall(r"`([A-Z][A-Za-z]+[a-z])`", TEXT))))
def test_a_condition_or_reason_is_one_of_the_code(reason: str) -> None:
    kinds = {crd["spec"]["names"]["kind"] for crd in custom_resource_definitions()}
    assert f'"{reason}"' in SOURCE or reason in kinds


def test_short_names_are_those_of_the_definitions() -> None:
    told = dict(re.findall(r"(\w+) \(`(\w+)`\)", TEXT))
    assert told == {
        crd["spec"]["names"]["kind"]: crd["spec"]["names"]["shortNames"][0]
        for crd in custom_resource_definitions()
    }
