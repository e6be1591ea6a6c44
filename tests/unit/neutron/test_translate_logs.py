"""Network logs are Log rules that change no verdict."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico_openstack.datamodel.codec import decode, encode
from calico_openstack.datamodel.policies import NetworkPolicy
from calico_openstack.datamodel.rules import EntityRule, Rule, RuleMetadata
from calico_openstack.neutron.translate.cluster import logging_configuration
from calico_openstack.neutron.translate.facts import GroupFacts, LogFacts, RuleFacts
from calico_openstack.neutron.translate.labels import endpoint_labels
from calico_openstack.neutron.translate.logs import LOG_POLICY, drop_policy, has_label
from calico_openstack.neutron.translate.policy import policy_name, translate_group
from calico_openstack.neutron.translate.wanted import path_of, wanted_policies
from tests.unit.neutron.test_translate_endpoint import WEB_SERVER

GROUP = "0f9e8d7c-0000-4000-8000-000000000001"
HAS_GROUP = f"has(sg.projectcalico.org/openstack-{GROUP})"
HAS_LABEL = "has(log.projectcalico.org/openstack-l1)"

OF_GROUP = LogFacts("l1", "ALL", "p1", GROUP)
OF_PORT = LogFacts("l1", "ALL", "p1", port_id="port1")
OF_BOTH = LogFacts("l1", "ALL", "p1", GROUP, "port1")
OF_PROJECT = LogFacts("l1", "ALL", "p1")
LOGS = (OF_GROUP, OF_PORT, OF_BOTH, OF_PROJECT)

RULES = (
    RuleFacts(
        id="r1", direction="ingress", ethertype="IPv4", protocol="tcp", port_min=22, port_max=22
    ),
    RuleFacts(id="r2", direction="egress", ethertype="IPv6", remote_group_id="other"),
)


def policy(*logs: LogFacts) -> NetworkPolicy:
    return translate_group(GroupFacts(id=GROUP, rules=RULES, logs=logs), "openstack").policy


@pytest.mark.parametrize(
    ("log", "selector"),
    [
        (OF_GROUP, HAS_GROUP),
        (OF_PORT, HAS_LABEL),
        (OF_BOTH, f"{HAS_GROUP} && {HAS_LABEL}"),
        (OF_PROJECT, HAS_LABEL),
    ],
)
def test_drops_are_logged_behind_all_groups(log: LogFacts, selector: str) -> None:
    found = drop_policy(log, policy_name(LOG_POLICY + log.id), "openstack")
    assert found is not None
    assert found.spec.selector == selector
    logged = Rule(action="Log", metadata=RuleMetadata(annotations={"log": "drop"}))
    assert found.spec.ingress == found.spec.egress == (logged,)
    assert found.spec.order is None
    assert isinstance(decode(path_of(found), encode(found)), NetworkPolicy)
    assert found.metadata.name > policy_name("ffffffff-ffff-ffff-ffff-ffffffffffff")


def test_accepted_packets_are_logged_in_front_of_each_rule() -> None:
    plain, logging = policy(), policy(OF_GROUP)
    assert [rule.action for rule in logging.spec.ingress] == ["Log", "Allow"]
    for direction in ("ingress", "egress"):
        first, second = getattr(logging.spec, direction)
        assert (second,) == getattr(plain.spec, direction)
        assert (first.protocol, first.source, first.destination) == (
            second.protocol,
            second.source,
            second.destination,
        )
    assert logging.spec.egress[0].metadata == RuleMetadata(
        annotations={"log": "accept", "rule": "r2"}
    )
    assert isinstance(decode(path_of(logging), encode(logging)), NetworkPolicy)


@pytest.mark.parametrize("log", [OF_PORT, OF_BOTH, OF_PROJECT])
def test_a_log_of_ports_is_narrowed_to_them(log: LogFacts) -> None:
    logging = policy(log)
    assert logging.spec.ingress[0].destination == EntityRule(ports=(22,), selector=HAS_LABEL)
    assert logging.spec.egress[0].source == EntityRule(selector=HAS_LABEL)
    assert (
        logging.spec.egress[0].destination.selector == "has(sg.projectcalico.org/openstack-other)"
    )


@settings(deadline=None)
@given(st.lists(st.sampled_from(LOGS), unique=True), st.sampled_from(["ACCEPT", "DROP", "ALL"]))
def test_logs_change_nothing_but_logging(logs: list[LogFacts], event: str) -> None:
    chosen = tuple(dataclasses.replace(log, event=event) for log in logs)
    plain, logging = policy(), policy(*chosen)
    for direction in ("ingress", "egress"):
        rules = getattr(logging.spec, direction)
        assert tuple(rule for rule in rules if rule.action != "Log") == getattr(
            plain.spec, direction
        )
    assert (event == "DROP") <= (logging == plain)
    wanted = wanted_policies([], chosen, "openstack")
    assert bool(wanted.contents) == (bool(chosen) and event != "ACCEPT")


def test_the_label_is_for_ports_that_are_in_groups() -> None:
    """A policy that only logs would cut off a port that no other policy is about."""
    member = dataclasses.replace(WEB_SERVER, logs=(OF_PORT,))
    assert endpoint_labels(member, "openstack")["log.projectcalico.org/openstack-l1"] == ""
    for other in (
        dataclasses.replace(member, groups=()),
        dataclasses.replace(member, port_security_enabled=False),
    ):
        labels = endpoint_labels(other, "openstack")
        assert not [name for name in labels if name.startswith("log.")]


def test_which_ports_a_log_labels() -> None:
    assert has_label(OF_PORT, "port1", "p2")
    assert not has_label(OF_PORT, "port2", "p1")
    assert has_label(OF_PROJECT, "port2", "p1")
    assert not has_label(OF_PROJECT, "port2", "p2")
    assert not has_label(OF_GROUP, "port1", "p1")


def test_what_an_operator_has_configured_about_logs_stays() -> None:
    assert logging_configuration({}) == {
        "logPrefix": "calico-packet %n %r",
        "logActionRateLimit": "100/second",
        "logActionRateLimitBurst": 25,
    }
    own = {"logPrefix": "mine", "logActionRateLimit": "7/minute"}
    assert logging_configuration(own) == own
