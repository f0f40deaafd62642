"""What the interfaces of a bridge mean for its endpoints, and where a switch may connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lace_sdn.switch.ovsdb_plan import datapath_id, port_map
from lace_sdn.switch.permitted import permitted_targets
from lace_sdn.switch.pod_interface import PodInterface

if TYPE_CHECKING:
    from pathlib import Path


def interface(name: str, endpoint: str, ofport: int | None, error: str = "") -> PodInterface:
    return PodInterface(name, endpoint, ofport, error, {"iface-id": endpoint})


def test_only_ports_of_the_pods_range_count() -> None:
    """Neither what has no number yet, nor what failed, nor what lies beyond 28671."""
    found = port_map(
        (
            interface("a", "x/a", 1),
            interface("b", "x/b", None),
            interface("c", "x/c", -1, "could not open network device c"),
            interface("d", "x/d", 28672),
        )
    )
    assert found.ports == {"x/a": 1}
    assert [problem.split(":")[0] for problem in found.problems] == [
        "interface c of x/c",
        "interface d of x/d",
    ]


def test_of_two_interfaces_of_one_pod_the_first_counts() -> None:
    """And the other is a problem."""
    found = port_map((interface("a", "x/a", 1), interface("b", "x/a", 2)))
    assert found.ports == {"x/a": 1}
    assert "interface b: x/a has another interface" in found.problems[0]


def test_a_datapath_id_is_that_of_the_name() -> None:
    """Sixteen hex digits, another for another name."""
    assert datapath_id("node1") == datapath_id("node1")
    assert len({datapath_id(f"node{number}") for number in range(100)}) == 100
    assert len(f"{int(datapath_id('node1'), 16):016x}") == 16


def test_a_socket_outside_the_run_directory_is_reached_by_links_in_it(tmp_path: Path) -> None:
    """ovs-vswitchd would refuse to connect to it."""
    run, socket = tmp_path / "run", tmp_path / "openflow.sock"
    run.mkdir()
    targets = permitted_targets(f"unix:{socket}", f"unix:{run}/db.sock")
    assert targets == (f"unix:{run}/lace-sdn.sock", f"unix:{run}/lace-sdn-again.sock")
    assert (run / "lace-sdn.sock").readlink() == socket
    moved = tmp_path / "moved.sock"
    assert permitted_targets(f"unix:{moved}", f"unix:{run}/db.sock") == targets
    assert (run / "lace-sdn.sock").readlink() == moved


def test_a_tcp_controller_is_reached_as_it_is() -> None:
    """Nothing stands in its way."""
    assert permitted_targets("tcp:192.0.2.1:6653", "unix:/run/x/db.sock") == ("tcp:192.0.2.1:6653",)
