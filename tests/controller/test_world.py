"""The world as read from a folder: its name is that of the folder's contents, and what cannot be served is said."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.controller import world as world_module
from lace_sdn.controller.status import describe
from lace_sdn.controller.world import WorldReader
from lace_sdn.kube.generation import generation

if TYPE_CHECKING:
    from collections.abc import Callable

BOOK = Path(__file__).parents[2] / "flows"
SCTP_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: calls, namespace: feed}
spec:
  clusterIP: 10.96.157.9
  clusterIPs: [10.96.157.9]
  selector: {serves: ticks}
  ports: [{port: 2905, protocol: SCTP}]
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a cluster whose files have settled."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    shutil.copy(BOOK / "udp-endpoint-removed" / "cluster.yaml", folder)
    settle(folder / "cluster.yaml")
    return folder


@pytest.fixture
def make_reader(source: Path, tmp_path: Path) -> Callable[..., WorldReader]:
    def make(*, is_userspace: bool = False) -> WorldReader:
        return WorldReader(source, tmp_path / "ledger", is_userspace=is_userspace)

    return make


def settle(file: Path) -> None:
    """As if it had been written ten seconds ago."""
    before = time.time() - 10
    os.utime(file, (before, before))


def test_a_folder_that_did_not_change_is_no_news(
    make_reader: Callable[..., WorldReader], source: Path
) -> None:
    reader = make_reader()
    assert reader.has_news()
    assert reader.read().generation == generation(source)
    assert not reader.has_news()


def test_a_change_while_the_folder_is_read_is_news(
    make_reader: Callable[..., WorldReader], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its contents were read already, only not its name; nobody would wait for that name in vain."""
    reader = make_reader()
    named = generation(source)

    def name_and_change(path: Path) -> str:
        monkeypatch.setattr(world_module, "generation", generation)
        (path / "more.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n")
        settle(path / "more.yaml")
        return named

    monkeypatch.setattr(world_module, "generation", name_and_change)
    assert reader.read().generation == named
    assert reader.has_news()
    assert reader.read().generation == generation(source) != named
    assert not reader.has_news()


@pytest.mark.parametrize(("is_userspace", "reasons"), [(True, ["UnsupportedProtocol"]), (False, [])])
def test_a_protocol_that_the_datapath_cannot_serve_is_said(
    make_reader: Callable[..., WorldReader], source: Path, is_userspace: bool, reasons: list[str]
) -> None:
    """By a condition of the Service in the status."""
    (source / "sctp.yaml").write_text(SCTP_SERVICE)
    conditions = describe(make_reader(is_userspace=is_userspace).read(), ())["conditions"]
    assert [each["reason"] for each in conditions if not each["status"]] == reasons
