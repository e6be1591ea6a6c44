"""Extra DHCP options of ports: what is told to whom, what is refused and why."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.openstack import DHCP_OPTIONS_ANNOTATION
from calico_openstack.dhcp.dnsmasq import Role, option_line
from calico_openstack.dhcp.model import ExtraOption, Settings
from calico_openstack.dhcp.port_options import read_options
from tests.unit.dhcp.examples import V4, V6, plan, port, service

KEY = "/endpoint"


def read(*options: Any) -> tuple[list[str], list[str]]:
    """Return the lines of dnsmasq's file for a port, and the problems."""
    found, problems = read_options(KEY, {DHCP_OPTIONS_ANNOTATION: json.dumps(options)})
    return [option_line(option, "p") for option in found], [str(each) for each in problems]


def option(name: str, value: Any, version: int = 4) -> dict[str, Any]:
    return {"name": name, "value": value, "ipVersion": version}


@pytest.mark.parametrize(
    ("name", "value", "version", "line"),
    [
        ("bootfile-name", "pxelinux.0", 4, 'tag:p,67,"pxelinux.0"'),
        ("67", "a,b # c", 4, 'tag:p,67,"a,b # c"'),
        ("67", 'boot\\x64 "w"', 4, 'tag:p,67,"boot\\\\x64 \\"w\\""'),
        ("tag:!ipxe,67", "undionly.kpxe", 4, 'tag:p,tag:!ipxe,67,"undionly.kpxe"'),
        ("tag:ipxe6,bootfile-url", "http://h/x", 6, 'tag:p,tag:ipxe6,option6:59,"http://h/x"'),
        ("server-ip-address", "192.0.2.1", 4, "tag:p,255,192.0.2.1"),
        ("255", "192.0.2.1", 4, "tag:p,255,192.0.2.1"),
        ("tftp-server", "192.0.2.1", 4, 'tag:p,66,"192.0.2.1"'),
        ("150", "192.0.2.1, 192.0.2.2", 4, "tag:p,150,192.0.2.1,192.0.2.2"),
        ("ntp-server", "192.0.2.1", 4, "tag:p,42,192.0.2.1"),
        ("ntp-server", "2001:DB8::1", 6, "tag:p,option6:56,[2001:db8::1]"),
        ("dns-server", "[2001:db8::1]", 6, "tag:p,option6:23,[2001:db8::1]"),
        ("domain-search", "a.example,b.example.", 4, "tag:p,119,a.example,b.example"),
        ("mtu", "1400", 4, "tag:p,26,1400"),
        ("router", "", 4, "tag:p,3"),
        ("121", "10.0.0.0/8,192.0.2.1", 4, "tag:p,121,10.0.0.0/8,192.0.2.1"),
        ("bootfile-param", "a=1,b", 6, 'tag:p,option6:60,"a=1","b"'),
        ("224", "01:02:ff", 4, "tag:p,224,01:02:ff"),
        ("224", "7", 4, "tag:p,224,7"),
        ("224", "192.0.2.1", 4, "tag:p,224,192.0.2.1"),
        ("224", "some text", 4, 'tag:p,224,"some text"'),
    ],
)
def test_options_by_name_and_by_number(name: str, value: str, version: int, line: str) -> None:
    assert read(option(name, value, version)) == ([line], [])


@pytest.mark.parametrize(
    ("given_option", "reason"),
    [
        (option("no-such", "x"), "'no-such': there is no DHCPv4 option of this name"),
        (option("router", "192.0.2.1", 6), "'router': there is no DHCPv6 option of this name"),
        (option("0", "x"), "'0': there is no DHCPv4 option of this number"),
        (option("256", "x"), "'256': there is no DHCPv4 option of this number"),
        (option("54", "192.0.2.1"), "'54': this option belongs to the server"),
        (option("3", "fe80::1"), "'3': 'fe80::1' is not addresses, separated by commas"),
        (option("mtu", "70000"), "'mtu': '70000' is not a number from 0 to 65535"),
        (option("67", "a\nb"), "is not printable ASCII text"),
        (option("67", ""), "is not printable ASCII text"),
        (option("67", "x" * 256), "is not printable ASCII text"),
        (option("tag:known,67", "x"), "clients are told apart by ipxe and !ipxe only"),
        (option("67\nport=53", "x"), "is no option's name"),
        (option("domain-search", "a,b c"), "is not domain names"),
        (option("121", "10.0.0.0/8"), "is not networks each followed by its next hop"),
        (option("dns-server", "fe80::1%eth0", 6), "is not addresses"),
        (option("67", "x", 5), "ipVersion 5 is neither 4 nor 6"),
        (option("67", 3), "Expected `str`, got `int` - at `$.value`"),
        ("text", "Expected `object`, got `str`"),
    ],
)
def test_what_cannot_be_told_is_refused_with_a_reason(given_option: Any, reason: str) -> None:
    lines, (problem,) = read(option("66", "kept"), given_option)

    assert lines == ['tag:p,66,"kept"']
    assert problem.startswith(f"{KEY} field metadata.annotations[{DHCP_OPTIONS_ANNOTATION}][1]: ")
    assert reason in problem


@pytest.mark.parametrize("text", ["{", "{}", '"x"', "[" * 100_000])
def test_an_annotation_that_is_no_list_is_refused(text: str) -> None:
    options, problems = read_options(KEY, {DHCP_OPTIONS_ANNOTATION: text})

    assert options == ()
    assert "cannot be read" in str(problems[0])


_NAMES = st.one_of(
    st.integers(0, 300).map(str),
    st.sampled_from(["bootfile-name", "router", "domain-search", "mtu", "tag:ipxe,67"]),
    st.text(max_size=20),
)
_VALUES = st.one_of(
    st.text(max_size=400),
    st.lists(st.ip_addresses(v=4).map(str), max_size=80).map(",".join),
    st.text("0123456789abcdef:,.[]", max_size=300),
)


@given(st.lists(st.builds(option, _NAMES, _VALUES, st.sampled_from([4, 6])), max_size=3))
def test_no_value_becomes_syntax(options: list[Any]) -> None:
    lines, problems = read(*options)

    assert len(lines) + len(problems) == len(options)
    for line in lines:
        assert line.isprintable()
        assert line.isascii()
        # dnsmasq reads lines of at most 1024 characters, and the rest as another line.
        assert len(line) < 900
        outside = line.split('"')[::2] if '"' in line and "\\" not in line else []
        assert not any("#" in part for part in outside)


def test_a_port_is_told_its_own_options_last_and_by_family() -> None:
    extra = (
        ExtraOption(4, 67, ("boot file",), is_text=True),
        ExtraOption(6, 59, ("http://x",), is_text=True, tag="ipxe6"),
    )
    planned = plan(
        (port(1, "10.65.0.11", "fd65::11", options=extra), port(2, "10.65.0.12")), V4, V6
    )

    v4, v6 = service(planned, Role.DHCP4), service(planned, Role.DHCP6)
    assert v4.files["dhcp-optsfile"][-1] == 'tag:port-p1,67,"boot file"'
    assert v6.files["dhcp-optsfile"][-1] == 'tag:tap1,tag:ipxe6,option6:59,"http://x"'


def test_an_option_never_needs_a_new_process() -> None:
    without = plan((port(1, "10.65.0.11", "fd65::11"),), V4, V6)
    options = (ExtraOption(4, 26, ("1400",)), ExtraOption(6, 31, ("[2001:db8::1]",)))
    told = plan((port(1, "10.65.0.11", "fd65::11", options=options),), V4, V6)

    for role in (Role.DHCP4, Role.DHCP6):
        assert service(without, role).generation == service(told, role).generation
        assert service(without, role).files != service(told, role).files


def test_time_servers_are_the_operator_s() -> None:
    settings = Settings(ntp_servers=(ip_address("192.0.2.9"), ip_address("2001:db8::9")))
    planned = plan((port(1, "10.65.0.11", "fd65::11"),), V4, V6, settings=settings)

    assert "option:ntp-server,192.0.2.9" in service(planned, Role.DHCP4).files["dhcp-optsfile"]
    assert "option6:ntp-server,[2001:db8::9]" in service(planned, Role.DHCP6).files["dhcp-optsfile"]
