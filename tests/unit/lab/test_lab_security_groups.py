"""What Neutron's rules want, and the matrix made from it."""

from typing import Any

import pytest

from calico_openstack.lab.matrix import Entry, Matrix, members, shell_attempts, wanted
from calico_openstack.lab.matrix_view import cell, difference, is_seen, is_wanted
from calico_openstack.lab.probing import Attempt, Outcome
from calico_openstack.lab.security_groups import (
    ICMP,
    TCP,
    UDP,
    Groups,
    Party,
    Probe,
    Rule,
    parse_rule,
    probes,
    protocol_number,
)
from calico_openstack.lab.security_groups import is_wanted as rules_want

ANY_EGRESS = (Rule("egress", 4), Rule("egress", 6))
WEB = Party("web", ("10.0.0.1", "fd00::1"), frozenset({"web"}))
DB = Party("db", ("10.0.0.2", "fd00::2"), frozenset({"db"}))
CLIENT = Party("client", ("192.0.2.10", "2001:db8::10"))
MEMBERS = {"web": frozenset(WEB.addresses), "db": frozenset(DB.addresses)}


def groups(*db_rules: Rule, web: tuple[Rule, ...] = ANY_EGRESS) -> Groups:
    return Groups({"web": web, "db": (*ANY_EGRESS, *db_rules)}, MEMBERS)


def api_rule(**members: Any) -> dict[str, Any]:
    empty = {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_group_id": None,
        "remote_ip_prefix": None,
        "remote_address_group_id": None,
    }
    return {**empty, **members}


def test_nothing_comes_in_without_a_rule() -> None:
    assert not rules_want(Probe(TCP, 80), 4, WEB, DB, groups())


def test_whoever_has_no_groups_takes_everything() -> None:
    assert rules_want(Probe(TCP, 80), 6, WEB, CLIENT, groups())


def test_nothing_goes_out_without_a_rule() -> None:
    rules = groups(Rule("ingress", 4), web=())
    assert not rules_want(Probe(TCP, 80), 4, WEB, DB, rules)
    assert rules_want(Probe(TCP, 80), 4, CLIENT, DB, rules)


@pytest.mark.parametrize(("port", "passes"), [(79, False), (80, True), (90, True), (91, False)])
def test_a_port_range_has_both_ends(port: int, passes: bool) -> None:
    rules = groups(Rule("ingress", 4, TCP, 80, 90))
    assert rules_want(Probe(TCP, port), 4, CLIENT, DB, rules) is passes


def test_a_rule_is_for_its_family_and_protocol_only() -> None:
    rules = groups(Rule("ingress", 4, TCP, 80, 80))
    assert not rules_want(Probe(TCP, 80), 6, CLIENT, DB, rules)
    assert not rules_want(Probe(UDP, 80), 4, CLIENT, DB, rules)


def test_a_remote_group_means_the_addresses_of_its_members() -> None:
    rules = groups(Rule("ingress", 4, remote_group="web"))
    assert rules_want(Probe(ICMP), 4, WEB, DB, rules)
    assert not rules_want(Probe(ICMP), 4, CLIENT, DB, rules)


def test_a_remote_group_without_members_lets_nobody_in() -> None:
    rules = groups(Rule("ingress", 4, remote_group="gone"))
    assert not rules_want(Probe(ICMP), 4, WEB, DB, rules)


def test_a_prefix_holds_for_its_addresses() -> None:
    rules = groups(Rule("ingress", 4, remote_prefixes=("192.0.2.0/24",)))
    assert rules_want(Probe(ICMP), 4, CLIENT, DB, rules)
    assert not rules_want(Probe(ICMP), 4, WEB, DB, rules)


def test_an_empty_address_group_lets_nobody_in() -> None:
    rule = parse_rule(api_rule(remote_address_group_id="empty"), {"empty": ()})
    assert not rules_want(Probe(ICMP), 4, CLIENT, DB, groups(rule))


@pytest.mark.parametrize(
    ("minimum", "maximum", "passes"),
    [(None, None, True), (8, None, True), (8, 0, True), (8, 1, False), (0, None, False)],
)
def test_an_icmp_rule_has_type_and_code(
    minimum: int | None, maximum: int | None, passes: bool
) -> None:
    rules = groups(Rule("ingress", 4, ICMP, minimum, maximum))
    assert rules_want(Probe(ICMP), 4, CLIENT, DB, rules) is passes


@pytest.mark.parametrize(
    ("name", "family", "number"),
    [
        (None, 4, None),
        ("any", 6, None),
        ("tcp", 4, 6),
        ("icmp", 4, 1),
        ("icmp", 6, 58),
        ("ipv6-icmp", 6, 58),
        ("1", 6, 58),
        ("47", 4, 47),
    ],
)
def test_protocols_have_names_and_numbers(name: str | None, family: int, number: int) -> None:
    assert protocol_number(name, family) == number


def test_probes_are_the_ports_of_the_rules_and_one_that_no_rule_names() -> None:
    rules = groups(Rule("ingress", 4, TCP, 20, 25), Rule("ingress", 6, UDP, 53, 53))
    assert probes(rules, ["web", "db"]) == (
        Probe(ICMP),
        Probe(TCP, 20),
        Probe(TCP, 8080),
        Probe(UDP, 53),
    )


def test_members_have_their_allowed_pairs() -> None:
    port = {
        "fixed_ips": [{"ip_address": "10.0.0.1"}],
        "allowed_address_pairs": [{"ip_address": "10.0.9.0/24"}],
        "security_groups": ["web"],
    }
    assert members([port]) == {"web": frozenset({"10.0.0.1", "10.0.9.0/24"})}


def test_a_matrix_has_every_pair_in_both_directions_and_families() -> None:
    matrix = wanted([WEB, DB, CLIENT], [Probe(ICMP)], groups())
    assert len(matrix.entries) == 3 * 2 * 2
    only4 = Party("old", ("10.0.0.3",), frozenset())
    assert {e.family for e in wanted([WEB, only4], [Probe(ICMP)], groups()).entries} == {4}


def entry(family: int, wish: bool, seen: Outcome | None) -> Entry:
    return Entry("web", "db", family, Probe(TCP, 80), wish, seen)


def test_a_refusal_counts_as_reached_and_silence_does_not() -> None:
    assert entry(4, True, Outcome.REFUSED).agrees
    assert not entry(4, True, Outcome.SILENT).agrees
    assert entry(4, False, Outcome.SILENT).agrees
    assert not entry(4, False, Outcome.REFUSED).agrees


def test_what_could_not_be_tried_is_no_difference() -> None:
    assert Matrix(("web", "db"), (entry(4, True, None),)).differences == ()


def test_a_cell_says_where_the_families_differ() -> None:
    both = (entry(4, True, Outcome.SILENT), entry(6, True, Outcome.REFUSED))
    assert cell(both, is_wanted) == "tcp 80"
    assert cell(both, is_seen) == "tcp 80(IPv6 only)"
    assert cell((), is_wanted) == "-"


def test_a_difference_is_told_in_words() -> None:
    text = difference(entry(4, False, Outcome.ANSWERED))
    assert text == "web → db tcp/80 over IPv4 should not pass, but was answered"


def test_a_guest_makes_its_attempts_with_what_busybox_has() -> None:
    script = shell_attempts([Attempt("fd00::1", ICMP, 0, 1.2), Attempt("10.0.0.1", UDP, 53, 1.0)])
    assert "ping -c 1 -W 1 fd00::1" in script
    assert "(echo untried) > /tmp/outcome.1 &" in script
    assert script.endswith("cat /tmp/outcome.0\ncat /tmp/outcome.1")
