"""The whole path: API server, operator, a controller a node, pods attached by the CNI plugin, real switches, real packets."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "book"))
sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))
sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))

from api_process import ApiProcess
from deployment import allowed

from lace_sdn.lab import cluster
from lace_sdn.lab.names import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.kube.build import Built

    Bring = Callable[[Path], Built]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    its = ApiProcess(tmp_path_factory.mktemp("api"))
    its.start()
    yield its
    ours = [each for each in its.verbs() if each[0] in ("lace-sdn-operator", "lace-sdn-controller")]
    its.close()
    assert [each for each in ours if not allowed(*each)] == [], "the roles in manifests/ do not allow it"


@pytest.fixture(scope="module")
def lab(server: ApiProcess) -> Iterator[Lab]:
    its = Lab(f"path-{secrets.token_hex(4)}")
    yield its
    server.faults()
    cluster.down(its)


@pytest.fixture
def bring(lab: Lab, server: ApiProcess) -> Bring:
    """``lab up --kubernetes`` from a scenario of the book, or a file."""
    return lambda source: cluster.up(lab, source, lambda _step: None, server.kubeconfig)
