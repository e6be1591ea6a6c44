"""A workload in its namespace, for tests without Felix."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.netns import NetworkNamespace, veth
from tests.support.processes import Process

if TYPE_CHECKING:
    from tests.bgp.fabric import Host

HOST_MAC = "02:00:00:00:00:01"


class Workload:
    """A workload behind a TAP-named interface, with its routes as Felix programs them."""

    def __init__(
        self, host: Host, number: int, protocol: str = "boot", *, routed: bool = True
    ) -> None:
        self.ipv4 = f"10.65.0.{number}"
        self.ipv6 = f"fd65::{number}"
        self.host = host
        self.interface = f"tap{number}"
        self.namespace = NetworkNamespace(f"w{number}")
        veth(
            host.namespace, self.interface, self.namespace, "eth0", left_mac=HOST_MAC,
        )  # fmt: skip
        inside = self.namespace.ip
        for family, address, gateway in (
            ("-4", self.ipv4, "169.254.1.1"),
            ("-6", self.ipv6, "fe80::1"),
        ):
            width = 32 if family == "-4" else 128
            flags = [] if family == "-4" else ["nodad"]
            inside("address", "add", f"{address}/{width}", "dev", "eth0", *flags)
            inside("neighbour", "replace", gateway, "lladdr", HOST_MAC, "dev", "eth0")
            inside(family, "route", "add", "default", "via", gateway, "dev", "eth0", "onlink")
        if routed:
            self.add_routes(protocol)

    def add_routes(self, protocol: str = "boot", metric: int = 1024) -> None:
        """Program the routes on the host."""
        for family, address in (("-4", self.ipv4), ("-6", self.ipv6)):
            arguments = ["proto", protocol, "metric", str(metric)]
            self.host.namespace.ip(
                family, "route", "add", address, "dev", self.interface, *arguments
            )

    def delete_routes(self, metric: int = 1024) -> None:
        """Take the routes off the host again."""
        for family, address in (("-4", self.ipv4), ("-6", self.ipv6)):
            self.host.namespace.ip(
                family, "route", "del", address, "dev", self.interface, "metric", str(metric)
            )

    def ping(self, address: str, count: int = 3) -> subprocess.CompletedProcess[str]:
        """Ping from inside; return what ping says."""
        return self.namespace.run(
            "ping", "-c", str(count), "-i", "0.1", "-W", "2", address, check=False
        )

    def ping_stream(self, address: str, count: int, directory: Path) -> Process:
        """Begin to ping 50 times a second."""
        return Process(
            ["ping", "-c", str(count), "-i", "0.02", "-W", "2", address],
            log=directory / f"ping-{self.ipv4}-{address}.log",
            prefix=self.namespace.command([]),
        )
