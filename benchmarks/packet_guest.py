"""The part of the benchmark of packets that runs in the virtual machine, see `packet_instructions`.

python -m benchmarks.packet_guest measure|program NAME
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from benchmarks.packet_path import BARE, PacketHost, PacketPath
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.render import TABLES
from calico_openstack.felix.render.dataplane import DataplaneDelta, DesiredDataplane

FILES = Path("/files")
# Packets of an established flow, and flows.
_PACKETS, _FLOWS = 2000, 1000
_WARM_UP = 50


def measure(name: str) -> None:
    """Print the instructions of an established packet and of a first one."""
    host: PacketHost = pickle.loads((FILES / name).read_bytes())
    with PacketPath("p", host.sender, host.receiver, FILES / "traffic") as path:
        if not host.desired.ruleset:
            path.nft(BARE)
        else:
            command = [sys.executable, __file__, "program", name]
            subprocess.run(["ip", "netns", "exec", path.router, *command], check=True)
        path.established(_WARM_UP)
        established = path.established(_PACKETS)
        first = path.first(_FLOWS)
        print(f"RESULT {name} {established:.0f} {first:.0f}", flush=True)


def program(name: str) -> None:
    """Program the kernel of this namespace, as Felix does."""
    host: PacketHost = pickle.loads((FILES / name).read_bytes())
    apply(host.desired)


def apply(desired: DesiredDataplane) -> None:
    """Have the real drivers make the kernel what is desired."""
    ownership = RouteOwnership(lambda interface: interface.startswith("tap"))
    dataplane = Dataplane(TABLES, ownership, now=0.0)
    dataplane.apply(desired, DataplaneDelta(), now=0.0)
    if dataplane.failures:
        raise RuntimeError(f"not programmed: {dataplane.failures}")
    dataplane.close()


if __name__ == "__main__":
    {"measure": measure, "program": program}[sys.argv[1]](sys.argv[2])
