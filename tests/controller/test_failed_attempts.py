"""An attempt that failed is no attempt: nothing counts as seen before it is in force, and what can be in force waits for nothing."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lace_sdn.controller import world as world_module
from lace_sdn.controller.world import WorldReader
from lace_sdn.kube import manifests as manifests_module
from lace_sdn.kube.generation import generation
from lace_sdn.kube.ledger_file import write_ledger

if TYPE_CHECKING:
    from lace_sdn.controller.world import World

QUICKSTART = Path(__file__).parents[2] / "flows" / "one-way-peering" / "cluster.yaml"
POLICY = """
apiVersion: lace-cni.io/v1alpha1
kind: NetworkRoutingPolicy
metadata: {name: backwards}
spec:
  srcSelector: {name: NETWORK_B}
  destSelector: {name: NETWORK_A}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: NAMESPACE, labels: LABELS}
spec: {nodeName: NODE}
"""


class Site:
    """A folder with a cluster and one policy more, read once by a controller."""

    def __init__(self, folder: Path) -> None:
        self.state_file = folder / "ledger"
        self.source = folder / "manifests"
        self.source.mkdir()
        shutil.copy(QUICKSTART, self.source / "cluster.yaml")
        self.reader = WorldReader(self.source, self.state_file)
        state = self.reader.read().built.state
        one = state.endpoints[0]
        self.relation = next(
            (source, destination)
            for source, its in self._reach(self.reader.read()).items()
            for destination in its
        )
        back = POLICY.replace("NETWORK_B", self.relation[1]).replace("NETWORK_A", self.relation[0])
        self.policy = self.source / "policy.yaml"
        self.policy.write_text(back)
        labels = "{" + ", ".join(f"{name}: {value}" for name, value in one.labels) + "}"
        self._pod = (
            POD.replace("NAMESPACE", one.namespace).replace("NODE", one.node).replace("LABELS", labels)
        )
        self.late = f"{one.namespace}/late"
        self.settle()
        assert self.has_policy(self.reader.read())

    @staticmethod
    def _reach(world: World) -> Any:
        return world.cluster.relations.reach

    def has_policy(self, world: World) -> bool:
        return self.relation[0] in self._reach(world).get(self.relation[1], {})

    def has_late_pod(self, world: World) -> bool:
        return any(each.id == self.late for each in world.built.state.endpoints)

    def change(self) -> None:
        """The policy goes and a pod comes."""
        self.policy.unlink()
        (self.source / "pod.yaml").write_text(self._pod)
        self.settle()

    def settle(self) -> None:
        """As if all had been written ten seconds ago."""
        before = time.time() - 10
        for file in self.source.iterdir():
            os.utime(file, (before, before))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_policy_that_goes_does_not_wait_for_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod that comes with it does, and says so; then all is in force without another change."""
    site.change()
    monkeypatch.setattr(world_module, "write_ledger", full)
    world = site.reader.read()
    assert not site.has_policy(world)
    assert not site.has_late_pod(world)
    assert "No space left" in world.pending
    assert world.generation != generation(site.source)
    assert any(each.reason == "NotRecorded" and each.name == site.late for each in world.built.conditions)
    assert any("No space left" in str(each) for each in world.built.problems)
    monkeypatch.setattr(world_module, "write_ledger", write_ledger)
    world = site.reader.read()
    assert site.has_late_pod(world)
    assert (world.pending, world.generation) == ("", generation(site.source))


def test_a_policy_that_goes_does_not_wait_for_a_damaged_state_file(site: Site) -> None:
    """Which stays as it is, for whoever restores it."""
    good = site.state_file.read_text()
    site.state_file.write_bytes(b"\xff half")
    site.change()
    world = site.reader.read()
    assert (site.has_policy(world), site.has_late_pod(world)) == (False, False)
    assert site.state_file.read_bytes() == b"\xff half"
    site.state_file.write_text(good)
    world = site.reader.read()
    assert site.has_late_pod(world)
    assert world.pending == ""


def test_a_state_file_that_is_away_for_a_moment_numbers_nobody_anew(site: Site) -> None:
    before = site.state_file.read_text()
    site.state_file.unlink()
    site.reader.read()
    assert site.state_file.read_text() == before


def test_a_damaged_state_file_at_the_start_is_an_error_however_it_is_damaged(site: Site) -> None:
    site.state_file.write_bytes(b"\xff half")
    with pytest.raises(OSError, match="restore the file"):
        WorldReader(site.source, site.state_file).read()


def test_a_file_that_could_not_be_read_once_is_read_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last good state stays meanwhile, and the world says that it is not all."""
    site.policy.write_text("# nothing any more\n")
    site.settle()
    right = manifests_module.content_of
    # The fault is put into this process, so files are read by it.
    site.reader._source.readings = None

    def wrong(file: Path) -> bytes:
        if file.name == "policy.yaml":
            raise OSError(errno.EIO, "Input/output error")
        return right(file)

    monkeypatch.setattr(manifests_module, "content_of", wrong)
    world = site.reader.read()
    assert site.has_policy(world)
    assert "policy.yaml" in world.pending
    monkeypatch.setattr(manifests_module, "content_of", right)
    world = site.reader.read()
    assert not site.has_policy(world)
    assert world.pending == ""


def test_a_file_that_cannot_be_looked_at_is_not_a_removed_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Path.stat

    def wrong(self: Path, **options: Any) -> os.stat_result:
        if self.name == "cluster.yaml":
            raise OSError(errno.EIO, "Input/output error")
        return right(self, **options)

    before = site.reader.read().built.state
    monkeypatch.setattr(Path, "stat", wrong)
    assert site.reader.has_news()
    assert site.reader.read().built.state == before
    monkeypatch.undo()
    assert site.reader.has_news()
