"""A fake API server, and clients of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "apiserver"))

from apiserver import ApiServer

from lace_sdn.kube.api.client import Api

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as its:
        yield its


@pytest.fixture
def api(server: ApiServer, tmp_path: Path) -> Api:
    return Api.connect(server.kubeconfig(tmp_path))
