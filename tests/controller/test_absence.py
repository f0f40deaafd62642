"""What cannot be read opens nothing: the last good objects outlive the process, and an unreadable file is not a removed one."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from lace_sdn.controller.status import describe
from lace_sdn.controller.world import WorldReader
from lace_sdn.model.cluster import NO_DOUBT

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.controller.world import World

INTERNET = """
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {name: internet}
spec: {type: external, externalPrefixes: [0.0.0.0/0]}
"""
CORP = """
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {name: "corp"}
spec: {type: external, externalPrefixes: [10.0.0.0/8]}
"""
WITHOUT_QUOTE = CORP.replace('"corp"', '"corp')
PODS = """
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: lace-cni.io/v1alpha1
kind: Network
metadata: {name: shop}
spec: {type: l3, ipv4Subnet: {prefix: 10.7.0.0/16}}
---
apiVersion: lace-cni.io/v1alpha1
kind: NetworkBindingPolicy
metadata: {name: all}
spec: {network: shop}
---
apiVersion: lace-cni.io/v1alpha1
kind: NetworkRoutingPolicy
metadata: {name: out}
spec: {srcSelector: {name: shop}, destSelector: {name: internet}}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop}
spec: {nodeName: node-1}
"""
INTO_CORP = """
apiVersion: lace-cni.io/v1alpha1
kind: NetworkRoutingPolicy
metadata: {name: to-corp}
spec: {srcSelector: {name: shop}, destSelector: {name: corp}}
"""
IN_CORP = ip_address("10.1.2.3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pods that may call the internet, and not the company inside it."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    for name, text in (("internet", INTERNET), ("corp", CORP), ("pods", PODS)):
        (folder / f"{name}.yaml").write_text(text)
    return folder


def started(folder: Path) -> WorldReader:
    """A controller's reader as it starts; another one after a restart."""
    return WorldReader(folder, folder.parent / "state")


def owner(world: World) -> str:
    return world.cluster.outside.network_of(IN_CORP)


def test_a_network_that_became_unreadable_stays_over_a_restart(folder: Path) -> None:
    """Otherwise its addresses were the internet's, which the pods may call."""
    assert owner(started(folder).read()) == "corp"
    (folder / "corp.yaml").write_text(WITHOUT_QUOTE)
    again = started(folder).read()
    assert owner(again) == "corp"
    assert [each.consequence for each in again.built.problems] == [
        "the last good state of its objects stays in force"
    ]
    assert owner(started(folder).read()) == "corp"


def test_a_network_that_was_removed_while_nobody_ran_is_removed(folder: Path) -> None:
    started(folder).read()
    (folder / "corp.yaml").unlink()
    assert owner(started(folder).read()) == "internet"


def test_a_folder_that_is_not_there_after_a_restart_removes_nothing(folder: Path) -> None:
    """Not mounted yet, or empty: its objects stay."""
    before = started(folder).read()
    folder.rename(folder.parent / "elsewhere")
    for _ in range(2):
        now = started(folder).read()
        assert replace(now.built.state, doubt=NO_DOUBT) == before.built.state
        assert now.cluster.relations == before.cluster.relations
        folder.mkdir(exist_ok=True)


@pytest.mark.parametrize("text", ["", "{", '{"format": 0, "objects": []}', '{"format": 1, "objects": [{}]}'])
def test_damaged_last_good_objects_are_none(folder: Path, text: str) -> None:
    started(folder).read()
    (folder.parent / "state.last-good").write_text(text)
    assert owner(started(folder).read()) == "corp"


def test_last_good_objects_that_cannot_be_written_are_tried_again(folder: Path) -> None:
    """Meanwhile the former ones, which may be wider, are none."""
    reader = started(folder)
    reader.read()
    obstacle = folder.parent / f".state.last-good.{os.getpid()}"
    obstacle.mkdir()
    (folder / "more.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n")
    assert "last good objects cannot be written" in reader.read().pending
    assert not (folder.parent / "state.last-good").exists()
    obstacle.rmdir()
    reader.read()
    (folder / "corp.yaml").write_text(WITHOUT_QUOTE)
    assert owner(started(folder).read()) == "corp"


def test_nothing_is_known_of_a_folder_that_was_never_there(folder: Path) -> None:
    """Nodes keep what is installed."""
    folder.rename(folder.parent / "elsewhere")
    with pytest.raises(OSError, match="nodes keep what is installed"):
        started(folder).read()


def out(world: World) -> bool:
    return world.cluster.relations.is_related("shop", "internet")


def test_without_a_last_good_state_what_a_file_could_forbid_stays_shut(folder: Path) -> None:
    """And is said; as soon as the file can be read it is open."""
    (folder / "corp.yaml").write_text(WITHOUT_QUOTE)
    reader = started(folder)
    world = reader.read()
    assert not out(world)
    assert "access to and from external Networks" in describe(world, ())["held"]
    (folder / "corp.yaml").write_text(CORP)
    assert out(reader.read())


def test_what_was_open_stays_open_and_what_is_new_waits(folder: Path) -> None:
    """Over restarts too: a new file that cannot be read takes nothing from anybody."""
    started(folder).read()
    (folder / "lab.yaml").write_text(WITHOUT_QUOTE)
    (folder / "more.yaml").write_text(INTO_CORP)
    for reader in (started(folder), started(folder)):
        world = reader.read()
        assert out(world)
        assert not world.cluster.relations.is_related("shop", "corp")
    (folder / "lab.yaml").unlink()
    assert started(folder).read().cluster.relations.is_related("shop", "corp")


def test_a_file_without_the_word_holds_nothing_up(folder: Path) -> None:
    """A tenant's Pods cannot forbid anything to others."""
    (folder / "tenant.yaml").write_text("kind: Deployment\nmetadata: {name: [[[[\n")
    (folder / "more.yaml").write_text(INTO_CORP)
    world = started(folder).read()
    assert world.built.held == ""
    assert out(world)


def test_an_object_that_moved_to_a_file_that_cannot_be_read_stays(folder: Path) -> None:
    started(folder).read()
    (folder / "corp.yaml").rename(folder / "corporation.yaml")
    (folder / "corporation.yaml").write_text(WITHOUT_QUOTE)
    assert owner(started(folder).read()) == "corp"


def test_an_invalid_network_may_be_any(folder: Path) -> None:
    (folder / "corp.yaml").write_text(CORP.replace("10.0.0.0/8", "10.0.0.0/88"))
    assert not out(started(folder).read())
