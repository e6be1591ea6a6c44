"""Mistakes in the datastore, the service manager, and settings that need the whole calico-felix.

Needs root.
"""

from __future__ import annotations

import configparser
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.agent.mainloop import IDLE_INTERVAL
from calico_openstack.etcd import EtcdClient
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import (
    PREFIX,
    FelixHost,
    allow,
    connect,
    declare_ready,
    listen,
    put,
    put_endpoint,
    put_group,
    wait_pings,
)
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root

OTHERS = range(10, 40)
UNITS = Path(__file__).parents[2] / "packaging" / "systemd"


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    yield host
    host.close()


def store(etcd: EtcdClient, *numbers: int) -> None:
    """What Neutron's driver would store; the last thing is that which all hosts wait for."""
    put_group(etcd, "web", [allow("ICMP", group="web")])
    for number in numbers:
        put_endpoint(etcd, number, "web", host="compute-1" if number < 10 else "compute-2")
    put(etcd, "felixconfigurations", "default", {"interfacePrefix": "tap"})
    declare_ready(etcd)


def test_everything_deleted_by_mistake_is_held_and_restored(
    host: FelixHost, etcd: EtcdClient
) -> None:
    store(etcd, 1, 2, *OTHERS)
    host.start()
    one = host.plug(1)
    host.plug(2)
    wait_pings(one, 2)
    before = (host.ruleset(), host.routes())
    etcd.delete_prefix("/calico/")
    eventually(lambda: host.logged("Most of the cluster was deleted at once"))
    wait_pings(one, 2)
    assert host.routes() == before[1]
    assert host.process is not None
    assert host.process.running, "it neither restarts nor waits for the datastore"
    # The driver restores all but one, in an order of its own.
    store(etcd, 1, 2, *OTHERS[1:])
    put_group(etcd, "web", [])
    wait_pings(one, 2, False)
    assert host.process.running


def test_a_mass_deletion_that_is_meant_goes_on_when_confirmed(
    host: FelixHost, etcd: EtcdClient
) -> None:
    store(etcd, 1, 2, *OTHERS)
    host.start()
    one = host.plug(1)
    host.plug(2)
    wait_pings(one, 2)
    etcd.delete_prefix(PREFIX + "workloadendpoints/")
    eventually(lambda: host.logged("Most of the cluster was deleted at once"))
    spec = {"interfacePrefix": "tap", "massDeletionHoldPercent": 0}
    put(etcd, "felixconfigurations", "default", spec)
    eventually(lambda: host.routes() == "")
    assert host.logged("No deletion is held any more")


def test_a_configuration_that_cannot_be_read_opens_nothing(
    host: FelixHost, etcd: EtcdClient
) -> None:
    # Without it, interfaces of workloads are those that begin with "cali".
    del host.settings["InterfacePrefix"]
    store(etcd, 1, 2)
    process = host.start()
    one = host.plug(1)
    host.plug(2)
    wait_pings(one, 2)
    etcd.put(f"{PREFIX}felixconfigurations/default", b'{"spec":')
    eventually(lambda: host.logged("Ignoring an unusable object"))
    put_group(etcd, "web", [])
    wait_pings(one, 2, False)
    assert process.running
    assert 'iifname "tap*"' in host.ruleset()
    process.stop()
    assert host.start(wait=False).wait() == 1
    assert host.logged("FelixConfiguration default cannot be read: Input data was truncated")
    assert 'iifname "tap*"' in host.ruleset()


def test_flows_live_on_if_asked_for(host: FelixHost, etcd: EtcdClient, tmp_path: Path) -> None:
    host.settings["PolicyChangeEndsFlows"] = "false"
    put_group(etcd, "web", [allow("TCP", 80)])
    host.start()
    one, two = host.plug(1), host.plug(2)
    put_endpoint(etcd, 1, "web")
    put_endpoint(etcd, 2, "web")
    wait = tmp_path / "listen.log"
    server = listen(one, 80, wait)
    eventually(lambda: "10.65.0.1 dev tap1" in host.routes())
    client = connect(two, 1, 80, tmp_path / "connect.log")

    def established() -> bool:
        return "ESTABLISHED" in host.namespace.run("conntrack", "-L", "-p", "tcp").stdout

    eventually(established)
    put_group(etcd, "web", [])
    # The new rules are in force: nothing new is admitted.
    probe = ("timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/10.65.0.1/80")
    eventually(lambda: two.run(*probe, check=False).returncode != 0)
    assert established()
    for process in (server, client):
        process.kill()


def test_the_mtu_is_written_and_followed(host: FelixHost) -> None:
    host.start()
    file = host.directory / "mtu"
    assert file.read_text() == "1500\n"
    host.namespace.ip("link", "set", "eth0", "mtu", "1400")
    eventually(lambda: file.read_text() == "1400\n")


def test_the_service_manager_is_told(
    host: FelixHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        process = host.start()
        heard = {manager.recv(100).decode() for _ in range(2)}
        assert heard == {"READY=1", "WATCHDOG=1"}
        assert process.stop() == 0
        while (last := manager.recv(100).decode()) == "WATCHDOG=1":
            pass
        assert last == "STOPPING=1"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNITS / name)
    return parser


def test_it_needs_no_more_privileges_than_its_unit_has(host: FelixHost, etcd: EtcdClient) -> None:
    service = unit("calico-felix.service")["Service"]
    capabilities = [
        name.removeprefix("CAP_").lower() for name in service["CapabilityBoundingSet"].split()
    ]
    bounding = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    store(etcd, 1, 2)
    one = host.plug(1)
    host.plug(2)
    process = host.start(wrapper=("setpriv", "--no-new-privs", f"--bounding-set={bounding}", "--"))
    wait_pings(one, 2)
    assert host.namespace.read_sysctl("net/ipv4/conf/tap1/proxy_arp") == "1"
    assert 'problems="0"' in process.output()
    assert "Operation not permitted" not in process.output()


@pytest.mark.parametrize("agent", ["felix", "bgp-agent", "dhcp-agent"])
def test_units_start_again_what_asks_for_it(agent: str) -> None:
    found = unit(f"calico-{agent}.service")
    service = found["Service"]
    assert service["RestartForceExitStatus"] == "129"
    assert service["Type"] == "notify"
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    # Passes come every ten seconds at least, and half of the time is a reserve.
    assert float(service["WatchdogSec"]) >= 4 * IDLE_INTERVAL
    assert f"calico-{agent}" in service["ExecStart"]
