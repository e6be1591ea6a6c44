"""The demonstration as a user sees it: addresses, routes, status, who reaches whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from calico_openstack.lab import machine, matrix, matrix_view
from calico_openstack.lab.commands import CommandError
from calico_openstack.lab.guest_image import prepare
from calico_openstack.lab.settings import DEFAULT_CACHE
from tests.scenario.cloud import Cloud, eventually


def test_packets_go_where_the_rules_want_them(cloud: Cloud) -> None:
    found = matrix.build(cloud.lab)
    assert [matrix_view.difference(entry) for entry in found.differences] == []
    passed = [entry for entry in found.entries if entry.wanted]
    assert {entry.family for entry in passed} == {4, 6}
    assert any(not entry.wanted for entry in found.entries)


def test_neutron_knows_what_is_alive(cloud: Cloud) -> None:
    eventually(cloud.agents_alive, "all agents are alive")
    assert {cloud.port_status(name) for name in cloud.store.names()} == {"ACTIVE"}


def test_every_router_has_a_route_to_each_workload(cloud: Cloud) -> None:
    for name in cloud.store.names():
        addresses = set(cloud.workload(name).addresses)
        for host in (*cloud.hosts, "tor"):
            eventually(
                lambda host=host, wanted=addresses: wanted <= cloud.routes(host),  # type: ignore[misc]
                f"{host} has routes to {name}",
            )


def test_a_workload_learns_by_dhcp_what_the_subnet_says(cloud: Cloud) -> None:
    network = cloud.neutron.create("networks", name="other", mtu=1400)
    for attributes in (
        {"ip_version": 4, "cidr": "10.66.0.0/24", "dns_nameservers": ["192.0.2.53"]},
        {"ip_version": 6, "cidr": "2001:db8:66::/64", "ipv6_ra_mode": "slaac",
         "ipv6_address_mode": "slaac"},
    ):  # fmt: skip
        cloud.neutron.create("subnets", network_id=network["id"], **attributes)
    try:
        cloud.boot("slaac1", network="other", security_groups=("web",))
        assert "192.0.2.53" in cloud.run("slaac1", "cat /etc/resolv.conf")
        workload = cloud.workload("slaac1")
        assert " mtu 1400 " in cloud.run(workload.host, f"ip link show dev {workload.interface}")
        assert " mtu 1400 " in cloud.run("slaac1", "ip link show dev eth0")
        assert "proto kernel_ra" in cloud.run("slaac1", "ip address show dev eth0") or (
            "dynamic" in cloud.run("slaac1", "ip -6 address show dev eth0 scope global")
        )
        for family in (4, 6):
            eventually(
                lambda family=family: cloud.reaches("client", "slaac1", 80, family=family),  # type: ignore[misc]
                "the client reaches it",
            )
    finally:
        cloud.remove_all_but(name for name in cloud.store.names() if name != "slaac1")
        cloud.neutron.delete("networks", network["id"])


def test_a_real_virtual_machine_is_a_workload_like_others(cloud: Cloud) -> None:
    try:
        prepare(DEFAULT_CACHE)
    except CommandError as error:
        pytest.skip(f"no kernel for a virtual machine can be had: {error}")
    cloud.boot("vm1", network="demo", security_groups=("web",), host=cloud.hosts[0], qemu=True)
    folder: Path = cloud.store.folder("vm1")
    for family in (4, 6):
        assert cloud.reaches("client", "vm1", family=family)
        target = cloud.address("web1", family)
        status, output = machine.execute(folder, ["ping", "-c", "2", "-W", "5", target])
        assert status == 0, output
    found = matrix.build(cloud.lab)
    assert [matrix_view.difference(entry) for entry in found.differences] == []
