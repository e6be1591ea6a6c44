"""BIRDs in namespaces with the agent's configuration, and notifications from their kernels."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from calico_openstack.bgp.render import render
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import BgpState, StateStore
from calico_openstack.datamodel.bgp import (
    BGPConfiguration,
    BGPConfigurationSpec,
    BGPPeer,
    BGPPeerSpec,
)
from calico_openstack.datamodel.nodes import Node, NodeBgpSpec, NodeSpec
from calico_openstack.datamodel.resource import Metadata
from tests.support.netns import NetworkNamespace, veth
from tests.support.processes import Process

Pair = tuple[str, str]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_RTM_NEWROUTE: Final = 24
_RTM_DELROUTE: Final = 25
_RTMGRP_IPV4_ROUTE: Final = 0x40
_RTMGRP_IPV6_ROUTE: Final = 0x400
BIRD: Final = 12
"""The routing protocol of BIRD's routes in the kernel, and below that of Felix's."""
FELIX: Final = 80
_RTA_DST: Final = 1
_SO_RCVBUFFORCE: Final = 33
_BUFFER: Final = 64 * 2**20
_NEIGHBOURS: Final = "65536"
_FAMILIES: Final = ("ipv4", "ipv6")


def members(count: int) -> list[Node]:
    """Return two reflectors and *count* clients, each with an address of either family."""
    reflectors = [_node(f"rr{i}", 250, i, {"route-reflector": ""}, "10.0.0.1") for i in (1, 2)]
    return reflectors + [_node(f"h{i}", 1 + i // 200, 1 + i % 200, {}, "") for i in range(count)]


def cluster(nodes: Sequence[Node]) -> BgpState:
    """Return the datastore: no mesh, every client with either reflector, those with each other."""
    resources = [
        *nodes,
        BGPConfiguration(
            metadata=Metadata(name="default"),
            spec=BGPConfigurationSpec(node_to_node_mesh_enabled=False),
        ),
        *(
            BGPPeer(
                metadata=Metadata(name=name),
                spec=BGPPeerSpec(node_selector=near, peer_selector="has(route-reflector)"),
            )
            for name, near in (
                ("clients", "!has(route-reflector)"),
                ("reflectors", "has(route-reflector)"),
            )
        ),
    ]
    store = StateStore()
    for resource in resources:
        store.apply(resource.KIND, resource.metadata.name, resource)
    return store.state()


def _node(name: str, high: int, low: int, labels: dict[str, str], cluster_id: str) -> Node:
    return Node(
        metadata=Metadata(name=name, labels=labels),
        spec=NodeSpec(
            bgp=NodeBgpSpec(
                ipv4_address=f"10.77.{high}.{low}/16",
                ipv6_address=f"fd77::{high}:{low}/64",
                route_reflector_cluster_id=cluster_id,
            )
        ),
    )


class Speaker:
    """One BIRD in its namespace, with a workload's interface."""

    def __init__(
        self, switch: NetworkNamespace, node: Node, state: BgpState, directory: Path
    ) -> None:
        self.name = node.metadata.name
        bgp = node.spec.bgp
        if bgp is None:
            raise ValueError(f"Node {self.name} has no addresses")
        self._number = int(ip_address(bgp.ipv4_address.partition("/")[0])) & 0xFFFF
        self.namespace = NetworkNamespace(self.name)
        veth(switch, f"p-{self.name}", self.namespace, "eth0")
        switch.ip("link", "set", f"p-{self.name}", "master", "br0")
        self.namespace.ip("address", "add", bgp.ipv4_address, "dev", "eth0")
        self.namespace.ip("address", "add", bgp.ipv6_address, "dev", "eth0", "nodad")
        veth(self.namespace, "tap0", self.namespace, "guest0")
        self._directory = directory
        self._file = directory / f"{self.name}.conf"
        options = HostOptions(log_file=str(directory / f"{self.name}.log"))
        self._file.write_text(render(state, self.name, {}, options).text)
        self._process: Process | None = None

    def address(self, index: int) -> Pair:
        """Return the addresses of a workload, different ones for each index and speaker."""
        number = self._number << 12 | index
        octets = number.to_bytes(4, "big")
        return (
            f"100.{octets[1]}.{octets[2]}.{octets[3]}",
            str(ip_address(f"fd65::{number >> 16:x}:{number & 0xFFFF:x}")),
        )

    def change(
        self, *, add: Sequence[Pair] = (), delete: Sequence[Pair] = (), metric: int = 1024
    ) -> None:
        """Put workloads' routes into the kernel as Felix does, or take them out."""
        lines = [
            f"route {verb} {address} dev tap0 proto 80 metric {metric}"
            for verb, pairs in (("add", add), ("del", delete))
            for pair in pairs
            for address in pair
        ]
        self.namespace.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def start(self) -> None:
        """Start BIRD."""
        path = str(self._directory / self.name)
        self._process = Process(
            ["bird", "-f", "-c", self._file, "-s", path + ".ctl", "-P", path + ".pid"],
            log=Path(path + ".out"),
            prefix=self.namespace.command([]),
        )

    def kill(self, number: signal.Signals) -> None:
        """Send BIRD a signal."""
        if self._process is not None:
            self._process.signal(number)

    def stop(self) -> None:
        """End BIRD and remove the namespace."""
        if self._process is not None:
            self._process.kill()
        self.namespace.delete()

    def cpu(self) -> float:
        """Return the seconds of CPU that BIRD has used."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> int:
        """Return BIRD's share of memory in bytes (PSS: what is shared counts by its part)."""
        for line in self._proc("smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return 0

    def _proc(self, name: str) -> str:
        if self._process is None:
            raise ValueError(f"{self.name} has not been started")
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


class Change(NamedTuple):
    """A route that appeared in a speaker's kernel or vanished from it, and when."""

    speaker: str
    protocol: int
    appeared: bool
    address: str
    moment: float


class Watched(Protocol):
    """A host with a kernel of its own."""

    name: str
    namespace: NetworkNamespace


class Watcher:
    """Tells when routes appear in and vanish from the speakers' kernels."""

    def __init__(self, speakers: Sequence[Watched]) -> None:
        self._selector = selectors.DefaultSelector()
        for speaker in speakers:
            with speaker.namespace.entered():
                listener = socket.socket(
                    socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
                )
            listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            listener.bind((0, _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_ROUTE))
            self._selector.register(listener, selectors.EVENT_READ, speaker.name)

    def events(self, timeout: float) -> Iterator[Change]:
        """Wait up to *timeout* seconds for a change; yield it and all that are there by then."""
        while ready := self._selector.select(timeout):
            for key, _ in ready:
                listener = key.fileobj
                assert isinstance(listener, socket.socket)
                data = listener.recv(2**20)
                moment = time.monotonic()
                for protocol, appeared, address in _routes(data):
                    yield Change(key.data, protocol, appeared, address, moment)
            timeout = 0.0

    def close(self) -> None:
        """Close the sockets."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


def _routes(data: bytes) -> Iterator[tuple[int, bool, str]]:
    """Yield protocol, whether it is there, and address of BIRD's and Felix's routes in a datagram
    (rtnetlink(7))."""
    position = 0
    while position + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, position)
        known = kind in (_RTM_NEWROUTE, _RTM_DELROUTE)
        protocol = data[position + 16 + 5] if known else 0
        if protocol in (BIRD, FELIX):
            attribute, end = position + 28, position + length
            while attribute + 4 <= end:
                size, name = struct.unpack_from("=HH", data, attribute)
                if name == _RTA_DST:
                    family = socket.AF_INET if size == 8 else socket.AF_INET6
                    address = socket.inet_ntop(family, data[attribute + 4 : attribute + size])
                    yield protocol, kind == _RTM_NEWROUTE, address
                    break
                attribute += max(4, size + 3 & ~3)
        position += max(16, length + 3 & ~3)


@contextlib.contextmanager
def room_for_neighbours() -> Iterator[None]:
    """Widen the kernel's tables of neighbours, which all namespaces share, for a while.

    With the default of 1024 entries hosts drop packets to neighbours that do not fit in.
    """
    files = [
        Path(f"/proc/sys/net/{f}/neigh/default/gc_thresh{i}") for f in _FAMILIES for i in "123"
    ]
    before = [file.read_text() for file in files]
    for file in reversed(files):
        file.write_text(_NEIGHBOURS)
    try:
        yield
    finally:
        for file, text in zip(files, before, strict=True):
            file.write_text(text)


def bird_version() -> str:
    """Return the version of the installed BIRD."""
    run = subprocess.run(["bird", "--version"], capture_output=True, text=True, check=True)
    return (run.stderr + run.stdout).strip().rpartition(" ")[2]
