"""QuantileSummary: quantiles of the window, sum and count of everything."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from calico_openstack.agent.metrics import QuantileSummary


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
