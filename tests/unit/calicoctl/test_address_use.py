"""Which addresses are used, and which should not be."""

from __future__ import annotations

import pytest

from calico_openstack.calicoctl.address_use import (
    Range,
    Use,
    owner_lines,
    problems,
    ranges_of,
    uses_of,
    utilisation,
)
from calico_openstack.calicoctl.node_status import boxed
from calico_openstack.datamodel import (
    DhcpSubnet,
    IpNat,
    IPPool,
    IPPoolSpec,
    Metadata,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
)


def _uses(port: str, *networks: str, pairs: tuple[str, ...] = (), floating: str = "") -> list[Use]:
    spec = WorkloadEndpointSpec(
        node="host",
        endpoint=port,
        workload="vm",
        ip_networks=(*networks, *pairs),
        allowed_ips=pairs,
        ip_nats=(IpNat(internal_ip="10.0.0.1", external_ip=floating),) if floating else (),
    )
    return list(uses_of([WorkloadEndpoint(metadata=Metadata(name=port), spec=spec)]))


def _ranges() -> list[Range]:
    pool = IPPool(metadata=Metadata(name="p"), spec=IPPoolSpec(cidr="198.51.100.0/24"))
    return ranges_of([pool], [DhcpSubnet(cidr="10.0.0.0/29", gateway_ip="10.0.0.1")])


def test_each_address_counts_once_in_its_range() -> None:
    uses = _uses("a", "10.0.0.2/32", "fd00::2/128", floating="198.51.100.7")
    uses += _uses("b", "10.0.0.3/32", pairs=("10.0.0.2/32",))
    assert list(utilisation(_ranges(), uses)) == [
        ["IP Pool", "198.51.100.0/24", "256", "1 (0%)", "0 (0%)", "255 (100%)"],
        ["Subnet", "10.0.0.0/29", "8", "2 (25%)", "1 (12%)", "5 (62%)"],
    ]


def test_a_large_range_is_counted_in_five_digits() -> None:
    ranges = ranges_of([], [DhcpSubnet(cidr="fd00::/64", gateway_ip=None)])
    assert next(utilisation(ranges, []))[2] == "1.8447e+19"


def test_who_has_an_address() -> None:
    uses = _uses("a", "10.0.0.2/32")
    assert list(owner_lines("10.0.0.2", _ranges(), uses)) == [
        "IP 10.0.0.2 is in use",
        "  own address of port a of instance vm on host",
        "  in Subnet 10.0.0.0/29",
    ]
    assert next(owner_lines("10.0.0.3", _ranges(), uses)) == "10.0.0.3 is not assigned"
    with pytest.raises(ValueError, match="does not appear to be"):
        list(owner_lines("10.0.0.300", (), ()))


def test_an_address_of_two_ports_is_a_problem_and_a_shared_pair_is_none() -> None:
    shared = _uses("a", "10.0.0.2/32") + _uses("b", "10.0.0.3/32", pairs=("10.0.0.2/32",))
    assert not list(problems(_ranges(), shared))
    (problem,) = problems(_ranges(), [*shared, *_uses("c", "10.0.0.3/32")])
    assert problem.startswith("10.0.0.3 is used by 2 ports: b on host, c on host")


@pytest.mark.parametrize(
    ("address", "why"), [("10.0.0.9", "in no IP pool and no subnet"), ("10.0.0.1", "the gateway")]
)
def test_addresses_that_no_port_should_have_are_told(address: str, why: str) -> None:
    (problem,) = problems(_ranges(), _uses("a", f"{address}/32"))
    assert why in problem


def test_nothing_is_outside_where_there_is_no_range_of_its_family() -> None:
    assert not list(problems(_ranges(), _uses("a", "fd00::1/128")))


def test_numbers_of_a_box_are_aligned_to_the_right() -> None:
    lines = list(boxed(("A", "TOTAL"), [("x", "1")], right={1}))
    assert lines[1:4:2] == ["| A | TOTAL |", "| x |     1 |"]


def test_ranges_within_ranges_each_have_their_addresses() -> None:
    pools = [
        IPPool(metadata=Metadata(name=str(length)), spec=IPPoolSpec(cidr=f"10.0.0.0/{length}"))
        for length in (8, 24, 30)
    ]
    uses = _uses("a", "10.0.0.2/32", "10.0.0.9/32", "10.9.0.1/32", "fd00::1/128")
    shown = [(row[1], row[3]) for row in utilisation(ranges_of(pools, []), uses)]
    assert shown == [
        ("10.0.0.0/8", "3 (0%)"),
        ("10.0.0.0/24", "2 (1%)"),
        ("10.0.0.0/30", "1 (25%)"),
    ]
