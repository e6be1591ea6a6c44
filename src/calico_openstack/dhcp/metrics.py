"""The DHCP agent's metrics for Prometheus. All names begin with ``calico_dhcp_``."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector

from calico_openstack.agent.metrics import QuantileSummary
from calico_openstack.dhcp.dnsmasq import Role

_PREFIX: Final = "calico_dhcp_"


class DhcpMetrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.in_sync = Gauge(
            f"{_PREFIX}in_sync", "1 when everything was read from etcd once.", registry=registry
        )
        self.connected = Gauge(
            f"{_PREFIX}etcd_connected", "1 while etcd's state is current.", registry=registry
        )
        self.networks = Gauge(
            f"{_PREFIX}networks", "Networks with ports that are served.", registry=registry
        )
        self.problems = Gauge(
            f"{_PREFIX}problems",
            "What cannot be served as it was meant, each logged once.",
            registry=registry,
        )
        self.processes = Gauge(
            f"{_PREFIX}processes", "dnsmasq processes by task.", ["role"], registry=registry
        )
        self.starts = Counter(
            f"{_PREFIX}process_starts",
            "Starts of dnsmasq: of a new generation, or because a process had ended.",
            ["role", "reason"],
            registry=registry,
        )
        self.reloads = Counter(
            f"{_PREFIX}process_reloads",
            "Times that a dnsmasq was told to read its files again.",
            ["role"],
            registry=registry,
        )
        self.pass_time = QuantileSummary(
            f"{_PREFIX}pass_seconds", "From what is known to files and processes.", registry
        )
        for role in Role:
            self.processes.labels(role.value).set(0)
            self.reloads.labels(role.value)
            for reason in ("change", "end"):
                self.starts.labels(role.value, reason)
