"""The part of the benchmark of packets that runs in the virtual machine, see `packet_instructions`.

python -m benchmarks.packet_guest NAME...
"""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
from pathlib import Path

from benchmarks.packet_path import BARE, PacketHost, PacketPath, plug_others
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.render import TABLES
from calico_openstack.felix.render.dataplane import DataplaneDelta

FILES = Path("/files")
# Packets of an established flow, and flows.
_PACKETS, _FLOWS = 1000, 500
_WARM_UP = 50
_CLONE_NEWNET = 0x40000000


def main() -> None:
    """Print for each host the instructions of an established packet and of a first one."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    for name in sys.argv[1:]:
        host: PacketHost = pickle.loads((FILES / name).read_bytes())
        with PacketPath("p", host.sender, host.receiver, FILES / "traffic") as path:
            if not host.desired.ruleset:
                path.nft(BARE)
            else:
                enter(os.open(f"/run/netns/{path.router}", os.O_RDONLY))
                program(host).close()
                enter(home)
            path.established(_WARM_UP)
            established, first = path.established(_PACKETS), path.first(_FLOWS)
        print(f"RESULT {name} {established:.0f} {first:.0f}", flush=True)


def enter(namespace: int) -> None:
    """Move this thread into a network namespace; setns(2) is not in Python 3.11."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def program(host: PacketHost) -> Dataplane:
    """Have the real drivers make the kernel what is desired."""
    ownership = RouteOwnership(lambda interface: interface.startswith("tap"))
    dataplane = Dataplane(TABLES, ownership, now=0.0)
    plug_others(dataplane.nft, host)
    dataplane.apply(host.desired, DataplaneDelta(), now=0.0)
    if dataplane.failures:
        raise RuntimeError(f"not programmed: {dataplane.failures}")
    return dataplane


if __name__ == "__main__":
    main()
