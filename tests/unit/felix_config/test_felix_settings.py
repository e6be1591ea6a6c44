"""Felix's parameters: the table, the kinds of value, and what settings follow."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico_openstack.datamodel.ports import PortRange
from calico_openstack.felix.config import PARAMETERS, FailsafePort, FelixSettings, Rate
from calico_openstack.felix.config.parameters import WITHOUT_EFFECT
from calico_openstack.felix.config.settings import ATTRIBUTES


def test_names_are_distinct() -> None:
    assert len(ATTRIBUTES) == len(PARAMETERS)
    fields = [p.spec_field for p in PARAMETERS.values() if p.spec_field]
    assert len(set(fields)) == len(fields)
    assert not WITHOUT_EFFECT & ATTRIBUTES.keys()


def test_local_parameters_have_no_spec_field() -> None:
    assert not [p.name for p in PARAMETERS.values() if p.local and p.spec_field]


@pytest.mark.parametrize("attribute", sorted(PARAMETERS))
def test_text_of_the_default_is_read_as_the_default(attribute: str) -> None:
    declared = PARAMETERS[attribute]
    default = declared.default
    if isinstance(default, bool):
        assert declared.kind.parse(str(default)) is default
    elif isinstance(default, str | int | float) and default != "":
        assert declared.kind.parse(str(default)) == default
    assert getattr(FelixSettings(), attribute) == default


V4, V6 = IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8")


@pytest.mark.parametrize(
    ("attribute", "text", "value"),
    [
        ("health_enabled", "True", True),
        ("health_enabled", "1", True),
        ("health_enabled", "YES", True),
        ("health_enabled", "t", True),
        ("health_enabled", "n", False),
        ("health_enabled", "False", False),
        ("health_port", "0", 0),
        ("health_port", "0x10", 16),
        ("reporting_interval", "1.5", 1.5),
        ("reporting_interval", "0", 0.0),
        ("default_endpoint_to_host_action", "Accept", "ACCEPT"),
        ("log_severity_screen", "debug", "DEBUG"),
        ("workload_source_spoofing", "any", "Any"),
        ("interface_prefixes", "cali, tap,", ("cali", "tap")),
        ("interface_exclude", "kube-ipvs0,/^docker.*/", ("kube-ipvs0", "/^docker.*/")),
        ("metadata_addr", "192.0.2.1", "192.0.2.1"),
        ("metadata_addr", "metadata.example.org", "metadata.example.org"),
        ("openstack_region", "north-1", "north-1"),
        ("device_route_source_address", "192.0.2.1", IPv4Address("192.0.2.1")),
        ("device_route_source_address_ipv6", "fd00::1", IPv6Address("fd00::1")),
        ("external_nodes", "10.0.0.0/8,fd00::/8", (V4, V6)),
        (
            "failsafe_inbound_host_ports",
            "22,udp:68,tcp:10.0.0.0/8:23,sctp:[fd00::/8]:24",
            (
                FailsafePort(6, None, 22),
                FailsafePort(17, None, 68),
                FailsafePort(6, V4, 23),
                FailsafePort(132, V6, 24),
            ),
        ),
        ("nat_port_range", "32768:65535", PortRange(32768, 65535)),
        ("nftables_mark_mask", "0xFF00", 0xFF00),
        ("route_table_ranges", "1-2,10-20", ((1, 2), (10, 20))),
        ("health_timeout_overrides", "A=1m30s,B=5s", (("A", 90.0), ("B", 5.0))),
        ("log_action_rate_limit", "10/minute", Rate(10, "minute")),
        ("vxlan_enabled", "false", False),
    ],
)
def test_values(attribute: str, text: str, value: Any) -> None:
    assert PARAMETERS[attribute].kind.parse(text) == value


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("health_enabled", "maybe"),
        ("health_port", "65536"),
        ("health_port", "-1"),
        ("health_port", "8o80"),
        ("health_port", "9" * 10_000),
        ("health_port", "٣"),
        ("reporting_interval", "30s"),
        ("reporting_interval", "-1"),
        ("reporting_interval", "nan"),
        ("reporting_interval", "inf"),
        ("ipv4_normal_route_priority", "0"),
        ("default_endpoint_to_host_action", "REJECT"),
        ("datastore_type", "kubernetes"),
        ("interface_prefixes", ","),
        ("interface_prefixes", "a b"),
        ("interface_prefixes", "x" * 16),
        ("interface_exclude", "/(/"),
        ("metadata_addr", "a b"),
        ("metadata_addr", "10.0.0.1:80"),
        ("openstack_region", "North"),
        ("openstack_region", "x" * 47),
        ("device_route_source_address", "fd00::1"),
        ("device_route_source_address_ipv6", "10.0.0.1"),
        ("external_nodes", "10.0.0.0/8,x"),
        ("failsafe_inbound_host_ports", "icmp:8"),
        ("failsafe_inbound_host_ports", "tcp:0"),
        ("failsafe_inbound_host_ports", "tcp:65536"),
        ("failsafe_inbound_host_ports", "tcp:x:22"),
        ("failsafe_inbound_host_ports", "tcp:fd00::/8:22"),
        ("nat_port_range", "http"),
        ("nat_port_range", "0:10"),
        ("nat_port_range", "20:10"),
        ("nftables_mark_mask", "0"),
        ("nftables_mark_mask", "0x100000000"),
        ("route_table_ranges", "1"),
        ("route_table_ranges", "2-1"),
        ("health_timeout_overrides", "A"),
        ("health_timeout_overrides", "A=5"),
        ("log_action_rate_limit", "10/week"),
        ("log_action_rate_limit", "0/second"),
        ("mtu_iface_pattern", "("),
        ("mtu_iface_pattern", "x" * 1001),
    ],
)
def test_bad_values(attribute: str, text: str) -> None:
    with pytest.raises(ValueError):
        PARAMETERS[attribute].kind.parse(text)


@pytest.mark.parametrize("attribute", sorted(PARAMETERS))
@given(text=st.text(min_size=1, max_size=30))
@settings(max_examples=30)
def test_any_text_is_read_or_refused(attribute: str, text: str) -> None:
    with suppress(ValueError):
        PARAMETERS[attribute].kind.parse(text)


@pytest.mark.parametrize(
    ("changes", "openstack"),
    [
        ({}, False),
        ({"cluster_type": "k8s,OpenStack"}, True),
        ({"metadata_addr": "192.0.2.1"}, True),
        ({"metadata_addr": ""}, False),
        ({"metadata_port": 80}, True),
        ({"interface_prefixes": ("cali", "tap")}, True),
        ({"interface_prefixes": ("tapestry",)}, False),
    ],
)
def test_openstack_mode(changes: dict[str, Any], openstack: bool) -> None:
    assert FelixSettings(**changes).openstack == openstack


def test_what_follows_from_the_settings() -> None:
    felix = FelixSettings(metadata_addr="192.0.2.1", openstack_region="north")
    assert felix.metadata_address == IPv4Address("192.0.2.1")
    assert felix.region_string == "region-north"
    assert felix.namespace == "openstack-region-north"
    assert FelixSettings().region_string == "no-region"
    for name in ("metadata.example.org", "fd00::1", ""):
        assert FelixSettings(metadata_addr=name).metadata_address is None


def test_passwords_are_not_shown() -> None:
    assert "hunter2" not in repr(FelixSettings(etcd_password="hunter2"))
