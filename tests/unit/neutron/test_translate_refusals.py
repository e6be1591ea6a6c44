"""What ports' bindings tell operators of what is left closed."""

from __future__ import annotations

import json
from dataclasses import astuple, replace

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from neutron.db.models import securitygroup as group_models

from calico_openstack.neutron.reading_parts import is_odd_rule
from calico_openstack.neutron.translate.facts import Binding, PortFacts, Problem, RuleFacts
from calico_openstack.neutron.translate.policy import refusals
from calico_openstack.neutron.translate.refusals import KEY, told_details

PORT = PortFacts(
    id="p",
    network_id="n",
    mac="fa:16:3e:00:00:01",
    device_owner="compute:nova",
    device_id="vm",
    binding=Binding("host", "tap", details='{"port_filter": true}'),
)
REFUSED = RuleFacts("r1", "ingress", "IPv4", "0")
FINE = RuleFacts("r2", "ingress", "IPv4", "tcp", 22, 22)


def told(port: PortFacts, *problems: Problem) -> dict[str, object] | None:
    details = told_details(port, problems)
    if details is None:
        return None
    result: dict[str, object] = json.loads(details.wanted)
    return result


def test_a_refused_rule_is_told_until_it_is_gone() -> None:
    port = replace(PORT, odd_rules=(FINE, REFUSED))
    details = told_details(port, ())
    assert details is not None
    content = json.loads(details.wanted)
    assert content["port_filter"] is True
    assert content[KEY] == ["rule r1: protocol: policies cannot name protocol 0 (0)"]
    telling = replace(port, binding=replace(PORT.binding, details=details.wanted))
    assert told(telling) is None
    assert told(replace(telling, odd_rules=())) == {"port_filter": True}


def test_a_port_tells_its_own_problems_too() -> None:
    problem = Problem("port p", "fixed_ips", "strange")
    content = told(replace(PORT, odd_rules=(REFUSED,)), problem)
    assert content is not None
    assert [str(text).partition(":")[0] for text in content[KEY]] == ["port p", "rule r1"]  # type: ignore[attr-defined]


def test_without_port_security_no_rule_of_a_group_is_told() -> None:
    assert told(replace(PORT, odd_rules=(REFUSED,), port_security_enabled=False)) is None


def test_ports_that_are_bound_otherwise_tell_nothing() -> None:
    for vif_type in ("unbound", "binding_failed", "ovs"):
        binding = Binding("host", vif_type)
        assert told(replace(PORT, binding=binding, odd_rules=(REFUSED,))) is None


def test_details_that_cannot_be_read_are_left_alone() -> None:
    for details in ("{", "[]"):
        binding = replace(PORT.binding, details=details)
        assert told(replace(PORT, binding=binding, odd_rules=(REFUSED,))) is None


@settings(deadline=None)
@given(st.integers(0, 300))
def test_details_fit_into_neutrons_column(number: int) -> None:
    rules = tuple(replace(REFUSED, id=f"{n:036}") for n in range(number))
    details = told_details(replace(PORT, odd_rules=rules), ())
    if details is None:
        assert not number
        return
    assert len(details.wanted) < 4095
    listed = json.loads(details.wanted)[KEY]
    last = listed[-1]
    more = int(last.split()[1]) if last.startswith("and ") else 0
    assert len(listed) - bool(more) + more == number


numbers = st.none() | st.integers(-2, 300) | st.sampled_from((65535, 65536))
protocols = st.none() | st.sampled_from(
    ("tcp", "udp", "TCP", "icmp", "icmpv6", "ipv6-icmp", "any", "-1", "0", "1", "6", "17", "58")
)
others = st.sampled_from(("sctp", "dccp", "udplite", "132", "256", "ip", "vrrp", "unheard-of", ""))
rules = st.builds(
    RuleFacts,
    st.just("r"),
    st.just("ingress"),
    st.sampled_from(("IPv4", "IPv6", "IPv5")),
    protocols | others,
    numbers,
    numbers,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(rules, max_size=20))
def test_the_database_finds_every_rule_that_is_refused(facts: list[RuleFacts]) -> None:
    rule = group_models.SecurityGroupRule
    with sa.create_engine("sqlite://").begin() as connection:
        names = ("ethertype", "protocol", "port_range_min", "port_range_max")
        connection.execute(sa.text(f"CREATE TABLE securitygrouprules (id, {', '.join(names)})"))
        for number, each in enumerate(facts):
            values = dict(zip(names, astuple(each)[2:6], strict=True))
            statement = sa.insert(rule.__table__).values({"id": str(number)} | values)
            connection.execute(statement)
        found = set(connection.scalars(sa.select(rule.id).where(is_odd_rule())))
    assert {str(number) for number, each in enumerate(facts) if refusals([each])} <= found
