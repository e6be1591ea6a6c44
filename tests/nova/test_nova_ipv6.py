"""Servers with IPv6: addresses by router advertisement and by DHCPv6."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from tests.nova.servers import Servers, eventually

_SLAAC, _STATEFUL = "2001:db8:66::/64", "2001:db8:67::/64"


def test_guests_have_ipv6_by_slaac_and_by_dhcpv6(servers: Servers) -> None:
    network = str(servers.neutron.create("networks", name="dual")["id"])
    servers.subnet(network, "10.66.0.0/24")
    servers.subnet(network, _SLAAC, "slaac")
    servers.subnet(network, _STATEFUL, "dhcpv6-stateful")
    first, second = (
        servers.create(f"vm{number}", host, network=network)
        for number, host in enumerate(servers.hosts, start=1)
    )
    found = {}
    for server in (first, second):
        servers.await_metadata(server)
        addresses = servers.addresses(server)
        (ipv4,) = [each for each in addresses if ip_address(each).version == 4]
        found[server] = ipv6 = [each for each in addresses if each != ipv4]
        prefixes = {str(ip_network(f"{each}/64", strict=False)) for each in ipv6}
        assert prefixes == {_SLAAC, _STATEFUL}

        def inside(ipv4: str = ipv4) -> str:
            return servers.ssh(ipv4, "ip -6 address show dev eth0 scope global")

        for each in ipv6:
            eventually(lambda a=each: f" {a}/" in inside(), f"{each} inside of the guest")
            # The way in is by IPv6 as well, over BGP.
            eventually(lambda a=each: servers.pings(a), f"{each} answers from outside")
            assert servers.ssh(each, "hostname") == servers.ssh(ipv4, "hostname")
        # Sources are told apart by routes alone: each address is that of a single host.
        assert "/64 dev eth0" not in servers.ssh(ipv4, "ip -6 route show | grep -v ^fe80")
    for each in found[second]:
        answer = servers.ssh(found[first][0], f"ping -c 3 -W 5 {each}")
        assert " 0% packet loss" in answer
    servers.delete_all()
    servers.neutron.delete("networks", network)
