"""Aggregates and blocks."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.bgp.extras import Aggregates
from calico_openstack.bgp.origination import (
    Block,
    affine_block,
    affinity_prefix,
    affinity_state,
    aggregated,
    blocks_of,
)

SUBNETS = [ip_network(n) for n in ("10.65.1.0/24", "10.65.0.0/16", "fd65::/64", "10.66.0.1/32")]


def texts(*networks: object) -> list[str]:
    return [str(network) for network in networks]


def test_subnets_and_named_networks_of_one_family() -> None:
    aggregates = Aggregates((ip_network("203.0.113.0/24"),), subnets=True)
    assert texts(*aggregated(aggregates, SUBNETS, 4)) == ["10.65.0.0/16", "203.0.113.0/24"]
    assert texts(*aggregated(aggregates, SUBNETS, 6)) == ["fd65::/64"]


def test_only_what_is_asked_for() -> None:
    assert aggregated(None, SUBNETS, 4) == ()
    assert aggregated(Aggregates((ip_network("203.0.113.0/24"),)), SUBNETS, 6) == ()


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 31)), max_size=20))
def test_every_network_is_covered_and_by_one_only(parts: list[tuple[int, int]]) -> None:
    networks = [IPv4Network((address, length), strict=False) for address, length in parts]
    found = aggregated(Aggregates(subnets=True), networks, 4)
    for network in networks:
        covers = [f for f in found if isinstance(f, IPv4Network) and network.subnet_of(f)]
        assert len(covers) == 1
    assert set(found) <= set(networks)


def test_keys_of_affinities() -> None:
    prefix = affinity_prefix("h1")
    assert affine_block(prefix + "ipv4/block/10.1.2.64-26") == ip_network("10.1.2.64/26")
    assert affine_block(prefix + "ipv6/block/fd00::40-122") == ip_network("fd00::40/122")
    for wrong in (
        "ipv4/block/fd00::40-122",
        "ipv4/block/10.1.2.65-26",
        "ipv4/block/nonsense",
        "ipv4/block/",
        "ipv4/10.1.2.64-26",
    ):
        assert affine_block(prefix + wrong) is None


def test_states_of_affinities() -> None:
    assert affinity_state(b'{"state":"confirmed"}') == "confirmed"
    assert affinity_state(b"{}") == ""
    for wrong in (b"[]", b"{", b'{"state":1}', b"\xff"):
        assert affinity_state(wrong) is None


def test_blocks() -> None:
    networks = [ip_network(f"10.1.{i}.0/26") for i in range(4)]
    states = dict(zip(networks, ("pendingDeletion", "confirmed", "", "pending"), strict=True))
    states[ip_network("10.0.0.1/32")] = "confirmed"
    assert blocks_of(states) == (
        Block(networks[0], announced=False),
        Block(networks[1], announced=True),
        Block(networks[2], announced=True),
    )
