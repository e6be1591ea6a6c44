"""A compute host of namespaces: a router with workloads behind tap-named interfaces."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.render.dataplane import (
    DataplaneDelta,
    DesiredDataplane,
    InterfaceSettings,
    NeighbourKey,
    Route,
)
from calico_openstack.felix.render.nft import Family, Table
from tests.support.netns import NetworkNamespace, veth

IPV4 = Table(Family.IP, "calico")
IPV6 = Table(Family.IP6, "calico")
ARP = Table(Family.ARP, "calico-arp")
TABLES = (IPV4, IPV6, ARP)
BOOT = 3
METRIC = 1024
HOST_MAC = "ee:ee:ee:ee:ee:ee"


def workload_mac(number: int) -> str:
    return f"fa:16:3e:00:00:{number:02x}"


def packed_mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class Clock:
    """Time as the test says it is."""

    def __init__(self) -> None:
        self.now = 1000.0


class Host:
    """The host's namespace with a `Dataplane` in it, and its wishes to fill."""

    def __init__(
        self,
        namespace: NetworkNamespace,
        make_namespace: Callable[[str], NetworkNamespace],
        *,
        remove_external: bool = True,
        manages_routes: bool = True,
    ) -> None:
        self.namespace = namespace
        self.clock = Clock()
        self.desired = DesiredDataplane()
        self._make_namespace = make_namespace
        self._ownership = RouteOwnership(
            lambda name: name.startswith("tap"),
            remove_external=remove_external,
            device_protocol=BOOT,
            manages=manages_routes,
        )
        namespace.write_sysctl("net/ipv4/ip_forward", "1")
        namespace.write_sysctl("net/ipv6/conf/all/forwarding", "1")
        # No waiting for duplicate address detection.
        namespace.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
        # Proxy ARP answers for what is routed elsewhere: a host has a default route.
        namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        for name in ("eth0", "eth1"):
            namespace.ip("link", "set", name, "up")
        namespace.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
        namespace.ip("route", "add", "default", "via", "192.0.2.254")
        self.dataplane = self.new_dataplane()

    def new_dataplane(self) -> Dataplane:
        """A dataplane that knows nothing, as after a restart."""
        with self.namespace.entered():
            return Dataplane(TABLES, self._ownership, self.clock.now)

    def plug(self, number: int, name: str = "") -> NetworkNamespace:
        """Plug a workload as Nova would, addresses and routes configured; return its namespace."""
        workload = self._make_namespace(f"vm{number}")
        tap = name or f"tap{number}"
        veth(
            self.namespace,
            tap,
            workload,
            "eth0",
            left_mac=HOST_MAC,
            right_mac=workload_mac(number),
        )
        link_local = "fe80::ecee:eeff:feee:eeee"
        workload.ip("addr", "add", f"10.65.0.{number}/32", "dev", "eth0")
        workload.ip("route", "add", "169.254.1.1", "dev", "eth0")
        workload.ip("route", "add", "default", "via", "169.254.1.1")
        workload.ip("addr", "add", f"fd00::{number}/128", "dev", "eth0", "nodad")
        workload.ip("-6", "route", "add", "default", "via", link_local, "dev", "eth0")
        return workload

    def want(self, number: int, interface: str = "") -> DataplaneDelta:
        """Want the routes, neighbours and settings of workload *number*; return what changed."""
        name = interface or f"tap{number}"
        delta = DataplaneDelta(interfaces={name})
        self.desired.interfaces[name] = InterfaceSettings(ipv4=True, ipv6=True)
        for text, length in ((f"10.65.0.{number}", 32), (f"fd00::{number}", 128)):
            network = ip_network(f"{text}/{length}")
            self.desired.routes[network] = Route(name, METRIC, BOOT)
            delta.routes.add(network)
            key = NeighbourKey(name, ip_address(text))
            self.desired.neighbours[key] = packed_mac(workload_mac(number))
            delta.neighbours.add(key)
        return delta

    def unwant(self, number: int, interface: str = "") -> DataplaneDelta:
        """Stop wanting what `want` made wanted."""
        name = interface or f"tap{number}"
        delta = self.want(number, name)
        del self.desired.interfaces[name]
        for network in delta.routes:
            del self.desired.routes[network]
        for key in delta.neighbours:
            del self.desired.neighbours[key]
        return delta

    def apply(self, delta: DataplaneDelta | None = None) -> set[str]:
        """Apply in the host's namespace; return the interfaces whose status differs."""
        with self.namespace.entered():
            return self.dataplane.apply(self.desired, delta or DataplaneDelta(), self.clock.now)

    def wake(self, timeout: float = 5.0) -> set[str]:
        """Wait for notifications, take them all in and apply, as the main loop does."""
        ready, _, _ = select.select(self.dataplane.filenos(), [], [], timeout)
        assert ready, "no notification came"
        # Notifications of one event may come in several pieces, some a little later.
        names: set[str] = set()
        while ready:
            names |= self.dataplane.read_notifications(self.clock.now)
            names |= self.apply()
            ready, _, _ = select.select(self.dataplane.filenos(), [], [], 0.15)
        return names

    def settle(self) -> None:
        """Wait until the kernel reports nothing more."""
        ready: list[int] = [0]
        while ready:
            ready, _, _ = select.select(self.dataplane.filenos(), [], [], 0.15)
            self.dataplane.read_notifications(self.clock.now)
            self.apply()

    def routes(self, interface: str, family: str = "-4") -> list[str]:
        """Return the routes over *interface* as ``ip route`` prints them."""
        text = self.namespace.ip(family, "route", "show", "dev", interface)
        return [line.strip() for line in text.splitlines() if "fe80::" not in line]

    def neighbours(self, interface: str) -> set[str]:
        """Return the permanent neighbour entries of *interface*."""
        text = self.namespace.ip("neigh", "show", "dev", interface, "nud", "permanent")
        return {line.strip() for line in text.splitlines()}


def reaches(source: NetworkNamespace, target: str) -> bool:
    """Ping once, a second time if need be (the first may meet neighbour discovery)."""
    command = ("ping", "-n", "-c", "1", "-W", "1", target)
    return any(source.run(*command, check=False).returncode == 0 for _ in range(2))


def eventually(check: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Return whether *check* comes true within *seconds*."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
