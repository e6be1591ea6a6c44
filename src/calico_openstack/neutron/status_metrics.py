"""What the status worker tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram, start_http_server

from calico_openstack.neutron.records import count_records

_LAG_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class StatusMetrics:
    """The metrics of one status worker; times are in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lag = Histogram(
            "calico_neutron_port_status_lag_seconds",
            "Time from the arrival of a report to the end of its writing to Neutron's database.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "calico_neutron_ports_waiting",
            "Ports whose reports are not yet written.",
            registry=self.registry,
        )
        self.hosts = Gauge(
            "calico_neutron_hosts_alive", "Hosts whose Felix is alive.", registry=self.registry
        )
        self.dhcp_agents = Gauge(
            "calico_neutron_dhcp_agents_alive",
            "DHCP agents that are alive.",
            registry=self.registry,
        )
        self.failures = Gauge(
            "calico_neutron_ports_failed",
            "Ports whose status could not be written and is tried again.",
            registry=self.registry,
        )
        changes = Gauge(
            "calico_neutron_changes_waiting",
            "Changes in Neutron's database that are not yet in etcd.",
            registry=self.registry,
        )
        changes.set_function(count_records)

    def serve(self, host: str, port: int) -> None:
        """Serve the metrics over HTTP, from a thread of its own; not for port 0."""
        if port:
            start_http_server(port, host, self.registry)
