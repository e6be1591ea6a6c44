"""Code points from etcd to the headers of real packets, by the real calico-felix. Needs root."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from calico_openstack.etcd import EtcdClient
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import HOST, FelixHost, declare_ready, put, put_endpoint, put_group
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import eventually

pytestmark = needs_root

EXPEDITED = 46
_ETH_P_ALL = 3


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    """A host with Felix and a router that never answers."""
    declare_ready(etcd)
    put_group(etcd, "web", [])
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    router = ("lladdr", "02:00:00:00:00:01", "dev", "eth0")
    host.namespace.ip("neigh", "add", "192.0.2.254", *router)
    host.namespace.ip("addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    host.namespace.ip("route", "add", "2001:db8:1::/64", "via", "2001:db8::2", "dev", "eth0")
    host.namespace.ip("neigh", "add", "2001:db8::2", *router)
    host.start()
    yield host
    host.close()


def send(workload: NetworkNamespace, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with workload.entered(), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"packet", (address, 9))


def header_seen(host: FelixHost, workload: NetworkNamespace, address: str) -> bytes:
    """Send a packet from a workload to *address* and return the header that leaves the host."""
    with host.namespace.entered():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    target = ip_address(address).packed
    place = slice(16, 20) if len(target) == 4 else slice(24, 40)
    found: list[bytes] = []

    def arrived() -> bool:
        send(workload, address)
        try:
            while not found:
                packet = wire.recv(2000)
                if packet[place] == target:
                    found.append(packet[: place.stop])
        except TimeoutError:
            return False
        return True

    with wire:
        wire.bind(("eth1", _ETH_P_ALL))
        wire.settimeout(0.5)
        eventually(arrived)
    return found[0]


def code_point(header: bytes) -> int:
    """Return the code point of a packet; an IPv4 header's checksum must be right."""
    if header[0] >> 4 == 6:
        return (int.from_bytes(header[:2], "big") >> 6) & 0x3F
    total = sum(struct.unpack("!10H", header))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    return header[1] >> 2


@pytest.mark.parametrize("address", ["198.51.100.1", "2001:db8:1::1"])
def test_what_leaves_the_cluster_is_marked(host: FelixHost, etcd: EtcdClient, address: str) -> None:
    workload = host.plug(1)
    put_endpoint(etcd, 1, "web")
    assert code_point(header_seen(host, workload, address)) == 0
    put_endpoint(etcd, 1, "web", qosControls={"dscp": "EF"})
    eventually(lambda: code_point(header_seen(host, workload, address)) == EXPEDITED)
    # As soon as the destination belongs to the cluster it no longer is.
    for name, cidr in (("four", "198.51.100.0/24"), ("six", "2001:db8:1::/64")):
        put(etcd, "ippools", name, {"cidr": cidr})
    eventually(lambda: code_point(header_seen(host, workload, address)) == 0)


def test_what_the_host_itself_sends_is_marked(host: FelixHost, etcd: EtcdClient) -> None:
    spec = {"node": HOST, "interfaceName": "eth1", "expectedIPs": ["192.0.2.1"]}
    profiles = {"profiles": ["projectcalico-default-allow"]}
    put(etcd, "hostendpoints", "uplink", spec | profiles)
    own = host.namespace
    assert code_point(header_seen(host, own, "198.51.100.1")) == 0
    annotations = {"qos.projectcalico.org/dscp": "CS5"}
    put(etcd, "hostendpoints", "uplink", spec | profiles, annotations=annotations)
    eventually(lambda: code_point(header_seen(host, own, "198.51.100.1")) == 40)
    # Nonsense is told and ignored, and does not close the host.
    annotations = {"qos.projectcalico.org/dscp": "sometimes"}
    put(etcd, "hostendpoints", "uplink", spec | profiles, annotations=annotations)
    eventually(lambda: code_point(header_seen(host, own, "198.51.100.1")) == 0)
