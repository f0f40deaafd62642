"""A scenario of the book, as its files say it. Steps are scenarios too: other states of the same cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.manifests import read
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.reachability import expected, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.policy.oracle import Connection
    from lace_sdn.policy.reachability import Expectation

BOOK = Path(__file__).parents[2] / "flows"


@dataclass(frozen=True)
class Scenario:
    """``name`` is the folder below ``flows/``."""

    name: str

    @property
    def folder(self) -> Path:
        return BOOK / self.name

    @property
    def cluster(self) -> Path:
        return self.folder / "cluster.yaml"

    @cached_property
    def built(self) -> Built:
        return build(read(self.cluster), Ledger())

    @cached_property
    def expected(self) -> Mapping[Connection, Expectation]:
        """What ``reachability.txt`` says, deny for what it leaves out."""
        path = self.folder / "reachability.txt"
        return expected(self.built.state, parse(path.read_text(), str(path)))

    @property
    def goldens(self) -> dict[str, str]:
        """File name -> text."""
        kinds = ("*.flows", "*.meters", "*.groups")
        files = [path for kind in kinds for path in self.folder.glob(kind)]
        return {path.name: path.read_text() for path in files}

    @property
    def conditions(self) -> list[str]:
        """``KIND NAME TYPE STATUS REASON`` of every bad condition that the scenario is about."""
        path = self.folder / "conditions.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return sorted(line for line in lines if line and not line.startswith("#"))

    def __str__(self) -> str:
        return self.name


def scenarios() -> list[Scenario]:
    """All of the book, in order: a scenario before its steps."""
    return [Scenario(str(path.parent.relative_to(BOOK))) for path in sorted(BOOK.rglob("cluster.yaml"))]
