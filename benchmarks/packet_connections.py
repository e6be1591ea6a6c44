"""How many TCP connections a second does a host make, with how many endpoints? On this kernel.

python -m benchmarks.packet_connections [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.packet_loads import Load, render
from benchmarks.packet_path import (
    BARE,
    PacketHost,
    PacketPath,
    plug_others,
    traffic_program,
)
from benchmarks.table import Row, show
from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render import TABLES
from calico_openstack.felix.render.dataplane import DesiredDataplane
from tests.support.netns import entered

ENDPOINTS = (10, 100, 1000, 10_000)
_ROUNDS = 15
# Seconds of one measurement: short, so that all sizes see the same moments of the machine.
_BURST = 0.2
_NANOSECONDS = 1e9
_BARE = "bare connection tracking"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    show(measure(parser.parse_args().rounds))


def measure(rounds: int) -> list[Row]:
    """Measure all sizes in turn, *rounds* times; the best of each counts, the median is noted."""
    hosts = {f"{number:,} endpoints": render(Load(number, 10)) for number in ENDPOINTS}
    some = next(iter(hosts.values()))
    hosts = {_BARE: PacketHost(DesiredDataplane(), some.sender, some.receiver), **hosts}
    took: dict[str, list[float]] = {name: [] for name in hosts}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        traffic = stack.enter_context(traffic_program(folder))
        paths = {}
        for number, (name, host) in enumerate(hosts.items()):
            path = PacketPath(f"bench{number}", host.sender, host.receiver, traffic)
            paths[name] = stack.enter_context(path)
            _program(path, host)
        for _ in range(rounds):
            for name, path in paths.items():
                took[name].append(path.connection(_BURST))
                path.forget_flows()
    floor = _NANOSECONDS / min(took[_BARE])
    return [
        Row(
            f"TCP connections a second: {name}",
            _NANOSECONDS / min(values),
            "/s",
            floor=floor,
            note=f"median {_NANOSECONDS / statistics.median(values):,.0f}",
        )
        for name, values in took.items()
    ]


def _program(path: PacketPath, host: PacketHost) -> None:
    if not host.desired.ruleset:
        path.nft(BARE)
        return
    # Only the two ends are plugged: of the other endpoints there are the rules.
    with entered(Path("/run/netns") / path.router):
        driver = NftDriver(TABLES)
    plug_others(driver, host)
    driver.apply(host.desired.ruleset, {})
    if driver.failures or not driver.writes:
        raise RuntimeError(f"not programmed: {driver.failures}")
    driver.close()


if __name__ == "__main__":
    main()
