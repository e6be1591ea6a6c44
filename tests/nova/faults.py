"""What the tests do to compute hosts: take their power, and narrow the way between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from calico_openstack.lab import namespaces
from calico_openstack.lab.cloud import supervisor, topology_of
from calico_openstack.lab.commands import run
from calico_openstack.lab.namespaces import inside
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import UPLINK

# Seconds; nova-compute alone takes some to end.
_STOP_TIMEOUT = 120.0


@contextlib.contextmanager
def without_power(lab: Lab, host: str) -> Iterator[None]:
    """A compute host that is dead, and starts with its disks when the block ends.

    Its link goes first: nobody hears a goodbye. Then end all of its processes, guests too, and
    what they made of network devices.
    """
    control, namespace = supervisor(lab), lab.namespace(host)
    port = ["ip", "-n", lab.namespace(topology_of(lab).tor.name), "link", "set", f"to-{host}"]
    names = [process.name for process in control.processes() if process.host == host]
    run([*port, "down"])
    for name in names:
        control.stop(name, timeout=_STOP_TIMEOUT)
    namespaces.kill_processes([namespace])
    for tap in taps(lab, host):
        run(["ip", "-n", namespace, "link", "delete", tap])
    try:
        yield
    finally:
        run([*port, "up"])
        for name in names:
            control.start(name)


def taps(lab: Lab, host: str) -> list[str]:
    """The links of servers on a host."""
    lines = run(["ip", "-n", lab.namespace(host), "-o", "link"]).splitlines()
    names = [line.split(": ")[1].partition("@")[0] for line in lines]
    return [name for name in names if name.startswith("tap")]


@contextlib.contextmanager
def narrow_migrations(lab: Lab, host: str, rate: str) -> Iterator[None]:
    """A host that sends the memory and disks of guests at no more than this rate (tc(8)).

    QEMU listens for them from port 49152 on (qemu.conf, migration_port_min).
    """

    def tc(*arguments: str) -> None:
        run(inside(lab.namespace(host), ["tc", *arguments]))

    tc("qdisc", "add", "dev", UPLINK, "root", "handle", "1:", "htb", "default", "10")
    for number, limit in (("10", "10gbit"), ("20", rate)):
        parent = ("dev", UPLINK, "parent", "1:", "classid", f"1:{number}")
        tc("class", "add", *parent, "htb", "rate", limit)
    ports = ("match", "ip", "dport", "49152", "0xffc0")
    tc("filter", "add", "dev", UPLINK, "parent", "1:", "u32", *ports, "flowid", "1:20")
    try:
        yield
    finally:
        tc("qdisc", "delete", "dev", UPLINK, "root")
