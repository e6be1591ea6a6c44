"""Router advertisements and DHCPv6 on a real kernel: root, own namespaces."""

from __future__ import annotations

import json
import re

import pytest

from tests.dhcp.host import Host, Workload
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root

NET = "11111111-aaaa-4000-8000-000000000001"
OTHER = "22222222-bbbb-4000-8000-000000000002"
SLAAC_ADDRESS = "fd65::f816:3eff:fe00:1"


def put_subnet(host: Host, mode: str, **more: object) -> str:
    modes = {"ipv6_ra_mode": mode, "ipv6_address_mode": mode} if mode else {}
    values = {"gateway_ip": "fd65::1", "dns_servers": ["2001:db8::53"], **modes, **more}
    return host.put_subnet(NET, "fd65::/64", **values)


def advertisement(workload: Workload) -> dict[str, str]:
    """Return what a router says of itself, by rdisc6's names."""
    text = workload.routers()
    return {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in text.splitlines())
    } | ({"Prefix": found[1]} if (found := re.search(r"Prefix +: (\S+)", text)) else {})


@pytest.mark.parametrize(
    ("mode", "managed", "other", "autonomous"),
    [
        ("slaac", "No", "No", "Yes"),
        ("dhcpv6-stateless", "No", "Yes", "Yes"),
        ("dhcpv6-stateful", "Yes", "Yes", "No"),
        ("", "Yes", "Yes", "No"),
    ],
)
def test_advertisements_say_how_addresses_are_made(
    host: Host, mode: str, managed: str, other: str, autonomous: str
) -> None:
    put_subnet(host, mode)
    workload = host.workload(NET, SLAAC_ADDRESS)
    host.start_agent()
    host.wait_for(NET, "dhcp6")

    said = advertisement(workload)

    assert said["Prefix"] == "fd65::/64"
    assert said["Stateful address conf."] == managed
    assert said["Stateful other conf."] == other
    assert said["Autonomous address conf."] == autonomous
    assert said["On-link"] == "No"
    assert said["Router lifetime"].startswith("1800")
    assert said["MTU"].startswith("1500")
    assert said["Recursive DNS server"] == "2001:db8::53"


def test_without_gateway_the_host_is_no_default_router(host: Host) -> None:
    put_subnet(host, "slaac", gateway_ip=None)
    workload = host.workload(NET, SLAAC_ADDRESS)
    host.start_agent()
    host.wait_for(NET, "dhcp6")

    said = advertisement(workload)

    assert said["Router lifetime"].startswith("0")
    assert said["Prefix"] == "fd65::/64"


def test_a_kernel_configures_itself_by_slaac(host: Host) -> None:
    put_subnet(host, "slaac")
    host.start_agent()
    workload = host.workload(NET, SLAAC_ADDRESS)

    def configured() -> bool:
        inside = workload.inside
        addresses = json.loads(inside.ip("-j", "-6", "address", "show", "dev", "eth0"))
        routes = json.loads(inside.ip("-j", "-6", "route", "show", "default"))
        found = {entry["local"] for entry in addresses[0]["addr_info"]}
        return SLAAC_ADDRESS in found and bool(routes)

    eventually(configured, 20, "an address and a default route")
    # Neighbours are reached through the host: no route for the prefix.
    assert "fd65::/64" not in workload.inside.ip("-6", "route", "show")
    workload.inside.run("ping", "-c", "1", "-W", "2", "fd65::1")


def test_stateful_addresses_follow_the_mac_whatever_the_client_calls_itself(host: Host) -> None:
    put_subnet(host, "dhcpv6-stateful")
    workload = host.workload(NET, "fd65::11")
    workload.put(fqdn="web.example.org.")
    host.start_agent(DhcpLeaseDuration="7200")
    host.wait_for(NET, "dhcp6")

    told = workload.dhclient("-6", "-D", "LL")
    assert told["ip6_address"] == "fd65::11"
    assert told["max_life"] == "7200"
    assert told["dhcp6_name_servers"] == "2001:db8::53"
    assert told["dhcp6_domain_search"] == "example.org."

    # A machine that was built anew has another DUID.
    workload.inside.ip("address", "flush", "dev", "eth0", "scope", "global")
    assert workload.dhclient("-6", "-D", "LLT")["ip6_address"] == "fd65::11"


def test_a_stateful_address_moves_to_another_port_at_once(host: Host) -> None:
    put_subnet(host, "dhcpv6-stateful")
    first, second = host.workload(NET, "fd65::11"), host.workload(NET, "fd65::12")
    host.start_agent()
    before = host.wait_for(NET, "dhcp6")
    assert first.dhclient("-6", "-D", "LL")["ip6_address"] == "fd65::11"

    first.addresses, second.addresses = second.addresses, first.addresses
    first.put()
    second.put()

    def moved() -> bool:
        second.inside.ip("address", "flush", "dev", "eth0", "scope", "global")
        return second.dhclient("-6", "-D", "LL")["ip6_address"] == "fd65::11"

    eventually(moved, 15, "the address at the other port")
    # Nothing of this is in what only a new process would take up.
    assert host.pids(NET) == before


def test_stateless_clients_get_options_only(host: Host) -> None:
    put_subnet(host, "dhcpv6-stateless")
    workload = host.workload(NET, SLAAC_ADDRESS)
    host.start_agent()
    host.wait_for(NET, "dhcp6")

    told = workload.dhclient("-6", "-S")

    assert told["dhcp6_name_servers"] == "2001:db8::53"
    assert "ip6_address" not in told


def test_a_network_never_advertises_another_ones_prefix(host: Host) -> None:
    put_subnet(host, "slaac")
    host.put_subnet(
        OTHER,
        "fd66::/64",
        gateway_ip="fd66::1",
        dns_servers=["2001:db8::53"],
        ipv6_ra_mode="slaac",
        ipv6_address_mode="slaac",
    )
    first = host.workload(NET, SLAAC_ADDRESS)
    second = host.workload(OTHER, "fd66::f816:3eff:fe00:2")
    host.start_agent()
    host.wait_for(NET, "dhcp6")
    host.wait_for(OTHER, "dhcp6")

    assert re.findall(r"Prefix +: (\S+)", first.routers()) == ["fd65::/64"]
    assert re.findall(r"Prefix +: (\S+)", second.routers()) == ["fd66::/64"]


def test_both_families_and_the_networks_own_name_server(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1")
    put_subnet(host, "dhcpv6-stateful", dns_servers=[])
    workload = host.workload(NET, "10.65.0.11", "fd65::11")
    host.start_agent()
    host.wait_for(NET, "dhcp4", "dhcp6", "dns")

    assert workload.dhcp()["dns"] == "10.65.0.1"
    told = workload.dhclient("-6", "-D", "LL")
    assert told["ip6_address"] == "fd65::11"
    assert told["dhcp6_name_servers"] == "fd65::1"
    name = "host-10-65-0-11.openstacklocal"
    workload.inside.ip("route", "replace", "10.65.0.1", "dev", "eth0")
    answer = workload.inside.run("busybox", "nslookup", name, "10.65.0.1", check=False).stdout
    assert "10.65.0.11" in answer
