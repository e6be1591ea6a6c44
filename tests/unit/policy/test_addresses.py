from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.policy.addresses import (
    Prefix,
    network_of,
    pack_address,
    pack_prefix,
    unpack_address,
)

addresses = st.ip_addresses()


@given(addresses)
def test_packs_every_address(address: object) -> None:
    packed = ip_address(str(address)).packed
    assert pack_address(str(address)) == packed
    assert pack_address(f"{address}/{len(packed) * 8}") == packed
    assert unpack_address(packed) == address


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", "1.2.3.4/24", "fd00::/64", "a.b.c.d", "x::1"],
)
def test_refuses_what_is_no_single_address(text: str) -> None:
    with pytest.raises(ValueError):
        pack_address(text)


@given(addresses, st.integers(0, 128), addresses)
def test_prefix_covers_what_the_network_contains(
    base: object, length: int, address: object
) -> None:
    bits = len(ip_address(str(base)).packed) * 8
    network = ip_network(f"{base}/{min(length, bits)}", strict=False)
    prefix = pack_prefix(str(network))
    assert network_of(prefix) == network
    assert str(prefix) == str(network)
    assert (prefix.first, prefix.last) == (int(network[0]), int(network[-1]))
    packed = ip_address(str(address)).packed
    assert prefix.covers(packed) == (address in network)


def test_host_bits_are_cleared() -> None:
    assert pack_prefix("10.1.2.3/8") == Prefix(b"\x0a\0\0\0", 8)
