"""The order of ``get --sort-by``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.calicoctl.kinds import Row, UnknownColumnError
from calico_openstack.calicoctl.sorting import SortError, in_order, sort_key
from calico_openstack.datamodel import IPPool, Node, Tier


def _tier(name: str, **spec: object) -> Row:
    return {"metadata": {"name": name}, "spec": spec}


def _names(rows: list[Row]) -> list[str]:
    return [row["metadata"]["name"] for row in rows]


@pytest.mark.parametrize("by", ["ORDER", "order", ".spec.order", "{.spec.order}"])
def test_numbers_are_in_their_own_order_and_nothing_comes_last(by: str) -> None:
    rows = [_tier("none"), _tier("b", order=1000.0), _tier("a", order=9.5)]
    assert _names(in_order(rows, Tier, by)) == ["a", "b", "none"]


def test_digits_in_names_count_as_numbers() -> None:
    rows = [_tier("host-10"), _tier("host-9"), _tier("a")]
    assert _names(in_order(rows, Node, "name")) == ["a", "host-9", "host-10"]


def test_networks_are_in_the_order_of_addresses() -> None:
    nets = ("fd00::/64", "10.0.0.0/8", "9.0.0.0/8", "10.0.0.0/16")
    rows = [_tier(net, cidr=net) for net in nets]
    sorted_names = _names(in_order(rows, IPPool, "cidr"))
    assert sorted_names == ["9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16", "fd00::/64"]


def test_an_unknown_heading_names_those_that_there_are() -> None:
    with pytest.raises(UnknownColumnError, match="NAME, ORDER"):
        in_order([], Tier, "ordr")


def test_a_member_that_nothing_has_is_an_error() -> None:
    with pytest.raises(SortError, match=r"\.spec\.ordr.*-o yaml"):
        in_order([_tier("a", order=1)], Tier, ".spec.ordr")


@given(st.lists(st.none() | st.booleans() | st.integers() | st.text() | st.ip_addresses()))
def test_any_values_can_be_compared(values: list[object]) -> None:
    rows = [_tier(str(i), order=value) for i, value in enumerate(values)]
    ordered = sorted(rows, key=lambda row: sort_key(row["spec"]["order"]))
    assert sorted(_names(ordered)) == sorted(_names(rows))
