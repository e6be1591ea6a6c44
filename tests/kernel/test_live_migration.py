"""Live migration from etcd and announcements to routes, by the real calico-felix. Needs root."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.agent.introspection.protocol import Question, Row
from calico_openstack.calicoctl.asking import ask_hosts
from calico_openstack.etcd import EtcdClient
from calico_openstack.felix.kernel.announcements import Announcement, AnnouncementListener
from tests.kernel.conftest import NamespaceFactory
from tests.support.announcements import advertisement, arp, mac_address, rarp
from tests.support.etcd import EtcdServer
from tests.support.felix import (
    HOST,
    FelixHost,
    declare_ready,
    mac,
    put,
    put_endpoint,
    put_group,
    status_path,
)
from tests.support.netns import NetworkNamespace, needs_root, veth
from tests.support.processes import eventually

pytestmark = needs_root

MAC = mac_address(mac(1))
FOREIGN = mac_address(mac(2))
WAITS = "waits for the migration"
NORMAL, ELEVATED = "metric 1024", "metric 512"
ANNOUNCEMENTS = {
    Announcement.RARP: rarp(MAC),
    Announcement.GRATUITOUS_ARP: arp(MAC, "10.65.0.1", "10.65.0.1"),
    Announcement.NEIGHBOUR_ADVERTISEMENT: advertisement(MAC, "fd00::1"),
}


def send(namespace: NetworkNamespace, interface: str, *frames: bytes) -> None:
    """Send raw frames out of an interface."""
    with namespace.entered():
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sender:
        sender.bind((interface, 0))
        for frame in frames:
            sender.send(frame)


# --- the listener ---------------------------------------------------------------------------------


@pytest.fixture
def wire(
    namespace: NetworkNamespace, new_namespace: NamespaceFactory
) -> tuple[NetworkNamespace, NetworkNamespace]:
    """A host and a workload, connected by tap1 and eth0."""
    workload = new_namespace("vm")
    veth(namespace, "tap1", workload, "eth0", right_mac=mac(1))
    return namespace, workload


@pytest.fixture
def listener(wire: tuple[NetworkNamespace, NetworkNamespace]) -> Iterator[AnnouncementListener]:
    with wire[0].entered():
        made = AnnouncementListener("tap1", MAC)
    yield made
    made.close()


@pytest.mark.parametrize("expected", list(Announcement))
def test_announcements_are_heard(
    wire: tuple[NetworkNamespace, NetworkNamespace],
    listener: AnnouncementListener,
    expected: Announcement,
) -> None:
    send(wire[1], "eth0", ANNOUNCEMENTS[expected])
    eventually(lambda: listener.heard() is expected)


def test_nothing_else_is_heard(
    wire: tuple[NetworkNamespace, NetworkNamespace], listener: AnnouncementListener
) -> None:
    host, workload = wire
    listener.heard()
    # What the host sends, what another MAC sends, questions and answers.
    send(host, "tap1", *ANNOUNCEMENTS.values())
    send(workload, "eth0", rarp(FOREIGN), arp(MAC, "10.65.0.1", "169.254.1.1"))
    send(workload, "eth0", advertisement(MAC, "fd00::1", solicited=True))
    assert listener.heard() is None
    send(workload, "eth0", ANNOUNCEMENTS[Announcement.RARP])
    eventually(lambda: listener.heard() is Announcement.RARP)


def test_an_interface_may_go_down_and_up(
    wire: tuple[NetworkNamespace, NetworkNamespace], listener: AnnouncementListener
) -> None:
    host, workload = wire
    host.ip("link", "set", "tap1", "down")
    assert listener.heard() is None
    host.ip("link", "set", "tap1", "up")
    send(workload, "eth0", ANNOUNCEMENTS[Announcement.RARP])
    eventually(lambda: listener.heard() is Announcement.RARP)


# --- all together ---------------------------------------------------------------------------------


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    """A host whose Felix is not started yet."""
    declare_ready(etcd)
    put_group(etcd, "web", [{"action": "Allow"}])
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    host.settings["LiveMigrationRouteConvergenceTime"] = "2"
    yield host
    host.close()


def put_migration(etcd: EtcdClient, source: str, target: str) -> str:
    """Store the migration of workload 1 from host to host; return its key."""

    def reference(host: str) -> dict[str, dict[str, str]]:
        return {
            "workloadEndpoint": {
                "hostname": host,
                "orchestratorID": "openstack",
                "workloadID": "openstack/vm1",
                "endpointID": "port1",
            }
        }

    name = f"{target.replace('-', '--')}-openstack-vm1-port1"
    spec = {"source": reference(source), "target": reference(target)}
    return put(etcd, "livemigrations", name, spec, namespace="openstack")


def routed(host: FelixHost, priority: str | None) -> bool:
    """Tell whether both routes of workload 1 have this priority, None: are not there."""
    lines = [line for line in host.routes().splitlines() if "tap1" in line]
    if priority is None:
        return not lines
    return len(lines) == 2 and all(f"{priority} " in f"{line} " for line in lines)


def wait_routed(host: FelixHost, priority: str | None) -> None:
    eventually(lambda: routed(host, priority), what=f"routes: {priority}, not {host.routes()}")


def rows(etcd: EtcdClient, table: str, match: str = "") -> tuple[Row, ...]:
    """Return what Felix answers to a question."""
    (found,) = ask_hosts(etcd, [(HOST, Question("calico-felix", table, match))], 10.0)
    assert not found.error
    return found.rows


def is_up(etcd: EtcdClient) -> bool:
    found = etcd.get(status_path(1))
    return found is not None and b'"up"' in found.value


def listens(host: FelixHost) -> bool:
    """Tell whether a packet socket is open on the host."""
    return "tap1" in host.namespace.run("ss", "-0", "-n", "-a").stdout


@pytest.mark.parametrize("by", list(Announcement))
def test_the_target_of_a_migration(host: FelixHost, etcd: EtcdClient, by: Announcement) -> None:
    host.start()
    migration = put_migration(etcd, "elsewhere", HOST)
    put_endpoint(etcd, 1, "web")
    workload = host.plug(1)
    # The interface is ready for the workload, and reported so; the routes wait.
    eventually(lambda: is_up(etcd))
    eventually(lambda: listens(host))
    assert routed(host, None)
    send(workload, "eth0", rarp(FOREIGN))
    assert routed(host, None)
    send(workload, "eth0", ANNOUNCEMENTS[by])
    wait_routed(host, ELEVATED)
    eventually(lambda: not listens(host))
    etcd.delete(migration)
    wait_routed(host, ELEVATED)
    wait_routed(host, NORMAL)


def test_packets_to_a_workload_that_arrived_wait_for_no_answer_of_it(
    host: FelixHost, etcd: EtcdClient
) -> None:
    """A guest that has only begun to run is slow to say which MAC its IPv6 address has."""
    host.start()
    put_migration(etcd, "elsewhere", HOST)
    put_endpoint(etcd, 1, "web")
    workload = host.plug(1)
    # It answers no question.
    workload.ip("link", "set", "eth0", "arp", "off")
    eventually(lambda: listens(host))
    send(workload, "eth0", rarp(MAC))
    wait_routed(host, ELEVATED)
    shown = host.namespace.ip("-6", "neighbour", "show", "fd00::1", "dev", "tap1")
    assert f"lladdr {mac(1)}" in shown
    assert "PERMANENT" not in shown


def test_a_workload_with_another_mac_than_its_endpoint_is_asked(
    host: FelixHost, etcd: EtcdClient
) -> None:
    host.start()
    put_migration(etcd, "elsewhere", HOST)
    put_endpoint(etcd, 1, "web")
    workload = host.plug(1)
    eventually(lambda: listens(host))
    send(workload, "eth0", rarp(MAC))
    workload.ip("link", "set", "eth0", "address", mac(2))
    wait_routed(host, ELEVATED)
    ask = ("ping", "-c1", "-W1", "fd00::1")
    eventually(lambda: host.namespace.run(*ask, check=False).returncode == 0, 30)


def test_a_target_is_ready_before_its_virtual_machine_is_there(
    host: FelixHost, etcd: EtcdClient
) -> None:
    """As Nova makes it: a TAP device that QEMU opens only when it has heard that all is ready."""
    host.start()
    put_endpoint(etcd, 1, "web")
    host.namespace.ip("tuntap", "add", "tap1", "mode", "tap")
    host.namespace.ip("link", "set", "tap1", "up")
    eventually(lambda: etcd.get(status_path(1)) is not None)
    assert not is_up(etcd)
    migration = put_migration(etcd, "elsewhere", HOST)
    eventually(lambda: is_up(etcd))
    # Whoever looks is told what is waited for, and that nothing else is missing.
    (endpoint,) = rows(etcd, "endpoints")
    assert (endpoint["status"], endpoint["why"].partition(":")[0]) == ("waiting", WAITS)
    faults = [row["kernel"] for row in rows(etcd, "programming", "port1") if row["kernel"] != "ok"]
    assert [fault.partition(":")[0] for fault in faults] == [WAITS]
    # The migration was given up: nobody will come.
    etcd.delete(migration)
    eventually(lambda: not is_up(etcd))
    (endpoint,) = rows(etcd, "endpoints")
    assert endpoint["status"] == "down"


def test_a_missed_announcement(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    migration = put_migration(etcd, "elsewhere", HOST)
    put_endpoint(etcd, 1, "web")
    host.plug(1)
    eventually(lambda: listens(host))
    etcd.delete(migration)
    wait_routed(host, ELEVATED)
    wait_routed(host, NORMAL)
    assert not listens(host)


def test_the_endpoint_before_the_migration(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    put_endpoint(etcd, 1, "web")
    workload = host.plug(1)
    wait_routed(host, NORMAL)
    put_migration(etcd, "elsewhere", HOST)
    wait_routed(host, None)
    eventually(lambda: listens(host))
    send(workload, "eth0", ANNOUNCEMENTS[Announcement.GRATUITOUS_ARP])
    wait_routed(host, ELEVATED)


def test_a_failed_migration_leaves_nothing(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    migration = put_migration(etcd, "elsewhere", HOST)
    endpoint = put_endpoint(etcd, 1, "web")
    host.plug(1)
    eventually(lambda: listens(host))
    etcd.delete(endpoint)
    etcd.delete(migration)
    eventually(lambda: not listens(host))
    assert routed(host, None)


def test_the_source_keeps_its_routes(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    endpoint = put_endpoint(etcd, 1, "web")
    host.plug(1)
    wait_routed(host, NORMAL)
    put_migration(etcd, HOST, "elsewhere")
    put_endpoint(etcd, 2, "web")
    host.plug(2)
    eventually(lambda: "tap2" in host.routes())
    assert routed(host, NORMAL)
    etcd.delete(endpoint)
    wait_routed(host, None)


def test_a_recreated_interface_is_listened_to(host: FelixHost, etcd: EtcdClient) -> None:
    host.start()
    put_migration(etcd, "elsewhere", HOST)
    put_endpoint(etcd, 1, "web")
    host.plug(1)
    eventually(lambda: listens(host))
    host.unplug(1)
    eventually(lambda: not listens(host))
    workload = host.plug(1)
    eventually(lambda: listens(host))
    send(workload, "eth0", ANNOUNCEMENTS[Announcement.RARP])
    wait_routed(host, ELEVATED)


def test_restarts_in_the_middle(host: FelixHost, etcd: EtcdClient) -> None:
    host.settings["LiveMigrationRouteConvergenceTime"] = "5"
    migration = put_migration(etcd, "elsewhere", HOST)
    put_endpoint(etcd, 1, "web")
    workload = host.plug(1)

    def restart(*, writes: int | None = None) -> None:
        if host.process is not None:
            host.process.stop()
        host.start(wait=False)
        written = host.wait_programmed()
        assert writes is None or written == writes

    restart()
    eventually(lambda: listens(host))
    # Before the arrival: it goes on waiting.
    restart(writes=0)
    assert routed(host, None)
    eventually(lambda: listens(host))
    send(workload, "eth0", ANNOUNCEMENTS[Announcement.RARP])
    wait_routed(host, ELEVATED)
    # After it: the routes stay as they are, nobody has to announce anything again.
    restart(writes=0)
    assert routed(host, ELEVATED)
    assert not listens(host)
    etcd.delete(migration)
    eventually(lambda: host.logged("TIME_WAIT"))
    # While it waits for the others: it waits again, then everything is as usual.
    restart(writes=0)
    assert routed(host, ELEVATED)
    wait_routed(host, NORMAL)
    restart(writes=0)
    assert routed(host, NORMAL)
