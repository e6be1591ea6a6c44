"""What a running calico-felix tells of itself: metrics under the known names, and its health.

Needs root.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from calico_openstack.etcd import EtcdClient
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import FelixHost, allow, declare_ready, put, put_endpoint, put_group
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"

# Section 6.1 of the specification, without what belongs to iptables, ipsets and child processes.
NAMES = {
    "felix_host",
    "felix_resync_state",
    "felix_resyncs_started",
    "felix_calc_graph_updates_processed",
    "felix_calc_graph_output_events",
    "felix_calc_graph_update_time_seconds",
    "felix_calc_graph_update_time_seconds_sum",
    "felix_calc_graph_update_time_seconds_count",
    "felix_active_local_endpoints",
    "felix_active_local_policies",
    "felix_active_local_selectors",
    "felix_cluster_num_hosts",
    "felix_cluster_num_host_endpoints",
    "felix_cluster_num_workload_endpoints",
    "felix_cluster_num_tiers",
    "felix_cluster_num_policies",
    "felix_cluster_num_profiles",
    "felix_label_index_num_endpoints",
    "felix_label_index_num_active_selectors",
    "felix_label_index_selector_evals",
    "felix_label_index_strategy_evals",
    "felix_int_dataplane_messages",
    "felix_int_dataplane_failures",
    "felix_int_dataplane_initial_resync_time_seconds",
    "felix_int_dataplane_apply_time_seconds",
    "felix_int_dataplane_msg_batch_size",
    "felix_int_dataplane_iface_msg_batch_size",
    "felix_int_dataplane_addr_msg_batch_size",
    "felix_nft_calls",
    "felix_nft_errors",
    "felix_nft_list_calls",
    "felix_nft_list_errors",
    "felix_nft_chains",
    "felix_nft_rules",
    "felix_nft_maps",
    "felix_nft_sets",
    "felix_nft_set_calls",
    "felix_nft_set_errors",
    "felix_nft_flowtable_devices",
    "felix_nft_flowtable_missing_devices",
    "felix_route_table_num_routes",
    "felix_route_table_num_ifaces",
    "felix_route_table_resync_seconds",
    "felix_route_table_partial_resync_seconds",
    "felix_route_table_conntrack_wait_seconds",
    "felix_live_migrations",
    "felix_logs_dropped",
    "felix_log_errors",
    "process_resident_memory_bytes",
}


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    host.settings |= {"HealthEnabled": "true", "PrometheusMetricsEnabled": "true"}
    yield host
    host.close()


def get(host: FelixHost, url: str) -> str:
    return host.namespace.run("python3", "-c", FETCH, url).stdout


def scrape(host: FelixHost) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples by name and values of their labels."""
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(get(host, "http://localhost:9091/metrics")):
        for sample in family.samples:
            values = samples.setdefault(sample.name, {})
            values[tuple(sample.labels.values())] = sample.value
    return samples


def test_metrics_have_the_names_that_dashboards_know(host: FelixHost, etcd: EtcdClient) -> None:
    put_group(etcd, "web", [allow("TCP", 80, group="web")])
    host.plug(1)
    put_endpoint(etcd, 1, "web")
    put_endpoint(etcd, 2, "web", host="compute-2")
    host.start()
    host.namespace.ip("link", "set", "eth0", "mtu", "1400")
    host.namespace.ip("addr", "add", "198.51.100.1/32", "dev", "eth0")
    eventually(lambda: ("4",) in scrape(host).get("felix_nft_rules", {}))
    found = scrape(host)
    assert found.keys() >= NAMES, NAMES - found.keys()
    assert found["felix_cluster_num_workload_endpoints"] == {(): 2.0}
    assert found["felix_cluster_num_hosts"] == {(): 2.0}
    assert found["felix_label_index_num_active_selectors"] == {("true",): 1.0, ("false",): 0.0}
    assert found["felix_label_index_selector_evals"]["true",] >= 1.0
    assert sum(found["felix_label_index_strategy_evals"].values()) == 1.0
    assert found["felix_nft_set_calls"][()] >= 1.0
    assert found["felix_nft_set_errors"] == {(): 0.0}
    assert found["felix_nft_flowtable_devices"] == {("4",): 0.0, ("6",): 0.0}
    eventually(lambda: scrape(host)["felix_int_dataplane_addr_msg_batch_size_count"][()] >= 1.0)
    assert found["felix_cluster_num_policies"] == {(): 1.0}
    assert found["felix_active_local_endpoints"] == {(): 1.0}
    assert found["felix_calc_graph_updates_processed"]["WorkloadEndpoint",] == 2.0
    assert found["felix_route_table_num_routes"] == {("main",): 2.0}
    assert found["felix_route_table_num_ifaces"] == {("main",): 1.0}
    assert found["felix_nft_calls"][()] >= 1.0
    assert found["felix_nft_errors"] == {(): 0.0}
    listed = host.namespace.run("nft", "list", "table", "ip", "calico").stdout
    assert found["felix_nft_chains"]["4",] == listed.count("chain ")
    assert found["felix_nft_maps"]["4",] == listed.count("map ") - listed.count("vmap @")


def test_timeouts_of_health_are_overridden_at_run_time(host: FelixHost, etcd: EtcdClient) -> None:
    process = host.start()
    ready = "http://localhost:9099/readiness"
    rows = {line.split()[0]: line.split() for line in get(host, ready).splitlines() if line}
    assert rows["CalculationGraph"][1:] == ["30s", "reporting", "live", "reporting", "ready", "-"]
    assert rows["InternalDataplaneMainLoop"][1] == "90s"
    assert "FelixStartup" not in rows
    overrides = [{"name": "InternalDataplaneMainLoop", "timeout": "17s"}]
    put(etcd, "felixconfigurations", "default", {"healthTimeoutOverrides": overrides})
    eventually(lambda: "17s" in get(host, ready))
    put(etcd, "felixconfigurations", "default", {})
    eventually(lambda: "90s" in get(host, ready))
    assert process.running


def test_it_is_live_and_ready_while_it_waits_for_the_datastore(
    host: FelixHost, etcd: EtcdClient
) -> None:
    declare_ready(etcd, False)
    process = host.start(wait=False)
    process.wait_until(lambda: "Waiting for the datastore" in process.output(), "waiting")
    for probe in ("liveness", "readiness"):
        assert "FelixStartup" in get(host, f"http://localhost:9099/{probe}")
