"""QoS rules become controls, with the numbers that upstream's driver writes."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.codec import validate
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.neutron.translate.endpoint import translate_port
from calico_openstack.neutron.translate.facts import (
    Binding,
    DhcpOption,
    FixedIp,
    PortFacts,
    QosFacts,
    QosRuleFacts,
)
from calico_openstack.neutron.translate.qos import (
    NO_LIMITS,
    DirectionLimits,
    Limits,
    qos_controls,
    unsupported,
)


def rule(kind: str, direction: str = "egress", maximum: int = 0, burst: int = 0) -> QosRuleFacts:
    return QosRuleFacts(kind, direction, maximum, burst)


def controls(*rules: QosRuleFacts, limits: Limits = NO_LIMITS) -> object:
    found = qos_controls(QosFacts(rules), limits)
    return json.loads(msgspec.json.encode(found)) if found else None


def test_nothing_is_limited_without_a_rule() -> None:
    assert controls() is None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            [rule("bandwidth_limit", "egress", 10200, 20300)],
            {"egressBandwidth": 10200000, "egressPeakrate": 20300000, "egressBurst": 4294967296},
        ),
        (
            [rule("bandwidth_limit", "ingress", 1)],
            {"ingressBandwidth": 1000, "ingressBurst": 4294967296},
        ),
        (
            [rule("packet_rate_limit", "egress", 6)],
            {"egressPacketRate": 6000, "egressPacketBurst": 5},
        ),
        (
            [rule("packet_rate_limit", "ingress", 77)],
            {"ingressPacketRate": 10000, "ingressPacketBurst": 5},
        ),
        ([QosRuleFacts("dscp_marking", dscp_mark=26)], {"dscp": 26}),
        ([rule("bandwidth_limit", "egress", 0, 5)], {"egressPeakrate": 5000}),
        ([rule("minimum_bandwidth", "egress")], None),
    ],
)
def test_rules(rules: list[QosRuleFacts], expected: object) -> None:
    assert controls(*rules) == expected


def test_what_is_configured_for_every_port() -> None:
    limits = Limits(
        ingress=DirectionLimits(connections=100, burst=0, minburst=10, packet_burst=0),
        egress=DirectionLimits(burst=1, minburst=9000, packet_burst=20),
    )
    assert controls(limits=limits) == {"ingressMaxConnections": 100}
    every = [
        rule(kind, direction, 2, 3 if kind == "bandwidth_limit" else 0)
        for kind in ("bandwidth_limit", "packet_rate_limit")
        for direction in ("ingress", "egress")
    ]
    assert controls(*every, limits=limits) == {
        "ingressBandwidth": 2000,
        "ingressBurst": 4294967296,
        "ingressPeakrate": 3000,
        "ingressMinburst": 1000,
        "ingressPacketRate": 2000,
        "ingressPacketBurst": 5,
        "ingressMaxConnections": 100,
        "egressBandwidth": 2000,
        "egressBurst": 1000,
        "egressPeakrate": 3000,
        "egressMinburst": 9000,
        "egressPacketRate": 2000,
        "egressPacketBurst": 20,
    }


@pytest.mark.parametrize(
    ("given_rule", "supported"),
    [
        (rule("bandwidth_limit", "egress", 1, 1), True),
        (rule("packet_rate_limit", "egress", 10), True),
        (rule("packet_rate_limit", "egress", 11), False),
        (rule("packet_rate_limit", "egress", 1, 1), False),
        (QosRuleFacts("dscp_marking", dscp_mark=0), True),
        (rule("minimum_bandwidth"), False),
        (rule("minimum_packet_rate"), False),
    ],
)
def test_what_cannot_be_honoured_has_a_reason(given_rule: QosRuleFacts, supported: bool) -> None:
    assert (unsupported(given_rule) is None) is supported


PORT = PortFacts(
    id="p1",
    network_id="n1",
    mac="fa:16:3e:00:00:01",
    device_owner="compute:nova",
    device_id="vm",
    binding=Binding("a", "tap"),
    fixed_ips=(FixedIp("10.0.0.2", "s1", "10.0.0.1"),),
)


def endpoint(port: PortFacts) -> WorkloadEndpoint:
    (result,) = translate_port(port, "openstack").endpoints
    return result


RULES = st.builds(
    QosRuleFacts,
    st.sampled_from(["bandwidth_limit", "packet_rate_limit"]),
    st.sampled_from(["ingress", "egress"]),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
)


@given(st.lists(RULES, max_size=4))
def test_whatever_neutron_stores_is_accepted_by_readers(rules: list[QosRuleFacts]) -> None:
    assert validate(endpoint(dataclasses.replace(PORT, qos=QosFacts(tuple(rules))))) == ()


def test_extra_dhcp_options_are_an_annotation() -> None:
    options = (DhcpOption("tftp-server", "192.0.2.1", 4), DhcpOption("23", "fd00::1", 6))
    annotations = endpoint(dataclasses.replace(PORT, dhcp_options=options)).metadata.annotations
    assert json.loads(annotations["openstack.projectcalico.org/extra-dhcp-opts"]) == [
        {"name": "tftp-server", "value": "192.0.2.1", "ipVersion": 4},
        {"name": "23", "value": "fd00::1", "ipVersion": 6},
    ]
    assert "openstack.projectcalico.org/extra-dhcp-opts" not in endpoint(PORT).metadata.annotations
