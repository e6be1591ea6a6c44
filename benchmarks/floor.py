"""What cannot be undercut: etcd's own streaming, and the kernel's own work on the same batch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from calico_openstack.datamodel import Resource, ResourceKey, decode, parse_key
from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.kernel.sysctls import SysctlDriver
from calico_openstack.felix.render import TABLES, Renderer
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.netlink.protocol import NetlinkSocket
from tests.support.etcd import EtcdServer

_PAGE = 5000


def stream(server: EtcdServer, prefix: bytes = b"/calico/resources/") -> tuple[float, int]:
    """Read all keys with a bare client, the next page requested ahead; return seconds and count.

    Pages are of one revision, as a client that wants to watch afterwards needs them.
    """
    count = 0
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.client_port}", options) as channel:
        grpc.channel_ready_future(channel).result(10)
        call = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        end = prefix[:-1] + bytes((prefix[-1] + 1,))
        request = pb.RangeRequest(key=prefix, range_end=end, limit=_PAGE)
        began = time.perf_counter()
        pending, more = call.future(request), True
        while more:
            page = pending.result()
            more = page.more
            if more:
                request.key = page.kvs[-1].key + b"\0"
                request.revision = request.revision or page.header.revision
                pending = call.future(request)
            count += len(page.kvs)
        return time.perf_counter() - began, count


@dataclass(slots=True)
class KernelTime:
    """Seconds spent in the kernel's tables, routes and neighbours, and in its parameters."""

    netlink: float = 0.0
    parameters: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return self.netlink + self.parameters


@contextmanager
def measured() -> Iterator[KernelTime]:
    """Add up the time that the kernel needs for what is written to it in the ``with`` block."""
    spent = KernelTime()
    exchange, write = NetlinkSocket.exchange, SysctlDriver.set_interface

    def timed_exchange(self: NetlinkSocket, parts: Sequence[bytes]) -> list[object]:
        began = time.perf_counter()
        try:
            return exchange(self, parts)  # type: ignore[return-value]
        finally:
            spent.netlink += time.perf_counter() - began

    def timed_write(self: SysctlDriver, *arguments: object) -> list[object]:
        began = time.perf_counter()
        try:
            return write(self, *arguments)  # type: ignore[arg-type, return-value]
        finally:
            spent.parameters += time.perf_counter() - began

    NetlinkSocket.exchange = timed_exchange  # type: ignore[assignment, method-assign]
    SysctlDriver.set_interface = timed_write  # type: ignore[assignment, method-assign]
    try:
        yield spent
    finally:
        NetlinkSocket.exchange = exchange  # type: ignore[method-assign]
        SysctlDriver.set_interface = write  # type: ignore[method-assign]


def program(objects: Iterable[tuple[str, bytes]], host: str) -> KernelTime:
    """Program this namespace's kernel from scratch in this process; return the kernel's share."""
    calculation = HostCalculation(host)
    for path, value in objects:
        key, resource = parse_key(path), decode(path, value)
        if isinstance(key, ResourceKey) and isinstance(resource, Resource):
            calculation.update(key, resource)
    renderer = Renderer(RenderSettings(), calculation.state)
    changed = renderer.apply(calculation.flush())
    ownership = RouteOwnership(is_workload=lambda name: name.startswith("tap"))
    dataplane = Dataplane(TABLES, ownership, time.monotonic())
    with measured() as spent:
        dataplane.apply(renderer.desired, changed, time.monotonic())
    dataplane.close()
    if dataplane.failures:
        raise RuntimeError(f"not programmed: {dataplane.failures[:3]}")
    return spent
