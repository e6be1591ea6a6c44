"""StatusReporter against a real etcd: signs of life, endpoint statuses, resynchronisation."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.status import EndpointStatus
from calico_openstack.etcd import EtcdClient, EtcdConfig
from calico_openstack.felix.reporting import ReportingSettings, StatusReporter, status_key
from tests.support.etcd import EtcdServer
from tests.support.processes import eventually
from tests.support.proxy import Proxy

PREFIX = "/calico/felix/v2/no-region/host/h/"
SETTINGS = ReportingSettings(region="no-region", host="h", interval=0.3, ttl=2)
UP, DOWN = EndpointStatus(status="up"), EndpointStatus(status="down")
A, B, C = (f"{PREFIX}workload/openstack/openstack%2fvm/endpoint/{name}" for name in "abc")


class Alive:
    def __init__(self) -> None:
        self.value = True

    def __call__(self) -> bool:
        return self.value


@pytest.fixture
def proxy(etcd: EtcdClient, etcd_server: EtcdServer) -> Iterator[Proxy]:
    """A way to the empty etcd that can be disturbed."""
    with Proxy(etcd_server.client_port) as proxy:
        yield proxy


@pytest.fixture
def alive() -> Alive:
    return Alive()


@pytest.fixture
def reporter(proxy: Proxy, alive: Alive) -> Iterator[StatusReporter]:
    client = EtcdClient(EtcdConfig((proxy.endpoint,), timeout=1))
    reporter = StatusReporter(client, SETTINGS, alive, started_at=time.monotonic())
    reporter.start()
    yield reporter
    reporter.stop()
    client.close()


def statuses(etcd: EtcdClient) -> dict[str, str]:
    found = etcd.get_prefix(PREFIX + "workload/").kvs
    return {kv.key: json.loads(kv.value)["status"] for kv in found}


def wait_for(etcd: EtcdClient, expected: dict[str, str]) -> None:
    eventually(lambda: statuses(etcd) == expected, 20, f"statuses {expected}")


def test_nothing_is_said_before_the_beginning(etcd: EtcdClient, reporter: StatusReporter) -> None:
    reporter.update({A: UP})
    time.sleep(0.5)
    assert etcd.get_prefix(PREFIX).kvs == []


def test_beginning_makes_good_what_an_earlier_life_left(
    etcd: EtcdClient, reporter: StatusReporter
) -> None:
    right = etcd.put(A, b'{"status":"up"}')
    etcd.put(B, b'{"status":"up"}')
    etcd.put(C, b"garbage")
    etcd.put(PREFIX + "workload/of/nobody", b"is left alone")
    reporter.begin({A: UP, C: DOWN})
    eventually(lambda: etcd.get(B) is None)
    eventually(lambda: (c := etcd.get(C)) is not None and c.value == b'{"status":"down"}')
    kept = etcd.get(A)
    assert kept is not None
    assert kept.mod_revision == right, "what was right is not written again"
    assert etcd.get(PREFIX + "workload/of/nobody") is not None


def test_changes_are_written_at_once(etcd: EtcdClient, reporter: StatusReporter) -> None:
    reporter.begin({})
    reporter.update({A: DOWN, B: UP})
    wait_for(etcd, {A: "down", B: "up"})
    reporter.update({A: UP, B: None})
    wait_for(etcd, {A: "up"})


def test_many_changes_take_few_revisions(etcd: EtcdClient, reporter: StatusReporter) -> None:
    reporter.begin({})
    before = etcd.status().revision
    keys = [f"{A}{number}" for number in range(1000)]
    reporter.update(dict.fromkeys(keys, UP))
    wait_for(etcd, dict.fromkeys(keys, "up"))
    assert etcd.status().revision - before < 50


def test_outage_loses_nothing(etcd: EtcdClient, reporter: StatusReporter, proxy: Proxy) -> None:
    reporter.begin({A: UP})
    wait_for(etcd, {A: "up"})
    proxy.refuse()
    reporter.update({A: DOWN})
    reporter.update({B: UP})
    eventually(lambda: reporter.failures > 0)
    proxy.heal()
    wait_for(etcd, {A: "down", B: "up"})


def test_signs_of_life_stop_with_the_main_loop(
    etcd: EtcdClient, reporter: StatusReporter, alive: Alive
) -> None:
    reporter.begin({})
    eventually(lambda: etcd.get(PREFIX + "status") is not None)
    alive.value = False
    eventually(lambda: etcd.get(PREFIX + "status") is None, 15, "expiry")
    last = etcd.get(PREFIX + "last_reported_status")
    assert last is not None
    assert set(json.loads(last.value)) == {"time", "uptime", "first_update"}


def test_status_key_has_escaped_segments() -> None:
    key = ResourceKey("WorkloadEndpoint", "h-openstack-v--m-a", "openstack-region-r")
    expected = (
        "/calico/felix/v2/region-r/host/h/workload/openstack/openstack-region-r%2fv-m/endpoint/a"
    )
    assert status_key("region-r", "h", key) == expected
    assert status_key("region-r", "h", ResourceKey("WorkloadEndpoint", "nonsense", "x")) is None
