"""Figures that are computed for the metrics."""

from __future__ import annotations

from calico_openstack.agent.metrics import Readings
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.selector import parse
from calico_openstack.felix.calc.groups import GroupIndex, IndexFigures
from calico_openstack.felix.metrics import FelixMetrics, hosts_of


def endpoint_key(node: str, number: int) -> str:
    name = workload_endpoint_name(node, "openstack", f"vm-{number}", f"port-{number}")
    return ResourceKey("WorkloadEndpoint", name, "openstack").path


def test_hosts_are_told_apart_by_their_whole_name() -> None:
    nodes = ("a", "a-b", "a-b-c", "b.example.org")
    keys = [endpoint_key(node, number) for node in nodes for number in (1, 2)]
    assert len(hosts_of(keys)) == len(nodes)
    assert hosts_of([]) == set()


def test_hosts_are_not_counted_at_each_scrape() -> None:
    metrics = FelixMetrics("host", process=False)
    asked = []

    def keys(prefix: str) -> list[str]:
        asked.append(prefix)
        return [endpoint_key("a", 1)]

    metrics.show_hosts(keys)
    registry = metrics.registry()
    for _ in range(2):
        assert registry.get_sample_value("felix_cluster_num_hosts") == 1.0
    assert len(asked) == 1


def test_the_index_counts_what_it_tries() -> None:
    groups = GroupIndex()
    groups.group({"role": "web"})
    groups.use_set(parse("role == 'web'"))
    groups.use_set(parse("role == 'db'"))
    groups.use_set(parse("all()"))
    groups.use_set(parse("has(nothing)"))
    assert groups.figures() == IndexFigures(
        indexed=3, scanned=1, matched=2, unmatched=1, by_label=2, all_groups=1, nothing=1
    )
    groups.group({"role": "db"})
    figures = groups.figures()
    assert (figures.matched, figures.unmatched) == (4, 1)


def test_readings_that_are_left_out_are_zero() -> None:
    metrics = FelixMetrics("host", process=False)
    registry = metrics.registry()
    readings = Readings("shown", "Of a test.", registry, "kind", ("a", "b"))
    assert registry.get_sample_value("shown", {"kind": "a"}) == 0.0
    readings.set_function(lambda: {"b": 2.0})
    assert registry.get_sample_value("shown", {"kind": "a"}) == 0.0
    assert registry.get_sample_value("shown", {"kind": "b"}) == 2.0
