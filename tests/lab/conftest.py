"""A lab of one's own for tests that need real switches, always removed."""

from __future__ import annotations

import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.lab import cluster, desired, reach
from lace_sdn.lab.names import Lab
from lace_sdn.policy.reachability import intended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.kube.build import Built
    from lace_sdn.model.cluster import ClusterState

    Bring = Callable[[Lab, Path], Built]
    BringWith = Callable[[Lab, Path, Callable[[ClusterState], ClusterState]], Built]
    Differences = Callable[[Lab, Built], dict[str, str]]

BOOK = Path(__file__).parents[2] / "flows"


def _new_lab() -> Lab:
    return Lab(f"test-{secrets.token_hex(4)}")


@pytest.fixture(scope="session")
def standing() -> Iterator[Lab]:
    """A lab that tests share: each brings it to its own objects first, which is quick, and leaves nothing else behind."""
    its = _new_lab()
    yield its
    cluster.down(its)


@pytest.fixture
def make_lab() -> Iterator[Callable[[], Lab]]:
    """A factory of labs with names that nothing else has; what was made of them is removed at the end."""
    made: list[Lab] = []

    def make() -> Lab:
        made.append(_new_lab())
        return made[-1]

    yield make
    for each in made:
        cluster.down(each)


@pytest.fixture
def lab(make_lab: Callable[[], Lab]) -> Lab:
    return make_lab()


@pytest.fixture
def bring() -> Bring:
    """``lab up`` (or ``apply``) from a scenario of the book, or any folder."""
    return lambda its, source: cluster.up(its, source, lambda _step: None)


@pytest.fixture
def bring_with(monkeypatch: pytest.MonkeyPatch) -> BringWith:
    """As ``bring``, with a change to what the objects say, such as another host outside."""
    read = desired.next_state

    def up(its: Lab, source: Path, change: Callable[[ClusterState], ClusterState]) -> Built:
        def changed(its: Lab, source: Path) -> Built:
            built = read(its, source)
            return replace(built, state=change(built.state))

        with monkeypatch.context() as patched:
            patched.setattr(desired, "next_state", changed)
            return cluster.up(its, source, lambda _step: None)

    return up


@pytest.fixture
def differences() -> Differences:
    """Everything that real packets did otherwise than intended, in words; empty when all is right."""

    def measure(its: Lab, built: Built) -> dict[str, str]:
        meant = intended(built.state)
        findings = reach.measure(its, built.state, meant)
        return {
            str(connection): f"{finding.found} {finding.detail}"
            for connection, finding in findings.items()
            if not reach.is_as_intended(meant[connection], finding)
        }

    return measure


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``lace-sdn ...`` as an operator runs it."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from lace_sdn.cli import main; main()", *arguments]
        return subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)

    return run
