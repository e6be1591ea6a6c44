"""What it costs to find the flows of some addresses in a large table of tracked flows.

python -m benchmarks.flow_search [--flows 100000]

The flows are datagrams over loopback, none of them of the addresses that are looked for, as when
one workload of many loses a permission. The floor is a dump of which nothing matches: the kernel
walks the table and copies nothing. Needs root.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import islice, product
from typing import Final

from benchmarks.table import Row, show
from calico_openstack.felix.kernel.conntrack import ConntrackTable
from tests.support.netns import NetworkNamespace, sweep_stale

_ROUNDS: Final = 7
_PORTS: Final = range(1, 50_001)
_DESTINATIONS: Final = [f"127.0.1.{number}" for number in range(1, 100)]


def fill(namespace: NetworkNamespace, flows: int) -> None:
    """Make *flows* tracked flows in *namespace*."""
    namespace.ip("link", "set", "lo", "up")
    namespace.write_sysctl("net/netfilter/nf_conntrack_udp_timeout", "3600")
    namespace.run("nft", "add table ip t; add chain ip t c { type filter hook output priority 0; }")
    namespace.run("nft", "add rule ip t c ct state new accept")
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for target in islice(product(_DESTINATIONS, _PORTS), flows):
            sender.sendto(b"x", target)


def best(action: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Return the shortest of some durations, in milliseconds."""
    durations = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        durations.append(time.perf_counter() - began)
    return min(durations) * 1e3


def measure(table: ConntrackTable) -> list[Row]:
    """Return the figures of a filled table."""
    strangers = [IPv4Address(f"192.0.2.{number}") for number in range(200)]
    floor = best(lambda: list(table.flows_to(strangers[:1])))
    rows = [
        Row("flows in the table", sum(1 for _ in table.flows()), ""),
        Row("all, parsed", best(lambda: list(table.flows()), 1), "ms", floor=floor),
    ]
    for count in (1, 4, 5, 200):
        name = f"those of {count} address{'es' if count > 1 else ''}"
        duration = best(lambda n=count: list(table.flows(strangers[:n])))  # type: ignore[misc]
        rows.append(Row(name, duration, "ms", floor=floor))
    rows.append(Row("those to 1 floating address", floor, "ms", floor=floor))
    return rows


def main() -> None:
    """Fill a table in a namespace of its own, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flows", type=int, default=100_000)
    options = parser.parse_args()
    sweep_stale()
    with NetworkNamespace("flows") as namespace:
        fill(namespace, options.flows)
        with namespace.entered():
            table = ConntrackTable()
        show(measure(table))
        table.close()


if __name__ == "__main__":
    main()
