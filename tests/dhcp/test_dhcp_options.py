"""Extra DHCP options of ports, as clients are told of them: root, own namespaces."""

from __future__ import annotations

from tests.dhcp.host import Host, Workload
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root

NET = "11111111-aaaa-4000-8000-000000000001"

# What a network boot asks for, by ISC's names.
_BOOT = (
    "bootfile-name, tftp-server-name, ntp-servers, root-path, routers, interface-mtu, nis-domain"
)


def test_a_port_is_told_its_options_and_others_are_not(host: Host) -> None:
    host.put_subnet(NET, "10.65.0.0/24", gateway_ip="10.65.0.1", dns_servers=["192.0.2.53"])
    plain, boots = host.workload(NET, "10.65.0.11"), host.workload(NET, "10.65.0.12")
    host.start_agent(NtpServers="192.0.2.9")
    pids = host.wait_for(NET, "dhcp4")

    boots.put(
        options=[
            ("bootfile-name", "pxe/linux.0,1 # 2", 4),
            ("tftp-server", "tftp.example.org", 4),
            ("server-ip-address", "192.0.2.66", 4),
            ("42", "192.0.2.10,192.0.2.11", 4),
            ("root-path", "192.0.2.66:/srv", 4),
            ("mtu", "1400", 4),
            ("router", "", 4),
            ("tag:ipxe,40", "for-ipxe-only", 4),
            ("nonsense", "x", 4),
        ]
    )
    eventually(lambda: "'nonsense': there is no DHCPv4 option" in host.log, what="the refusal")
    told = boots.dhclient(request=_BOOT)

    assert told["ip_address"] == "10.65.0.12"
    assert told["bootfile_name"] == "pxe/linux.0,1 # 2"
    assert told["tftp_server_name"] == "tftp.example.org"
    assert told["next_server"] == "192.0.2.66"
    assert told["ntp_servers"] == "192.0.2.10 192.0.2.11"
    assert told["root_path"] == "192.0.2.66:/srv"
    assert told["interface_mtu"] == "1400"
    assert "routers" not in told
    assert "nis_domain" not in told

    told = plain.dhclient(request=_BOOT)
    assert told["routers"] == "10.65.0.1"
    assert told["ntp_servers"] == "192.0.2.9"
    assert told["interface_mtu"] == "1500"
    assert "bootfile_name" not in told
    # Nothing of this needed another process.
    assert host.pids(NET) == pids


def test_options_of_dhcpv6(host: Host) -> None:
    host.put_subnet(
        NET,
        "fd65::/64",
        gateway_ip="fd65::1",
        dns_servers=["2001:db8::53"],
        ipv6_ra_mode="dhcpv6-stateful",
        ipv6_address_mode="dhcpv6-stateful",
    )
    plain, told_more = host.workload(NET, "fd65::11"), host.workload(NET, "fd65::12")
    host.start_agent()
    pids = host.wait_for(NET, "dhcp6")
    told_more.put(options=[("sntp-server", "2001:db8::7", 6), ("dns-server", "2001:db8::99", 6)])

    def told(workload: Workload) -> dict[str, str]:
        return workload.dhclient("-6", "-D", "LL", request="dhcp6.name-servers, dhcp6.sntp-servers")

    eventually(
        lambda: told(told_more).get("dhcp6_sntp_servers") == "2001:db8::7", what="the new option"
    )
    assert told(told_more)["dhcp6_name_servers"] == "2001:db8::99"
    others = told(plain)
    assert others["dhcp6_name_servers"] == "2001:db8::53"
    assert "dhcp6_sntp_servers" not in others
    assert host.pids(NET) == pids
