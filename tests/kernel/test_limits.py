"""Limits of endpoints from etcd to real packets, by the real calico-felix. Needs root."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from calico_openstack.etcd import EtcdClient
from calico_openstack.felix.kernel.qdiscs import egress_device
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import (
    FelixHost,
    allow,
    declare_ready,
    listen,
    put_endpoint,
    put_group,
    wait_pings,
)
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import eventually

pytestmark = needs_root

PORT = 8080


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    """A host with Felix and a group of security that allows its members everything."""
    declare_ready(etcd)
    put_group(etcd, "web", [{"action": "Allow"}])
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    host.start()
    yield host
    host.close()


def dropped(host: FelixHost, what: str) -> int:
    """Packets that rules with this in their comment have counted."""
    return sum(
        int(found[1])
        for line in host.ruleset().splitlines()
        if what in line and (found := re.search(r"counter packets (\d+)", line))
    )


def flood(source: NetworkNamespace, address: str, count: int) -> None:
    """Send UDP packets as fast as possible."""
    with source.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"packet", (address, 9))


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_packets_above_the_rate_are_dropped(
    host: FelixHost, etcd: EtcdClient, direction: str
) -> None:
    one, other = host.plug(1), host.plug(2)
    put_endpoint(etcd, 2, "web")
    controls = {f"{direction}PacketRate": 10, f"{direction}PacketBurst": 20}
    put_endpoint(etcd, 1, "web", qosControls=controls)
    wait_pings(other, 1)
    source, target = (other, "10.65.0.1") if direction == "ingress" else (one, "10.65.0.2")
    flood(source, target, 500)
    # At most the burst and what came in while the packets were sent got through.
    eventually(lambda: dropped(host, "packet rate") >= 400)
    assert dropped(host, "packet rate") < 500
    # Once it is quiet the endpoint is reachable again; and without the limit nothing is left of it.
    wait_pings(other, 1)
    put_endpoint(etcd, 1, "web")
    eventually(lambda: "packet rate" not in host.ruleset())


def test_a_rate_holds_for_an_established_flow(host: FelixHost, etcd: EtcdClient) -> None:
    one, other = host.plug(1), host.plug(2)
    put_endpoint(etcd, 2, "web")
    put_endpoint(etcd, 1, "web")
    wait_pings(other, 1)
    with one.entered():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with other.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind(("10.65.0.1", 5000))
        sender.bind(("10.65.0.2", 5000))
        sender.sendto(b"question", ("10.65.0.1", 5000))
        receiver.settimeout(5)
        receiver.sendto(b"answer", receiver.recvfrom(100)[1])
        put_endpoint(etcd, 1, "web", qosControls={"ingressPacketRate": 1})
        eventually(lambda: "packet rate" in host.ruleset())
        for _ in range(100):
            sender.sendto(b"question", ("10.65.0.1", 5000))
        eventually(lambda: dropped(host, "packet rate") >= 80)


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_one_connection_too_many_is_refused(
    host: FelixHost, etcd: EtcdClient, tmp_path: Path, direction: str
) -> None:
    one, other = host.plug(1), host.plug(2)
    put_endpoint(etcd, 2, "web")
    put_endpoint(etcd, 1, "web", qosControls={f"{direction}MaxConnections": 3})
    wait_pings(other, 1)
    wait_pings(one, 2)
    eventually(lambda: "ct count over 3" in host.ruleset())
    client, server, address = (
        (other, one, "10.65.0.1") if direction == "ingress" else (one, other, "10.65.0.2")
    )
    with ExitStack() as open_ones:
        open_ones.callback(listen(server, PORT, tmp_path / "listener.log").kill)

        def connect() -> socket.socket:
            with client.entered():
                return open_ones.enter_context(
                    socket.create_connection((address, PORT), timeout=10)
                )

        held = [connect() for _ in range(3)]
        with pytest.raises(ConnectionRefusedError):
            connect()
        # Another policy does not let it forget what it has counted.
        put_group(etcd, "other", [allow("tcp", PORT)])
        put_endpoint(etcd, 1, "web", "other", qosControls={f"{direction}MaxConnections": 3})
        eventually(lambda: "ossg.default.other" in host.ruleset())
        with pytest.raises(ConnectionRefusedError):
            connect()
        # Those that are open go on.
        for each in held:
            each.send(b"still here")
        # A connection that ends makes room as soon as conntrack has forgotten it.
        held[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        held[0].close()

        def has_room() -> bool:
            try:
                connect()
            except ConnectionRefusedError:
                return False
            return True

        eventually(has_room, 20)


def test_bandwidth_follows_the_datastore(host: FelixHost, etcd: EtcdClient) -> None:
    host.plug(1)
    limits = {
        "ingressBandwidth": 10_000_000,
        "ingressBurst": 8_000_000,
        "egressBandwidth": 20_000_000,
    }
    put_endpoint(etcd, 1, "web", qosControls=limits)

    def shown(interface: str) -> str:
        return host.namespace.run("tc", "qdisc", "show", "dev", interface, check=False).stdout

    eventually(lambda: "rate 10Mbit burst 1000000b" in shown("tap1"))
    eventually(lambda: "rate 20Mbit" in shown(egress_device("tap1")))
    put_endpoint(etcd, 1, "web")
    eventually(lambda: "tbf" not in shown("tap1") and not shown(egress_device("tap1")))
    put_endpoint(etcd, 1, "web", qosControls=limits)
    eventually(lambda: "tbf" in shown("tap1"))
    # A restart finds everything as it should be.
    assert host.process is not None
    host.process.stop()
    host.start(wait=False)
    assert host.wait_programmed() == 0
