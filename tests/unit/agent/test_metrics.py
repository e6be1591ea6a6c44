"""QuantileSummary: quantiles of the window, sum and count of everything."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from calico_openstack.agent.metrics import PlainCounter, QuantileSummary


def test_summary() -> None:
    now = 0.0
    registry = CollectorRegistry()
    summary = QuantileSummary("felix_x_seconds", "X.", registry, window=10, clock=lambda: now)
    summary.observe(1000)
    now = 20.0
    for value in range(101):
        summary.observe(value)
    text = generate_latest(registry).decode()
    assert "# TYPE felix_x_seconds summary" in text
    assert 'felix_x_seconds{quantile="0.5"} 50.0' in text
    assert 'felix_x_seconds{quantile="0.99"} 99.0' in text
    assert "felix_x_seconds_count 102.0" in text
    assert "felix_x_seconds_sum 6050.0" in text


def test_counters_keep_their_names_in_both_formats() -> None:
    registry = CollectorRegistry()
    plain = PlainCounter("felix_x", "X.", registry)
    labelled = PlainCounter("felix_y", "Y.", registry, ("type",))
    plain.inc()
    labelled.inc(2, "a")
    labelled.inc(3, "b")
    lines = generate_latest(registry).decode().splitlines()
    assert {"felix_x 1.0", 'felix_y{type="a"} 2.0', 'felix_y{type="b"} 3.0'} <= set(lines)
    families = text_string_to_metric_families(generate_open_metrics(registry).decode())
    assert {sample.name for family in families for sample in family.samples} == {
        "felix_x",
        "felix_y",
    }
    with pytest.raises(ValueError, match="labels"):
        labelled.inc()
