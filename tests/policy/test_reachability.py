"""Promises of reachability lines: what people write is understood exactly, or refused with its place."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lace_sdn.model.cluster import ClusterState
from lace_sdn.model.objects import (
    Backend,
    Endpoint,
    Namespace,
    Network,
    NetworkType,
    Node,
    Port,
    Protocol,
    Service,
    ServicePort,
)
from lace_sdn.policy.oracle import Connection
from lace_sdn.policy.reachability import (
    DENIED,
    Expectation,
    Line,
    Outcome,
    connections,
    expected,
    intended,
    parse,
    parse_probe,
    probe_name,
)


def pod(name: str, *addresses: str, ports: tuple[Port, ...] = ()) -> Endpoint:
    return Endpoint("ns", name, "node1", "net", tuple(map(ip_address, addresses)), "02:00:00:00:00:01", ports)


WEB = Port(Protocol.TCP, 80)
STATE = ClusterState(
    nodes=(Node("node1", (ip_address("192.0.2.1"),)),),
    networks=(Network("net", NetworkType.L3, 1),),
    endpoints=(
        pod("both", "10.0.0.1", "fd00::1", ports=(WEB,)),
        pod("four", "10.0.0.2"),
        pod("six", "fd00::3"),
    ),
)


SERVED = replace(
    STATE,
    namespaces=(Namespace("ns"),),
    services=(
        Service(
            "ns",
            "api",
            "net",
            (ip_address("10.96.0.1"), ip_address("fd00:96::1")),
            (
                ServicePort(Protocol.UDP, 53),
                ServicePort(Protocol.TCP, 80, "", (Backend(ip_address("10.0.0.1"), 80, "node1", "ns/both"),)),
                ServicePort(Protocol.SCTP, 90),
            ),
        ),
    ),
)


def test_every_pod_is_asked_about_every_other_in_each_common_family() -> None:
    assert set(connections(STATE)) == {
        Connection("ns/both", "ns/four", Protocol.ICMP, 0, 4),
        Connection("ns/both", "ns/six", Protocol.ICMP, 0, 6),
        Connection("ns/four", "ns/both", Protocol.ICMP, 0, 4),
        Connection("ns/four", "ns/both", Protocol.TCP, 80, 4),
        Connection("ns/six", "ns/both", Protocol.ICMP, 0, 6),
        Connection("ns/six", "ns/both", Protocol.TCP, 80, 6),
    }


def test_every_pod_is_asked_about_every_service_in_each_common_family() -> None:
    """Its own too; ports of SCTP are not asked."""
    asked = [each for each in connections(SERVED) if each.service]
    assert set(asked) == {
        Connection(f"ns/{source}", "service ns/api", protocol, port, family)
        for source, family in (("both", 4), ("both", 6), ("four", 4), ("six", 6))
        for protocol, port in ((Protocol.TCP, 80), (Protocol.UDP, 53))
    }


def test_inside_a_network_everything_is_intended() -> None:
    assert all(each.is_allowed for each in intended(STATE).values())


def test_who_answers_is_intended_too() -> None:
    asked = Connection("ns/four", "service ns/api", Protocol.TCP, 80)
    assert intended(SERVED)[asked] == Expectation(Outcome.ALLOW, frozenset({"ns/both"}))


def test_a_service_without_endpoint_is_intended_to_refuse() -> None:
    asked = Connection("ns/four", "service ns/api", Protocol.UDP, 53)
    assert intended(SERVED)[asked] == Expectation(Outcome.REJECT)


def test_pairs_that_no_line_names_are_denied() -> None:
    assert set(expected(STATE, ()).values()) == {DENIED}


def test_a_line_holds_for_every_family_unless_it_names_one() -> None:
    state = ClusterState(endpoints=(pod("a", "10.0.0.1", "fd00::1"), pod("b", "10.0.0.2", "fd00::2")))
    both = expected(state, parse("ns/a -> ns/b icmp allow"))
    assert [connection.family for connection, meant in both.items() if meant.is_allowed] == [4, 6]
    one = expected(state, parse("ns/a -> ns/b icmp allow v6"))
    assert [connection.family for connection, meant in one.items() if meant.is_allowed] == [6]


def test_comments_and_empty_lines_say_nothing() -> None:
    assert parse("# nothing\n\nns/a -> ns/b udp/53 deny  # why\n") == (
        Line("ns/a", "ns/b", Protocol.UDP, 53, DENIED),
    )


def test_a_line_about_a_service_may_say_who_answers() -> None:
    (line,) = parse("ns/a -> service ns/api tcp/80 allow v6 by ns/b ns/c")
    assert (line.destination, line.families) == ("service ns/api", (6,))
    assert line.meant == Expectation(Outcome.ALLOW, frozenset({"ns/b", "ns/c"}))


def test_who_answers_may_be_left_open() -> None:
    """What is intended says it always; a line that does not agrees with anybody."""
    said = Expectation(Outcome.ALLOW, frozenset({"ns/b"}))
    assert said.agrees_with(Expectation(Outcome.ALLOW))
    assert not said.agrees_with(Expectation(Outcome.ALLOW, frozenset({"ns/b", "ns/c"})))
    assert not said.agrees_with(Expectation(Outcome.REJECT))


@pytest.mark.parametrize("text", ["tcp/1", "udp/65535", "icmp"])
def test_probes_are_written_as_they_are_read(text: str) -> None:
    assert probe_name(*parse_probe(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ns/a ns/b icmp allow", "expected FROM -> TO"),
        ("ns/a -> ns/b icmp maybe", "expected FROM -> TO"),
        ("ns/a -> ns/b icmp allow v5", "expected FROM -> TO"),
        ("ns/a -> ns/b icmp/8 allow", "icmp has no port"),
        ("ns/a -> ns/b tcp/65536 allow", "expected a port from 1 to 65535"),
        ("ns/a -> ns/b gre allow", "expected tcp/PORT, udp/PORT or icmp"),
        ("ns/a -> service tcp/80 allow", "expected FROM -> TO"),
        ("ns/a -> service ns/api tcp/80 allow by", "who answers"),
        ("ns/a -> service ns/api tcp/80 reject by ns/b", "who answers"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"reachability\.txt:2: ") as caught:
        parse(f"# first\n{text}\n")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ns/both -> ns/nobody icmp allow", "no such pods, port or common address family"),
        ("ns/four -> ns/both tcp/81 allow", "no such pods, port or common address family"),
        ("ns/four -> ns/six icmp allow", "no such pods, port or common address family"),
        ("ns/four -> ns/both icmp allow\nns/four -> ns/both icmp deny", "judged in two ways, over IPv4"),
        ("ns/four -> ns/both icmp allow by ns/nobody", "answered by ns/nobody: no such pod"),
    ],
)
def test_a_line_that_cannot_be_judged_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expected(STATE, parse(text))


def test_a_denial_without_a_common_family_is_true_and_may_be_said() -> None:
    assert set(expected(STATE, parse("ns/four -> ns/six icmp deny")).values()) == {DENIED}
