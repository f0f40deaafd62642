"""The agent over time: what it leaves alone, what it brings back, how it starts and ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from host_site import (
    COMMAND,
    GATEWAY_INTERFACE,
    NODE,
    NODE_PORT,
    OUTWARD,
    PORT,
    PROGRAM,
    WORLD,
    end,
    exchange,
    speak,
    until,
)

from lace_sdn.lab import netns
from lace_sdn.pipeline.host import HostProgram

if TYPE_CHECKING:
    from pathlib import Path

    from host_site import Site

pytestmark = pytest.mark.host

OTHER = HostProgram(
    PROGRAM.addresses, (ip_network("10.21.0.0/24"), ip_network("2001:db8:21::/64")), PROGRAM.node_ports[:1]
)
EMPTY_PLAN = '{"host": {"addresses": [], "routes": [], "nodePorts": []}, "digest": "d"}'
FOREIGN = (
    "nft add table inet theirs",
    "nft add chain inet theirs forward { type filter hook forward priority 10 ; }",
    "nft add rule inet theirs forward counter accept",
    "nft add table ip lace-sdn",
    "ip rule add pref 1000 from 203.0.113.1 lookup 99",
    "ip -6 rule add pref 1001 from 2001:db8:99::1 lookup 99",
    "ip route add 203.0.113.0/24 via 192.0.2.9 table 99",
    "ip route add 198.51.100.0/24 via 192.0.2.9 proto static",
    "ip route add 198.51.101.0/24 via 192.0.2.9 table 7411",
    "ip -6 route add 2001:db8:98::/64 via 2001:db8:2::9 proto static",
    "ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 nud permanent dev up0",
)


class Watch:
    """What the kernel announces about a node's configuration, between two marks."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._logs = (site.plan.with_name("ip.log"), site.plan.with_name("nft.log"))
        ip_words = "ip monitor link address route rule neigh netconf"
        self._processes = [
            site.start(site.node, "sh", "-c", f"exec {words} >{log}")
            for words, log in zip((ip_words, "nft monitor"), self._logs, strict=True)
        ]
        self._marks = 0
        self._mark()

    def _mark(self) -> None:
        """Do something that both must announce until they do."""
        self._marks += 1
        name = f"mark{self._marks}"

        def is_seen() -> bool:
            route = f"unreachable 203.0.113.{self._marks} table 98"
            self._site.on_node(f"ip route add {route}")
            self._site.on_node(f"ip route del {route}")
            self._site.on_node(f"nft add table inet {name}; delete table inet {name}")
            ip_log, nft_log = (log.read_text() for log in self._logs)
            return f"203.0.113.{self._marks} " in ip_log and name in nft_log

        until(is_seen, "the monitors announce what is done")

    def announced(self) -> list[str]:
        """All announcements so far that are not marks; neighbours come and go by themselves, but for the gateways."""
        self._mark()
        lines = [line for log in self._logs for line in log.read_text().splitlines()]
        ours = [line for line in lines if "table 98" not in line and "mark" not in line and line.strip()]
        return [
            line
            for line in ours
            if "PERMANENT" in line or not re.search(r"REACHABLE|STALE|DELAY|PROBE|NOARP", line)
            if not line.startswith("# new generation")
        ]


def kept_by_the_kernel(line: str) -> bool:
    """Of an interface that is up, with its own link-local address, after all of ours is gone."""
    return "lace-gw0" in line or "fe80::800:ff:fe00:2" in line or "preferred_lft forever" in line


def others(picture: list[str]) -> list[str]:
    return [line for line in picture if not kept_by_the_kernel(line)]


def test_a_second_start_changes_nothing(site: Site) -> None:
    """Killed, and started again: not one write to the kernel."""
    site.write_plan(PROGRAM, "first")
    agent = site.start_agent()
    site.await_digest("first")
    before = site.picture()
    end(agent, signal.SIGKILL)
    site.status.unlink()
    watch = Watch(site)
    again = site.start_agent("-v")
    site.await_digest("first")
    assert watch.announced() == []
    assert site.picture() == before
    assert end(again, signal.SIGTERM) == ""


def test_passes_without_a_change_write_nothing(site: Site) -> None:
    site.write_plan(PROGRAM, "first")
    site.start_agent("--interval", "0.05")
    site.await_digest("first")
    watch = Watch(site)
    written = site.status.stat()
    time.sleep(1)  # about twenty passes
    assert watch.announced() == []
    assert site.status.stat() == written


def test_what_others_made_is_left_alone(site: Site) -> None:
    """Tables, routes and rules, also at our numbers."""
    for line in FOREIGN:
        site.on_node(line)
    before = site.picture()
    assert site.keep()["problems"] == []
    during = site.picture()
    assert [line for line in others(before) if line not in during] == []
    site.remove_all()
    assert others(site.picture()) == others(before)


def test_removal_leaves_nothing_and_may_be_repeated(site: Site) -> None:
    before = site.picture()
    site.keep()
    assert site.picture() != before
    assert site.remove_all() == ""
    assert site.remove_all() == ""
    assert others(site.picture()) == others(before)
    assert "169.254" not in str(site.picture())
    assert "64:ff9b" not in str(site.picture())


def test_another_plan_leaves_nothing_of_the_former(site: Site) -> None:
    site.keep(OTHER)
    straight = site.picture()
    site.keep(PROGRAM)
    site.keep(OTHER)
    assert site.picture() == straight


def test_the_interface_comes_back_with_all_it_had(site: Site) -> None:
    """As when ovs-vswitchd restarts: first missing, then another one of that name."""
    site.write_plan(PROGRAM, "first")
    agent = site.start_agent()
    site.await_digest("first")
    before = site.picture()
    site.on_node(f"ip link del {GATEWAY_INTERFACE}")
    site.await_digest("")
    (problem,) = site.told()["problems"]
    assert problem.startswith("interface lace-gw0 is missing: ")
    assert "inet lace-sdn" in site.on_node("nft list tables")
    site.make_interface()
    site.await_digest("first")
    until(lambda: site.picture() == before, "the picture is as it was")
    with exchange(site, (site.bridge, NODE_PORT[4], PORT), (site.outside, NODE[4], PORT)):
        pass
    said = end(agent, signal.SIGTERM)
    assert said.count("interface lace-gw0 is missing") == 1


@pytest.mark.parametrize(
    "damage",
    [
        "ip link set lace-gw0 down",
        "ip addr del 169.254.127.2/32 dev lace-gw0",
        "ip -6 addr del 64:ff9b:1::a9fe:7f02/128 dev lace-gw0",
        "ip addr add 169.254.127.2/24 dev lace-gw0",
        "ip neigh del 169.254.127.1 dev lace-gw0",
        "ip neigh replace fe80::1 lladdr 02:00:00:00:00:66 nud permanent dev lace-gw0",
        "ip route del 10.20.0.0/24 table 7411",
        "ip route replace 10.20.0.0/24 via 192.0.2.9 table 7411 proto 76",
        "ip -6 route flush table 7411",
        "ip route add 10.99.0.0/16 via 192.0.2.9 table 7411 proto 76",
        "ip rule del pref 1000",
        "ip -6 rule add pref 500 lookup 98 protocol 76",
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.conf.lace-gw0.rp_filter=1",
        "sysctl -qw net.ipv4.conf.lace-gw0.accept_local=1",
    ],
)
def test_what_somebody_changed_of_ours_is_put_right(site: Site, damage: str) -> None:
    settings = (
        "sysctl net.ipv4.ip_forward net.ipv4.conf.lace-gw0.rp_filter net.ipv4.conf.lace-gw0.accept_local"
    )
    site.write_plan(PROGRAM, "first")
    agent = site.start_agent("--interval", "0.1")
    site.await_digest("first")
    before = site.picture(), site.on_node(settings)
    site.on_node(damage)
    until(
        lambda: (site.picture(), site.on_node(settings)) == before,
        f"put right: {damage}",
    )
    assert " WARNING " in end(agent, signal.SIGTERM)


@pytest.mark.parametrize(
    "damage",
    [
        "nft delete table inet lace-sdn",
        "nft add rule inet lace-sdn forward accept",
        "nft insert rule inet lace-sdn guard accept",
        "nft flush chain inet lace-sdn guard",
        "nft add element inet lace-sdn ports4 { tcp . 22 }",
        "nft delete element inet lace-sdn addresses4 { 192.0.2.1 }",
        "nft add chain inet lace-sdn more",
        "nft add set inet lace-sdn more { type ipv4_addr ; }",
    ],
)
def test_a_changed_table_is_written_anew(site: Site, damage: str) -> None:
    site.keep()
    before = site.picture()
    site.on_node(damage)
    assert site.picture() != before
    site.keep()
    assert site.picture() == before


def test_a_running_agent_looks_after_its_table(site: Site) -> None:
    site.write_plan(PROGRAM, "first")
    agent = site.start_agent()
    site.await_digest("first")
    site.on_node("nft delete table inet lace-sdn")
    until(lambda: "inet lace-sdn" in site.on_node("nft list tables"), "the table is back")
    assert "somebody else had changed it" in end(agent, signal.SIGTERM)


@pytest.mark.parametrize("damage", ["", "{", '{"digest": "x"}', EMPTY_PLAN.replace("[]", "7"), None])
def test_a_damaged_plan_keeps_the_last_good_state(site: Site, damage: str | None) -> None:
    """It is said once, and the next good plan is followed."""
    site.write_plan(PROGRAM, "first")
    agent = site.start_agent()
    site.await_digest("first")
    before = site.picture()
    site.plan.unlink() if damage is None else site.plan.write_text(damage)
    until(lambda: site.told()["problems"], "the damage is told")
    assert site.told()["digest"] == "first"
    assert str(site.plan) in site.told()["problems"][0]
    time.sleep(0.5)  # several looks at the same damage
    assert site.picture() == before
    site.write_plan(OTHER, "second")
    site.await_digest("second")
    assert site.told()["problems"] == []
    assert end(agent, signal.SIGTERM).count("last good state") <= 1


def test_without_any_plan_nothing_is_touched(site: Site) -> None:
    before = site.picture()
    site.start_agent()
    until(site.told, "a status is written")
    assert site.told()["digest"] == ""
    assert "cannot be read" in site.told()["problems"][0]
    assert site.picture() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_agent_at_once_and_leaves_all_in_force(site: Site, number: signal.Signals) -> None:
    site.write_plan(PROGRAM, "first")
    agent = site.start_agent()
    site.await_digest("first")
    before = site.picture()
    started = time.monotonic()
    end(agent, number)
    assert time.monotonic() - started < 3.0
    assert agent.returncode == 0
    assert site.picture() == before


def test_plans_are_followed_while_connections_live(site: Site) -> None:
    """Thirty plans, one after the other; the last one is in force, and a pod's connection never noticed."""
    site.write_plan(PROGRAM, "first")
    site.start_agent()
    site.await_digest("first")
    server, client = (site.outside, WORLD[4], 8000), (site.bridge, WORLD[4], 8000)
    with exchange(site, server, client, OUTWARD[4][0]) as (calling, called):
        for number in range(30):
            site.write_plan((PROGRAM, OTHER)[number % 2], f"plan {number}")
            speak(calling, called)
        site.await_digest("plan 29")
        speak(calling, called)
    assert "10.21.0.0/24" in site.on_node("ip route show table 7411")


def test_a_node_without_its_address_says_so(site: Site) -> None:
    absent = HostProgram((ip_address("192.0.2.200"),), PROGRAM.routes, ())
    told = site.keep(absent)
    assert told["digest"] == ""
    assert "192.0.2.200" in told["problems"][0]


def test_a_route_of_somebody_else_at_our_place_is_told_and_left(site: Site) -> None:
    site.on_node("ip route add 169.254.0.0/17 via 192.0.2.9")
    told = site.keep()
    assert told["digest"] == ""
    assert told["problems"] == ["route 169.254.0.0/17 table main set: the kernel refuses it: File exists"]
    assert "169.254.0.0/17 via 192.0.2.9" in site.on_node("ip route")


def test_an_interface_without_ipv6_gets_ipv4_alone(site: Site) -> None:
    site.on_node(f"sysctl -qw net.ipv6.conf.{GATEWAY_INTERFACE}.disable_ipv6=1")
    assert site.keep() == {"digest": "one", "problems": []}
    assert site.on_node("ip -6 route show table 7411") == ""
    with exchange(site, (site.bridge, NODE_PORT[4], PORT), (site.outside, NODE[4], PORT)):
        pass


def test_a_kernel_without_ipv6_gets_ipv4_alone(site: Site) -> None:
    site.write_plan(PROGRAM, "first")
    files = f"--plan {site.plan} --status {site.status}"
    code = f'{COMMAND[0]} -c "{COMMAND[2]}" host {files}'
    hidden = "mount -t tmpfs tmpfs /proc/sys/net/ipv6"
    site.start(site.node, "unshare", "--mount", "sh", "-c", f"{hidden} && exec {code}")
    site.await_digest("first")
    assert site.on_node("ip -6 route show proto 76 table all") == ""
    assert "7411" not in site.on_node("ip -6 rule")


def test_who_listened_to_routers_still_does(site: Site) -> None:
    """The kernel would stop that where it forwards (accept_ra 1)."""
    accepted = (
        "sysctl -n net.ipv6.conf.up0.accept_ra net.ipv6.conf.all.forwarding net.ipv6.conf.lace-gw0.accept_ra"
    )
    assert site.on_node(accepted).split() == ["1", "0", "1"]
    site.keep()
    assert site.on_node(accepted).split() == ["2", "1", "0"]


def test_settings_that_cannot_be_written_are_told(site: Site) -> None:
    site.write_plan(PROGRAM, "first")
    files = f"--plan {site.plan} --status {site.status}"
    mounts = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"
    code = f'{COMMAND[0]} -c "{COMMAND[2]}" host {files}'
    site.start(site.node, "unshare", "--mount", "sh", "-c", f"{mounts} && exec {code}")
    until(site.told, "a status is written")
    told = site.told()
    assert told["digest"] == ""
    assert any(
        "net.ipv4.ip_forward is 0 and cannot be set to 1: Read-only" in text for text in told["problems"]
    )
    assert "10.20.0.0/24" in site.on_node("ip route show table 7411")


def test_a_host_without_nft_is_told_what_to_install(site: Site, tmp_path: Path) -> None:
    done = subprocess.run(
        netns.command(site.node, "env", f"PATH={tmp_path}", *COMMAND, "--remove"),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: nft is not installed: apt-get install nftables\n"


def test_the_node_forwards_no_inner_address_while_translation_fails(site: Site) -> None:
    """Whatever conntrack does not translate never leaves: here all of it, by a foreign rule."""
    site.keep()
    site.on_node("nft add table inet theirs")
    site.on_node("nft add chain inet theirs raw { type filter hook prerouting priority -310 ; }")
    site.on_node("nft add rule inet theirs raw udp dport 5000 notrack")
    with site.listen(site.outside, "0.0.0.0", 5000, socket.SOCK_DGRAM) as listener:  # noqa: S104
        site.send(site.bridge, OUTWARD[4][0], WORLD[4], 5000, b"false")
        site.on_node("nft delete table inet theirs")
        site.send(site.bridge, OUTWARD[4][0], WORLD[4], 5000, b"honest")
        assert listener.recv(16) == b"honest"


def test_the_status_is_json_of_two_fields(site: Site) -> None:
    site.keep()
    assert json.loads(site.status.read_text()) == {"digest": "one", "problems": []}
