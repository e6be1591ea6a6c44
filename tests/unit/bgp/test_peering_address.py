"""The addresses at which workloads find their host."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from calico_openstack.bgp.peering_address import INTERFACE, changes

ONE, SIX = ip_address("169.254.7.7"), ip_address("fd07::7")


def test_nothing_to_do() -> None:
    assert list(changes(None, ())) == []
    assert list(changes([ONE, SIX], {SIX, ONE})) == []


def test_the_interface_comes_and_goes() -> None:
    assert list(changes(None, [SIX])) == [
        ("link", "add", INTERFACE, "type", "bridge"),
        ("link", "set", INTERFACE, "up"),
        ("address", "add", "fd07::7/128", "dev", INTERFACE),
    ]
    assert list(changes([], ())) == [("link", "delete", INTERFACE)]


@pytest.mark.parametrize(("present", "wanted"), [([ONE], [SIX]), ([], [ONE]), ([ONE, SIX], [ONE])])
def test_each_change_is_one_command(present: list, wanted: list) -> None:  # type: ignore[type-arg]
    commands = list(changes(present, wanted))
    assert {c[1] for c in commands} <= {"add", "delete"}
    assert len(commands) == len(set(present) ^ set(wanted))
