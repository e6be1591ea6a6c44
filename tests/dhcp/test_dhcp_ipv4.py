"""DHCPv4 on a real kernel: root, own namespaces."""

from __future__ import annotations

import os
import signal

import pytest

from tests.dhcp.host import Host, Workload
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root

NET = "11111111-aaaa-4000-8000-000000000001"
OTHER = "22222222-bbbb-4000-8000-000000000002"


def test_a_workload_gets_everything_that_its_subnet_says(host: Host) -> None:
    host.put_subnet(
        NET,
        "10.65.0.0/24",
        gateway_ip="10.65.0.1",
        dns_servers=["192.0.2.53", "192.0.2.54"],
        host_routes=[{"destination": "169.254.169.254/32", "nexthop": "10.65.0.1"}],
    )
    workload = host.workload(NET, "10.65.0.11")
    workload.put(fqdn="web.example.org.", allowed=["10.65.0.99"])
    host.start_agent(DhcpLeaseDuration="7200")
    host.wait_for(NET, "dhcp4")

    told = workload.dhcp()

    assert told["ip"] == "10.65.0.11"
    assert told["mask"] == "24"
    assert told["router"] == "10.65.0.1"
    assert told["routes"] == "169.254.169.254/32 10.65.0.1 0.0.0.0/0 10.65.0.1"
    assert told["dns"] == "192.0.2.53 192.0.2.54"
    assert told["mtu"] == "1500"
    assert told["lease"] == "7200"
    assert (told["hostname"], told["domain"]) == ("web", "example.org")
    assert told["server"] == "10.65.0.1"


@pytest.mark.parametrize("name", ["123", "5d", "0", "infinite", "ignore"])
def test_a_name_is_not_taken_for_a_lease_time_or_command(host: Host, name: str) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1")
    workload = host.workload(NET, "10.65.0.11")
    workload.put(fqdn=f"{name}.example.org.")
    host.start_agent(DhcpLeaseDuration="7200")
    host.wait_for(NET, "dhcp4", "dns")

    told = workload.dhcp()

    assert (told["ip"], told["lease"]) == ("10.65.0.11", "7200")
    assert (told["hostname"], told["domain"]) == (name, "example.org")


def test_changed_options_reach_a_renewing_client_without_a_new_process(host: Host) -> None:
    subnet = {"gateway_ip": "10.65.0.1", "dns_servers": ["192.0.2.53"]}
    subnet_id = host.put_subnet(NET, "10.65.0.0/24", **subnet)
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    pids = host.wait_for(NET, "dhcp4")
    client = workload.dhcp_client()
    eventually(lambda: client.told.get("dns") == "192.0.2.53", what="first lease")

    host.put_subnet(NET, "10.65.0.0/24", subnet_id, **subnet | {"dns_servers": ["192.0.2.99"]})

    def told_anew() -> bool:
        client.renew()
        eventually(lambda: bool(client.told), what="an answer to the renewal")
        return client.told["dns"] == "192.0.2.99"

    eventually(told_anew, what="the new name server")
    assert client.told["event"] == "renew"
    assert host.pids(NET) == pids


def test_a_subnet_without_gateway_is_served_and_gives_no_route(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", dns_servers=["192.0.2.53"])
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4")

    told = workload.dhcp()

    assert told["ip"] == "10.65.0.11"
    assert (told["router"], told["routes"]) == ("", "")
    assert told["dns"] == "192.0.2.53"


def test_a_gateway_outside_of_the_subnet_is_declared_on_the_link(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.99.0.1", dns_servers=["192.0.2.53"])
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4")

    assert workload.dhcp()["routes"] == "10.99.0.1/32 0.0.0.0 0.0.0.0/0 10.99.0.1"


def test_two_networks_are_independent(host: Host) -> None:
    for network, prefix in ((NET, "10.65.0"), (OTHER, "10.66.0")):
        host.put_subnet(
            network, f"{prefix}.0/24", gateway_ip=f"{prefix}.1", dns_servers=["192.0.2.53"]
        )
    # Neutron lets the same MAC be used in two networks.
    first = host.workload(NET, "10.65.0.11", mac="fa:16:3e:00:00:01")
    second = host.workload(OTHER, "10.66.0.12", mac="fa:16:3e:00:00:01")
    host.start_agent()
    before = host.wait_for(NET, "dhcp4")
    host.wait_for(OTHER, "dhcp4")

    clients = [first.dhcp_client(), second.dhcp_client()]
    for client, address in zip(clients, ("10.65.0.11", "10.66.0.12"), strict=True):
        eventually(lambda c=client, a=address: c.told.get("ip") == a, what=f"lease of {address}")
    # Renewals are unicast, to processes that share a port.
    for client in clients:
        client.renew()
        eventually(lambda c=client: c.told.get("event") == "renew", 3, "an answer by unicast")

    host.put_subnet(OTHER, "10.67.0.0/24", gateway_ip="10.67.0.1")
    second.delete()
    host.wait_for(OTHER)
    assert host.pids(NET) == before
    assert first.dhcp()["ip"] == "10.65.0.11"


def test_an_address_goes_to_another_mac_at_once(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1", dns_servers=["192.0.2.53"])
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4")
    assert workload.dhcp()["ip"] == "10.65.0.11"

    # The same port with another MAC.
    workload.inside.ip("link", "set", "eth0", "address", "fa:16:3e:99:99:99")
    workload.put(mac="fa:16:3e:99:99:99")
    eventually(lambda: workload.dhcp(timeout=1).get("ip") == "10.65.0.11", 15, "new MAC")

    # The same address at another port.
    workload.delete()
    successor = host.workload(NET, "10.65.0.11")
    eventually(lambda: successor.dhcp(timeout=1).get("ip") == "10.65.0.11", 15, "new port")


def test_a_client_is_confirmed_by_a_server_that_never_saw_it(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1", dns_servers=["192.0.2.53"])
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    pid = host.wait_for(NET, "dhcp4")["dhcp4"]
    client = workload.dhcp_client()
    eventually(lambda: client.told.get("ip") == "10.65.0.11", what="lease")

    os.kill(pid, signal.SIGKILL)
    eventually(lambda: host.pids(NET).get("dhcp4", pid) != pid, what="a new process")
    client.renew()

    eventually(lambda: client.told.get("event") == "renew", 5, "confirmation")
    assert client.told["ip"] == "10.65.0.11"


def test_a_jumbo_interface_has_its_mtu_told(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1", dns_servers=["192.0.2.53"])
    large, small = host.workload(NET, "10.65.0.11"), host.workload(NET, "10.65.0.12")
    host.start_agent()
    host.wait_for(NET, "dhcp4")
    host.namespace.ip("link", "set", large.tap, "mtu", "1400")

    eventually(lambda: large.dhcp(timeout=2).get("mtu") == "1400", 15, "the new MTU")
    assert small.dhcp()["mtu"] == "1500"


def test_iscs_client_takes_the_lease_too(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1", dns_servers=["192.0.2.53"])
    workload = host.workload(NET, "10.65.0.11")
    host.start_agent()
    host.wait_for(NET, "dhcp4")

    told = workload.dhclient()

    assert told["ip_address"] == "10.65.0.11"
    assert told["routers"] == "10.65.0.1"
    assert told["subnet_mask"] == "255.255.255.0"
    assert told["interface_mtu"] == "1500"
    assert told["domain_name_servers"] == "192.0.2.53"


def test_the_networks_own_name_server_knows_its_ports(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1")
    workload = host.workload(NET, "10.65.0.11")
    workload.put(fqdn="web.example.org.")
    host.start_agent()
    pids = host.wait_for(NET, "dhcp4", "dns")

    told = workload.dhcp()
    assert told["dns"] == "10.65.0.1"
    workload.inside.ip("address", "replace", "10.65.0.11/24", "dev", "eth0")
    assert "10.65.0.11" in lookup(workload, "web.example.org")

    workload.put(fqdn="renamed.example.org.")
    eventually(lambda: "10.65.0.11" in lookup(workload, "renamed.example.org"), what="new name")
    assert host.pids(NET) == pids
    # Nobody to forward to.
    assert "10.65.0.11" not in lookup(workload, "example.com")


def test_a_name_server_listens_where_its_network_grows(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1")
    workload = host.workload(NET, "10.65.0.11")
    workload.put(fqdn="web.example.org.")
    host.start_agent()
    before = host.wait_for(NET, "dhcp4", "dns")
    workload.dhcp()
    workload.inside.ip("address", "replace", "10.65.0.11/24", "dev", "eth0")

    host.put_subnet(NET, "10.66.0.0/24", gateway_ip="10.66.0.1")
    workload.addresses = ("10.65.0.11", "10.66.0.11")
    workload.put(fqdn="web.example.org.")

    eventually(lambda: "10.66.0.11" in lookup(workload, "web.example.org"), what="new address")
    eventually(lambda: host.pids(NET)["dns"] != before["dns"], what="a new name server")
    workload.inside.ip("route", "replace", "10.66.0.1/32", "via", "10.65.0.1")
    eventually(
        lambda: "10.66.0.11" in lookup(workload, "web.example.org", "10.66.0.1"), what="answer"
    )
    assert "10.65.0.11" in lookup(workload, "web.example.org")


def lookup(workload: Workload, name: str, server: str = "10.65.0.1") -> str:
    result = workload.inside.run("busybox", "nslookup", name, server, check=False)
    return result.stdout.partition("\n\n")[2]
