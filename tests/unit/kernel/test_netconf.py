"""Notifications of changed parameters (struct netconfmsg, linux/netconf.h)."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.netlink.protocol import attribute
from calico_openstack.netlink.rtnetlink import (
    AF_INET,
    AF_INET6,
    NETCONF_ALL,
    NetconfValue,
    parse_netconf,
)


def body(family: int, index: int | None, **values: int) -> bytes:
    number = struct.Struct("=i").pack
    parts = [bytes([family, 0, 0, 0])]
    if index is not None:
        parts.append(attribute(1, number(index)))
    parts += [attribute(NetconfValue[name], number(value)) for name, value in values.items()]
    return b"".join(parts)


def test_values_of_an_interface() -> None:
    found = parse_netconf(body(AF_INET, 7, FORWARDING=0, RP_FILTER=2))
    assert found is not None
    assert (found.family, found.index) == (AF_INET, 7)
    assert found.values == {NetconfValue.FORWARDING: 0, NetconfValue.RP_FILTER: 2}


def test_the_whole_host_has_a_number_of_its_own() -> None:
    found = parse_netconf(body(AF_INET6, -1, FORWARDING=1))
    assert found is not None
    assert found.index == NETCONF_ALL


def test_other_families_and_the_nameless_are_none_of_ours() -> None:
    assert parse_netconf(body(28, 7, FORWARDING=1)) is None
    assert parse_netconf(body(AF_INET, None, FORWARDING=1)) is None
    assert parse_netconf(b"") is None


@given(st.binary(max_size=64))
def test_garbage_never_raises(data: bytes) -> None:
    parse_netconf(bytes([AF_INET]) + data)
