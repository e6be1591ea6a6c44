"""How soon BGP follows what happens to workloads, hosts, sessions and daemons, and what is lost.

python -m benchmarks.bgp_faults [--layouts mesh,reflectors,tor] [--lives 20] [--migrations 10]
                                [--guests 6] [--faults 3] [--only REGEX]

Every host is a network namespace with the real Felix, BGP agent and BIRD; the datastore is a real
etcd, written to as Neutron's driver does. Faults happen under a stream of packets between two
workloads, 500 a second in either family, each of which is sent back. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Final

from benchmarks.bgp_events import Measured, Observer, lives, migrations
from benchmarks.bgp_fault_kinds import Faults
from benchmarks.bgp_guest import guest_migrations
from benchmarks.bgp_lab import COMPUTES, CONVERGENCE_TIME, HOLD_TIME, Layout, cloud
from benchmarks.bgp_speakers import bird_version
from benchmarks.conditions import conditions, load_average
from calico_openstack.bgp.settings import FAMILIES
from calico_openstack.lab import guest_image
from calico_openstack.lab.settings import DEFAULT_CACHE
from tests.bgp.fabric import end_leftovers
from tests.support.netns import sweep_stale

_HEAD: Final = (
    "layout",
    "event",
    "n",
    "IPv4 p50 / p99 s",
    "IPv6 p50 / p99 s",
    "lost IPv4, IPv6",
    "longest outage s",
    "",
)


def main() -> None:
    """Measure the layouts and print one table with the conditions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--layouts", default="mesh,reflectors,tor")
    parser.add_argument("--lives", type=int, default=20, help="workloads that come and go")
    parser.add_argument("--migrations", type=int, default=10)
    parser.add_argument("--guests", type=int, default=6, help="migrations of a virtual machine")
    parser.add_argument("--faults", type=int, default=3, help="repetitions of each kind")
    parser.add_argument("--only", default="", help="expression for names and notes of faults")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("needs root: makes network namespaces")
    end_leftovers()
    sweep_stale()
    if options.guests:
        # May download, which the namespaces of a cloud cannot.
        guest_image.prepare(DEFAULT_CACHE)
    for name, text in conditions().items():
        print(f"{name:14}{text}")
    print(f"{'BIRD':14}{bird_version()}")
    print(f"{'hosts':14}{COMPUTES}, and 2 reflectors or the rack's router")
    print(f"{'hold time':14}{HOLD_TIME} (240 s unless configured)")
    print(f"{'convergence':14}{CONVERGENCE_TIME} s (LiveMigrationRouteConvergenceTime)\n")
    print(_line(_HEAD))
    print(_line(["---"] * len(_HEAD)), flush=True)
    for layout in map(Layout, options.layouts.split(",")):
        for measured in _measured(layout, options):
            print(_line(_row(layout, measured)), flush=True)
        print(_line([layout, f"(load average then {load_average()})", *[""] * 6]), flush=True)


def _measured(layout: Layout, options: argparse.Namespace) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory() as folder, cloud(Path(folder), layout) as made:
        observer = Observer(made)
        try:
            if options.lives:
                yield from lives(made, observer, options.lives)
            if options.migrations:
                yield from migrations(made, Path(folder), options.migrations)
            if options.guests:
                yield from guest_migrations(made, Path(folder), options.guests)
            if options.faults:
                faults = Faults(made, observer, Path(folder), options.only)
                yield from faults.run(options.faults)
        finally:
            observer.close()


def _row(layout: Layout, measured: Measured) -> list[str]:
    times = measured.times if any(measured.times.values()) else measured.outages
    outage = max((gap for gaps in measured.outages.values() for gap in gaps), default=None)
    packets = bool(measured.sent)
    return [
        layout,
        measured.name,
        str(measured.repetitions),
        *(_percentiles(times[family]) for family in FAMILIES),
        f"{measured.lost[4]}, {measured.lost[6]}" if packets else "",
        "" if outage is None else f"{outage:.3f}",
        measured.note,
    ]


def _percentiles(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    cuts = quantiles(values, n=100, method="inclusive")
    return f"{cuts[49]:.3f} / {cuts[98]:.3f}"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
