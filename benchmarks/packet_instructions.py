"""How many instructions does a packet cost, beyond bare connection tracking?

python -m benchmarks.packet_instructions [--quick]
"""

from __future__ import annotations

import argparse
import pickle
import re
import tempfile
from pathlib import Path

from benchmarks.packet_loads import Load, render
from benchmarks.packet_path import PacketHost, traffic_program
from benchmarks.table import Row, show
from calico_openstack.felix.render import RenderSettings
from calico_openstack.felix.render.dataplane import DesiredDataplane
from tests.support import machine

LOADS = [Load(local, rules) for local in (100, 1000) for rules in (1, 100, 1000)]
FROM_ANOTHER_HOST = [Load(100, 1, uplink=True), Load(1000, 1000, uplink=True)]
ESTABLISHED_TARGET, FIRST_TARGET = 500, 2000
_BARE = "bare"
_RESULT = re.compile(r"^RESULT (\S+) (\d+) (\d+)", re.MULTILINE)
_TIMEOUT = 1500.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest and the largest load")
    options = parser.parse_args()
    local = [LOADS[0], LOADS[-1]] if options.quick else LOADS
    show(measure([*local, *FROM_ANOTHER_HOST]))


def measure(loads: list[Load]) -> list[Row]:
    """Count the instructions of packets through what Felix renders for *loads*.

    With the first of them also: without the translation of the metadata service's address, and
    with flows offloaded.
    """
    hosts = {load.name: render(load) for load in loads}
    first = loads[0]
    hosts["no metadata service"] = render(first, RenderSettings(metadata_address=None))
    hosts["flows offloaded"] = render(first, RenderSettings(flow_offload=True))
    some = hosts[first.name]
    hosts[_BARE] = PacketHost(DesiredDataplane(), some.sender, some.receiver)
    named = {name.replace(" ", "_"): host for name, host in hosts.items()}
    counts = {name.replace("_", " "): each for name, each in count_instructions(named).items()}
    bare = counts.pop(_BARE)
    rows = []
    for kind, index, target in (
        ("established packet", 0, ESTABLISHED_TARGET),
        ("first of a flow", 1, FIRST_TARGET),
    ):
        for name, counted in counts.items():
            note = f"{counted[index]:,} in all, {bare[index]:,} without rules"
            more = counted[index] - bare[index]
            rows.append(Row(f"{kind}: {name}", more, "instr", target, note=note))
    return rows


def count_instructions(hosts: dict[str, PacketHost]) -> dict[str, tuple[int, int]]:
    """Return the instructions of an established and of a first packet, by the hosts' names."""
    with tempfile.TemporaryDirectory() as temporary, traffic_program(Path(temporary)) as traffic:
        files = {name: pickle.dumps(host) for name, host in hosts.items()}
        files["traffic"] = traffic.read_bytes()
        command = ["python3", "-m", "benchmarks.packet_guest", *hosts]
        output = machine.run(command, Path(temporary), files=files, counted=True, timeout=_TIMEOUT)
    return {
        name: (int(established), int(first)) for name, established, first in _RESULT.findall(output)
    }


if __name__ == "__main__":
    main()
