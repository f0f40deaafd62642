"""``deploy/install-cni.sh`` in folders of one's own: what the init container does on a node."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/install-cni.sh"
PLUGIN = ROOT / "lace_sdn/cni.py"
CONFLIST = ROOT / "deploy/05-lace-sdn.conflist"


@dataclass(frozen=True)
class Node:
    folder: Path

    @property
    def plugin(self) -> Path:
        return self.folder / "bin/lace-sdn-cni"

    @property
    def conflist(self) -> Path:
        return self.folder / "net.d" / CONFLIST.name

    def install(self, plugin: Path = PLUGIN, *, path: str = "") -> str:
        words = [SCRIPT, plugin, CONFLIST, self.folder / "bin", self.folder / "net.d"]
        environment = {**os.environ, "PATH": f"{path}{os.environ['PATH']}"}
        return subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_plugin_and_configuration_are_put_where_runtimes_look(node: Node) -> None:
    node.install()
    assert node.plugin.read_bytes() == PLUGIN.read_bytes()
    assert node.conflist.read_bytes() == CONFLIST.read_bytes()
    assert (node.plugin.stat().st_mode & 0o777, node.conflist.stat().st_mode & 0o777) == (0o755, 0o644)


def test_a_second_time_changes_nothing(node: Node) -> None:
    node.install()
    before = [path.stat().st_ino for path in (node.plugin, node.conflist)]
    assert node.install().count("as it should be") == 2
    assert [path.stat().st_ino for path in (node.plugin, node.conflist)] == before


def test_files_appear_whole_and_the_configuration_last(node: Node) -> None:
    log = node.folder / "moved"
    (node.folder / "shims").mkdir()
    shim = node.folder / "shims/mv"
    shim.write_text(f'#!/bin/sh\necho "$2 $(wc -c <"$1")" >>{log}\nexec /bin/mv "$@"\n')
    shim.chmod(0o755)
    node.install(path=f"{node.folder}/shims:")
    assert log.read_text().splitlines() == [
        f"{node.plugin} {PLUGIN.stat().st_size}",
        f"{node.conflist} {CONFLIST.stat().st_size}",
    ]


def test_a_new_version_replaces_the_old_one_which_goes_on_for_who_runs_it(node: Node, tmp_path: Path) -> None:
    node.install()
    newer = tmp_path / "newer.py"
    newer.write_text(PLUGIN.read_text() + "# newer\n")
    with node.plugin.open("rb") as running:
        node.install(newer)
        assert running.read() == PLUGIN.read_bytes()
    assert node.plugin.read_bytes() == newer.read_bytes()


def test_what_a_killed_one_left_is_removed(node: Node) -> None:
    node.install()
    left = node.folder / "net.d/.lace-sdn.abc123"
    left.touch()
    node.install()
    assert not left.exists()


def test_other_plugins_and_configurations_are_left_alone(node: Node) -> None:
    (node.folder / "net.d").mkdir()
    other = node.folder / "net.d/10-other.conflist"
    other.write_text("{}")
    node.install()
    assert other.read_text() == "{}"


def test_runtimes_take_it_before_others() -> None:
    """They take the first by name; other products begin with 05 at the earliest, and 10 mostly."""
    assert (
        min([CONFLIST.name, "10-flannel.conflist", "10-calico.conflist", "87-podman-bridge.conflist"])
        == CONFLIST.name
    )


def test_the_installed_plugin_speaks_the_versions_of_the_configuration(node: Node) -> None:
    """``cniVersion`` is for runtimes of before 1.1, which do not know ``cniVersions`` (CNI specification 1.1.0, "Configuration format")."""
    node.install()
    config = json.loads(CONFLIST.read_text())
    plugin = {**config["plugins"][0], "cniVersion": config["cniVersion"], "name": config["name"]}
    said = subprocess.run(
        [node.plugin],
        input=json.dumps(plugin),
        env={"CNI_COMMAND": "VERSION"},
        capture_output=True,
        check=True,
        text=True,
    )
    supported = json.loads(said.stdout)["supportedVersions"]
    assert {config["cniVersion"], *config["cniVersions"]} <= set(supported)
    assert max(config["cniVersions"]) == "1.1.0"


def test_wrong_arguments_are_refused() -> None:
    assert subprocess.run([SCRIPT, "one"], capture_output=True, check=False).returncode == 2
