"""The network side of a workload's operating system: its DHCP clients. Mostly pure.

A workload in a namespace does what a guest's image does: the kernel listens to router
advertisements, busybox asks by DHCP, and ISC's client asks by DHCPv6 where the subnet wants it.
The clients' scripts change the namespace only: their resolv.conf is the namespace's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from calico_openstack.lab.rest import Resource

# busybox's udhcpc calls it with the event as $1 and the lease in the environment.
UDHCPC_SCRIPT = """\
#!/bin/sh
case "$1" in
deconfig)
    ip -4 address flush dev "$interface"
    ip link set "$interface" up ;;
bound|renew)
    ip -4 address replace "$ip/${mask:-32}" dev "$interface"
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    set -- $staticroutes
    if [ $# -gt 0 ]; then
        # RFC 3442: with classless routes the router option is not used.
        while [ $# -gt 1 ]; do
            if [ "$2" = 0.0.0.0 ]; then ip route replace "$1" dev "$interface"
            else ip route replace "$1" via "$2" dev "$interface" onlink; fi
            shift 2
        done
    else
        for gateway in $router; do
            ip route replace default via "$gateway" dev "$interface" onlink
            break
        done
    fi
    if [ -n "$dns" ]; then
        for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
    fi
    echo "lease: address $ip/$mask router $router routes $staticroutes dns $dns mtu $mtu" ;;
esac
"""

# ISC's dhclient calls it with everything in the environment. The prefix length that it makes up
# for a DHCPv6 address is not used: DHCPv6 gives addresses only, routes come from advertisements.
DHCLIENT_SCRIPT = """\
#!/bin/sh
case "$reason" in
BOUND6|RENEW6|REBIND6)
    if [ -n "$new_ip6_address" ]; then
        ip -6 address replace "$new_ip6_address/128" dev "$interface" \\
            valid_lft "${new_max_life:-forever}" preferred_lft "${new_preferred_life:-forever}"
    fi ;;
EXPIRE6|RELEASE6|STOP6|DEPREF6)
    [ -n "$old_ip6_address" ] && ip -6 address del "$old_ip6_address/128" dev "$interface" ;;
esac
for server in $new_dhcp6_name_servers; do
    grep -q "nameserver $server\\$" /etc/resolv.conf ||
        echo "nameserver $server" >> /etc/resolv.conf
done
exit 0
"""

# A guest asks for a router as soon as it is there, and again soon when nobody answered.
SYSCTLS = {
    "net.ipv6.conf.eth0.router_solicitation_delay": "0",
    "net.ipv6.conf.eth0.router_solicitation_interval": "1",
    "net.ipv6.conf.eth0.accept_ra": "1",
}


class Method(StrEnum):
    """How a workload comes to an address."""

    DHCP4 = "DHCP"
    SLAAC = "SLAAC"
    DHCP6 = "DHCPv6"
    STATIC = "set by hand, for want of DHCP"


@dataclass(frozen=True)
class Addressing:
    """An address that Neutron gave to a port, and how the workload will learn it."""

    address: str
    prefix_length: int
    gateway: str | None
    method: Method


def addressing(port: Resource, subnets: Sequence[Resource]) -> tuple[Addressing, ...]:
    """How the workload of a port comes to each of the port's addresses."""
    by_id = {subnet["id"]: subnet for subnet in subnets}
    return tuple(
        Addressing(
            address=fixed["ip_address"],
            prefix_length=int(by_id[fixed["subnet_id"]]["cidr"].partition("/")[2]),
            gateway=by_id[fixed["subnet_id"]]["gateway_ip"],
            method=_method(by_id[fixed["subnet_id"]]),
        )
        for fixed in port["fixed_ips"]
    )


def _method(subnet: Resource) -> Method:
    if subnet["ip_version"] == 4:
        return Method.DHCP4 if subnet["enable_dhcp"] else Method.STATIC
    if subnet["ipv6_address_mode"] in {"slaac", "dhcpv6-stateless"}:
        return Method.SLAAC
    if subnet["enable_dhcp"] and subnet["ipv6_address_mode"] == "dhcpv6-stateful":
        return Method.DHCP6
    return Method.STATIC


def udhcpc_command(folder: Path, hostname: str) -> list[str]:
    """The DHCP client of a workload: stays, renews, and asks until it is answered."""
    return [
        *("busybox", "udhcpc", "-f", "-i", "eth0", "-s", str(folder / "udhcpc.sh")),
        *("-t", "10", "-T", "1", "-A", "1"),
        *("-O", "staticroutes", "-O", "mtu", "-x", f"hostname:{hostname}"),
    ]


def dhclient_command(folder: Path) -> list[str]:
    """The DHCPv6 client of a workload: stays and renews. Its identity is made from the MAC."""
    return [
        *("dhclient", "-6", "-d", "-D", "LL", "-sf", str(folder / "dhclient.sh")),
        *("-cf", str(folder / "dhclient.conf"), "-lf", str(folder / "dhclient6.leases")),
        *("-pf", str(folder / "dhclient6.pid"), "eth0"),
    ]


def clients(folder: Path, hostname: str, plan: Sequence[Addressing]) -> dict[str, list[str]]:
    """The clients that a workload needs: name to command."""
    methods = {entry.method for entry in plan}
    wanted: dict[str, list[str]] = {}
    if Method.DHCP4 in methods:
        wanted["udhcpc"] = udhcpc_command(folder, hostname)
    if Method.DHCP6 in methods:
        wanted["dhclient6"] = dhclient_command(folder)
    return wanted


def static_commands(plan: Sequence[Addressing]) -> tuple[str, ...]:
    """Lines of `ip -batch` for the addresses that no protocol gives."""
    lines = []
    for entry in plan:
        if entry.method is not Method.STATIC:
            continue
        lines.append(f"address add {entry.address}/{entry.prefix_length} dev eth0")
        if entry.gateway is not None:
            default = "::/0" if ip_address(entry.gateway).version == 6 else "default"
            lines.append(f"route replace {default} via {entry.gateway} dev eth0 onlink")
    return tuple(lines)


def write_scripts(folder: Path) -> None:
    """Write the clients' scripts into the workload's folder."""
    for name, text in (("udhcpc.sh", UDHCPC_SCRIPT), ("dhclient.sh", DHCLIENT_SCRIPT)):
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
    (folder / "dhclient.conf").write_text("timeout 5;\nretry 1;\ninitial-interval 1;\n")
