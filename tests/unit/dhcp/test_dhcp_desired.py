"""What a network needs, for many networks."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from calico_openstack.dhcp.desired import ANCHOR, LINK_LOCAL
from calico_openstack.dhcp.dnsmasq import Layout, Role, configuration
from calico_openstack.dhcp.model import INFINITE_LEASE, Mode, Route, Settings
from tests.unit.dhcp.examples import NET, V4, V6, plan, port, roles, service, subnet


def hosts(planned: object, role: Role) -> tuple[str, ...]:
    return service(planned, role).files["dhcp-hostsfile"]  # type: ignore[arg-type]


def options(planned: object, role: Role) -> tuple[str, ...]:
    return service(planned, role).files["dhcp-optsfile"]  # type: ignore[arg-type]


def test_without_ports_nothing_is_needed() -> None:
    planned = plan((), V4, V6)

    assert (planned.device, planned.services, planned.problems) == (None, (), ())


def test_an_address_without_subnet_is_told_and_costs_only_itself() -> None:
    planned = plan((port(1, "10.65.0.11", "10.99.0.11"), port(2, "10.99.0.12")), V4)

    assert [problem.reason for problem in planned.problems] == [
        "no subnet with DHCP is known for 10.99.0.11",
        "no subnet with DHCP is known for 10.99.0.12",
    ]
    assert hosts(planned, Role.DHCP4) == ("fa:16:3e:00:00:01,10.65.0.11,host-10-65-0-11.",)


def test_only_what_ports_use_is_served() -> None:
    planned = plan((port(1, "10.65.0.11"),), V4, V6, subnet("other", "10.66.0.0/24", "10.66.0.1"))

    assert roles(planned) == {Role.DHCP4}
    assert planned.device is not None
    assert planned.device.addresses == (ip_interface("10.65.0.1/24"),)


def test_the_device_has_gateways_and_what_dnsmasq_needs() -> None:
    planned = plan((port(1, "10.65.0.11", "fd65::11"),), V4, V6)

    assert planned.device is not None
    assert planned.device.name == "ns-11111111-aa"
    assert planned.device.addresses == (
        ip_interface("10.65.0.1/24"),
        ip_interface("fd65::1/64"),
        LINK_LOCAL,
    )


def test_subnets_without_usable_gateway_have_stand_ins() -> None:
    planned = plan(
        (port(1, "10.65.0.11", "fd65::11", "fd66::11"),),
        subnet("a", "10.65.0.0/24"),
        subnet("b", "fd65::/64"),
        subnet("c", "fd66::/64", "fe80::1"),
    )

    assert planned.device is not None
    assert planned.device.addresses == (
        ANCHOR,
        ip_interface("fd65::/64"),
        ip_interface("fd66::/64"),
        LINK_LOCAL,
    )
    assert "shared-network=169.254.1.1,10.65.0.0" in service(planned, Role.DHCP4).options


def test_the_mtu_is_what_fits_everywhere_and_each_port_is_told_its_own() -> None:
    ports = (port(1, "10.65.0.11", "fd65::11"), port(2, "10.65.0.12"))

    same = plan(ports, V4, V6)
    assert "dhcp-option-force=option:mtu,1500" in service(same, Role.DHCP4).options

    different = plan(ports, V4, V6, mtus={"tap1": 1400})
    assert different.device is not None
    assert different.device.mtu == 1400
    assert "ra-param=ns-11111111-aa,mtu:1400,0" in service(different, Role.DHCP6).options
    assert {
        "dhcp-option-force=tag:port-p1,option:mtu,1400",
        "dhcp-option-force=tag:port-p2,option:mtu,1500",
    } <= set(service(different, Role.DHCP4).options)

    tiny = plan(ports, V4, V6, mtus={"tap1": 576})
    assert tiny.device is not None
    assert tiny.device.mtu == 1280  # RFC 8200: less is no IPv6


def test_routes_include_the_default_route_unless_they_have_one() -> None:
    def routes(*found: tuple[str, str], gateway: str = "10.65.0.1") -> list[str]:
        told = tuple(Route(ip_interface(d).network, ip_address(n)) for d, n in found)  # type: ignore[arg-type]
        planned = plan((port(1, "10.65.0.11"),), subnet("v4", "10.65.0.0/24", gateway, routes=told))
        return [line.split(",", 2)[2] for line in options(planned, Role.DHCP4) if "route," in line]

    assert routes() == []
    assert routes(("169.254.169.254/32", "10.65.0.1")) == [
        "169.254.169.254/32,10.65.0.1,0.0.0.0/0,10.65.0.1"
    ]
    assert routes(("0.0.0.0/0", "10.65.0.9")) == ["0.0.0.0/0,10.65.0.9"]
    assert routes(("10.1.0.0/16", "10.65.0.9"), gateway="") == ["10.1.0.0/16,10.65.0.9"]
    assert routes(gateway="10.99.0.1") == ["10.99.0.1/32,0.0.0.0,0.0.0.0/0,10.99.0.1"]


def test_an_option_without_value_keeps_dnsmasqs_own_out() -> None:
    planned = plan((port(1, "10.65.0.11"),), subnet("v4", "10.65.0.0/24", dns_servers=[]))

    assert options(planned, Role.DHCP4)[:2] == (
        "tag:subnet-v4,option:router",
        "tag:subnet-v4,option:dns-server",
    )
    assert roles(planned) == {Role.DHCP4}


def test_the_network_has_a_name_server_only_where_clients_are_told_of_it() -> None:
    ports = (port(1, "10.65.0.11"),)

    assert Role.DNS not in roles(plan(ports, V4))
    silent = plan(ports, subnet("v4", "10.65.0.0/24", "10.65.0.1", dns_servers=None))
    assert "listen-address=10.65.0.1" in service(silent, Role.DNS).options
    assert "tag:subnet-v4,option:dns-server,10.65.0.1" in options(silent, Role.DHCP4)
    named = plan(
        ports,
        subnet("v4", "10.65.0.0/24", "10.65.0.1", dns_servers=["10.65.0.1", "192.0.2.53"]),
    )
    assert Role.DNS in roles(named)
    assert Role.DNS not in roles(plan(ports, subnet("v4", "10.65.0.0/24")))


def test_names_come_from_neutron_or_from_the_address() -> None:
    planned = plan(
        (port(1, "10.65.0.11", fqdn="web.example.org"), port(2, "10.65.0.12"), port(3, "fd65::3")),
        subnet("v4", "10.65.0.0/24", "10.65.0.1"),
        V6,
        settings=Settings(dns_domain="cloud", forwarders=(ip_address("192.0.2.1"),)),
    )

    assert service(planned, Role.DNS).files["addn-hosts"] == (
        "10.65.0.11\tweb.example.org web",
        "10.65.0.12\thost-10-65-0-12.cloud host-10-65-0-12",
        "fd65::3\thost-fd65-0000-0000-0000-0000-0000-0000-0003.cloud"
        " host-fd65-0000-0000-0000-0000-0000-0000-0003",
    )
    assert {"local=/cloud/", "server=192.0.2.1"} <= set(service(planned, Role.DNS).options)
    assert "tag:port-p1,option:domain-name,example.org" in options(planned, Role.DHCP4)


def test_a_client_is_offered_its_first_ipv4_and_all_stateful_ipv6_addresses() -> None:
    planned = plan(
        (port(1, "10.65.0.11", "10.66.0.11", "fd65::11", "fd66::11", "fd67::11"),),
        V4,
        subnet("b", "10.66.0.0/24", "10.66.0.1"),
        V6,
        subnet("c", "fd66::/64", "fd66::1"),
        subnet("d", "fd67::/64", "fd67::1", mode=Mode.SLAAC),
    )

    (line,) = hosts(planned, Role.DHCP4)
    assert ",10.65.0.11," in line
    (line,) = hosts(planned, Role.DHCP6)
    assert line == "fa:16:3e:00:00:01,[fd65::11],[fd66::11],host-" + ip_address("fd65::11").exploded.replace(":", "-") + "."  # noqa: E501 # fmt: skip


def test_ranges_say_how_ipv6_addresses_are_made() -> None:
    for mode, text in (
        (Mode.SLAAC, "ra-only,off-link"),
        (Mode.DHCPV6_STATELESS, "ra-stateless,off-link"),
        (Mode.DHCPV6_STATEFUL, "static,off-link"),
    ):
        planned = plan((port(1, "fd65::11"),), subnet("v6", "fd65::/64", "fd65::1", mode=mode))
        wanted = f"dhcp-range=set:subnet-v6,fd65::,{text},64,86400"
        assert wanted in service(planned, Role.DHCP6).options


def test_leases_may_last_for_ever() -> None:
    planned = plan((port(1, "10.65.0.11"),), V4, settings=Settings(lease_seconds=INFINITE_LEASE))

    wanted = "dhcp-range=set:subnet-v4,10.65.0.0,static,255.255.255.0,infinite"
    assert wanted in service(planned, Role.DHCP4).options


def test_hosts_files_set_no_tags() -> None:
    """dnsmasq 2.90 dies of a SIGHUP after it has used a tag that a hosts file sets."""
    planned = plan((port(1, "10.65.0.11", "fd65::11", fqdn="a.b"),), V4, V6)

    for role in (Role.DHCP4, Role.DHCP6):
        assert not any("set:" in line for line in hosts(planned, role))


def test_what_a_running_process_can_take_up_makes_no_new_generation() -> None:
    before = plan((port(1, "10.65.0.11", "fd65::11"),), V4, V6)
    after = plan(
        (port(1, "10.65.0.11", "fd65::11", fqdn="web.example.org"),),
        subnet(
            "v4",
            "10.65.0.0/24",
            "10.65.0.1",
            dns_servers=["192.0.2.99"],
            routes=(Route(ip_interface("10.1.0.0/16").network, ip_address("10.65.0.1")),),  # type: ignore[arg-type]
        ),
        subnet("v6", "fd65::/64", "fd65::1", dns_servers=["2001:db8::99"]),
    )

    for role in (Role.DHCP4, Role.DHCP6):
        assert service(before, role).files != service(after, role).files
        assert service(before, role).generation == service(after, role).generation


def test_what_a_running_process_cannot_take_up_makes_a_new_generation() -> None:
    base = plan((port(1, "10.65.0.11", "fd65::11"),), V4, V6)
    another_port = plan((port(1, "10.65.0.11", "fd65::11"), port(2, "10.65.0.12")), V4, V6)
    another_address = plan((port(1, "10.65.0.12", "fd65::12"),), V4, V6)
    swapped = [
        plan((port(1, f"10.65.0.{a}"), port(2, f"10.65.0.{b}")), V4) for a, b in ((1, 2), (2, 1))
    ]

    def generation(planned: object, role: Role) -> str:
        return service(planned, role).generation  # type: ignore[arg-type]

    assert generation(base, Role.DHCP4) != generation(another_port, Role.DHCP4)
    # A port without IPv6 is nothing to the process that serves IPv6.
    assert generation(base, Role.DHCP6) == generation(another_port, Role.DHCP6)
    # DHCPv4 remembers leases, which must not stand against the assignment.
    assert generation(base, Role.DHCP4) != generation(another_address, Role.DHCP4)
    assert generation(base, Role.DHCP6) == generation(another_address, Role.DHCP6)
    assert generation(swapped[0], Role.DHCP4) != generation(swapped[1], Role.DHCP4)


def test_a_configuration_names_its_files() -> None:
    wanted = service(plan((port(1, "10.65.0.11"),), V4), Role.DHCP4)
    text = configuration(wanted, Layout(f"/run/{NET}", Role.DHCP4), "nobody")

    assert f"dhcp-hostsfile=/run/{NET}/dhcp4.dhcp-hostsfile\n" in text
    assert f"pid-file=/run/{NET}/dhcp4-{wanted.generation}.ready\n" in text
    assert "user=nobody\n" in text
