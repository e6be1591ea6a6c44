"""A sender, a router and a receiver in namespaces, as on a compute host. Needs root.

The router has the TAP devices' place; what it does with packets is programmed by the caller.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render.dataplane import DesiredDataplane

_TAP_MAC = "ee:ee:ee:ee:ee:ee"
# Connection tracking as nftables begins it, and nothing else of ours.
BARE = "table ip bare { chain forward { type filter hook forward priority 0;\
 ct state established,related accept; }; }"
# Drops what is to be counted before a socket takes it; what is to be answered is shorter.
_SINK = "table netdev sink { chain sink { type filter hook ingress device eth0 priority 0;\
 udp length >= 20 drop; }; }"
# Of interfaces that are not there.
_FIRST_INDEX = 100_000
FIRST_PORT, ECHO_PORT, TCP_PORT = 20000, 5001, 5002


class End(Struct, frozen=True):
    """One end of a flow: its TAP device, its address, and the MAC that Neutron gave it."""

    interface: str
    address: str
    mac: str


class PacketHost(Struct):
    """What is programmed for a load, and whose packets are measured."""

    desired: DesiredDataplane
    sender: End
    receiver: End


def plug_others(driver: NftDriver, host: PacketHost) -> None:
    """Have elements of the endpoints that are not plugged as well: any index does for these."""
    others = host.desired.interfaces.keys() - {host.sender.interface, host.receiver.interface}
    driver.interfaces_changed(
        {interface: number for number, interface in enumerate(sorted(others), _FIRST_INDEX)}
    )


class PacketPath:
    """Three namespaces, whose names begin with *name*; made and removed as a context."""

    def __init__(self, name: str, sender: End, receiver: End, traffic: Path) -> None:
        self.router, self.sender, self.receiver = (f"{name}-{each}" for each in "rsd")
        self._from, self._to = sender, receiver
        self._traffic = traffic
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> PacketPath:
        for namespace in (self.router, self.sender, self.receiver):
            _run("ip", "netns", "add", namespace)
            _run("ip", "-n", namespace, "link", "set", "lo", "up")
        # Felix always has flows counted: part of connection tracking, not of the rules.
        self.write_sysctls("net/ipv4/ip_forward=1", "net/netfilter/nf_conntrack_acct=1")
        self.write_sysctls("net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0")
        for namespace, end in ((self.sender, self._from), (self.receiver, self._to)):
            self._plug(namespace, end)
        self.nft(_SINK, self.receiver)
        for kind, port in (("echo", ECHO_PORT), ("listen", TCP_PORT)):
            command = self._command(self.receiver, kind, self._to.address, str(port))
            self._servers.append(subprocess.Popen(command))
        time.sleep(0.1)
        return self

    def __exit__(self, *exception: object) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        for namespace in (self.router, self.sender, self.receiver):
            _run("ip", "netns", "del", namespace)

    def _plug(self, namespace: str, end: End) -> None:
        _run(
            *("ip", "-n", self.router, "link", "add", end.interface, "address", _TAP_MAC),
            *("type", "veth", "peer", "name", "eth0", "address", end.mac, "netns", namespace),
        )
        inside = (
            "link set eth0 up",
            f"addr add {end.address}/32 dev eth0",
            "route add 169.254.1.1 dev eth0",
            f"neigh add 169.254.1.1 lladdr {_TAP_MAC} dev eth0 nud permanent",
            "route add default via 169.254.1.1 dev eth0",
        )
        _run("ip", "-n", namespace, "-batch", "-", stdin="\n".join(inside))
        outside = (
            f"link set {end.interface} up",
            f"neigh replace {end.address} lladdr {end.mac} dev {end.interface} nud permanent",
            f"route replace {end.address}/32 dev {end.interface} proto boot metric 1024",
        )
        _run("ip", "-n", self.router, "-batch", "-", stdin="\n".join(outside))

    def write_sysctls(self, *assignments: str) -> None:
        """Write parameters of the router, as paths below /proc/sys with their values."""
        for each in assignments:
            path, _, value = each.partition("=")
            script = f"echo {value} > /proc/sys/{path}"
            _run("ip", "netns", "exec", self.router, "sh", "-c", script)

    def nft(self, rules: str, namespace: str = "") -> None:
        """Have nft(8) load *rules*."""
        _run("ip", "netns", "exec", namespace or self.router, "nft", "-f", "-", stdin=rules)

    def established(self, count: int) -> float:
        """Return the nanoseconds of a packet of an established flow."""
        return self._measure("established", ECHO_PORT, str(count))

    def first(self, count: int) -> float:
        """Return the nanoseconds of a flow's first packet."""
        return self._measure("first", FIRST_PORT, str(count))

    def connection(self, seconds: float) -> float:
        """Return the nanoseconds of a TCP connection with one byte each way."""
        return self._measure("connect", TCP_PORT, str(seconds))

    def forget_flows(self) -> None:
        """Empty the router's table of flows."""
        command = ["ip", "netns", "exec", self.router, "conntrack", "-F"]
        subprocess.run(command, check=False, capture_output=True)

    def _measure(self, kind: str, port: int, much: str) -> float:
        command = self._command(self.sender, kind, self._to.address, str(port), much)
        number, nanoseconds = map(int, _run(*command).split())
        return nanoseconds / number

    def _command(self, namespace: str, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", namespace, str(self._traffic), *arguments]


@contextmanager
def traffic_program(folder: Path) -> Iterator[Path]:
    """Compile the program that makes the traffic, without libraries of the machine at hand."""
    source, program = Path(__file__).with_name("traffic.c"), folder / "traffic"
    _run("gcc", "-O2", "-Wall", "-static", "-o", str(program), str(source))
    yield program
    program.unlink()


def _run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout
