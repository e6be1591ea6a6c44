"""Felix's metrics, by the names of the specification (section 6.1) where it has them."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    PlatformCollector,
    ProcessCollector,
)

from calico_openstack.agent.log import dropped_lines, failed_lines
from calico_openstack.agent.metrics import QuantileSummary

# Values of felix_resync_state.
WAIT_FOR_DATASTORE, RESYNC_IN_PROGRESS, IN_SYNC = 1, 2, 3


class FelixMetrics:
    """All metrics, in a registry of their own."""

    def __init__(self, host: str, *, process: bool = True) -> None:
        self.registry = registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        Gauge("felix_host", "This host.", ["host"], registry=registry).labels(host).set(1)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, registry=registry)

        self.resync_state = gauge("felix_resync_state", "1 waiting, 2 resync, 3 in sync.")
        self.resync_state.set(WAIT_FOR_DATASTORE)
        self.resyncs_started = counter("felix_resyncs_started", "Resynchronisations begun.")
        self.updates = Counter(
            "felix_calc_graph_updates_processed",
            "Datastore updates by kind.",
            ["type"],
            registry=registry,
        )
        self.update_time = QuantileSummary(
            "felix_calc_graph_update_time_seconds", "Calculation of one batch.", registry
        )
        self.local_endpoints = gauge("felix_active_local_endpoints", "Endpoints of this host.")
        self.local_policies = gauge("felix_active_local_policies", "Policies and profiles in use.")
        self.local_selectors = gauge("felix_active_local_selectors", "Selectors in use.")
        self.invalid_objects = gauge("felix_invalid_objects", "Unusable objects in the datastore.")
        self.held_deletions = gauge(
            "felix_held_deletions", "Deletions in the datastore held as a likely mistake."
        )
        self.refused_endpoints = gauge(
            "felix_refused_local_endpoints", "Endpoints of this host that are not programmed."
        )
        self.batch_size = QuantileSummary(
            "felix_int_dataplane_msg_batch_size", "Datastore updates taken in one pass.", registry
        )
        self.apply_time = QuantileSummary(
            "felix_int_dataplane_apply_time_seconds", "Programming of the kernel.", registry
        )
        self.apply_failures = counter(
            "felix_int_dataplane_failures", "Applies that left something to be tried again."
        )
        self.initial_resync_time = gauge(
            "felix_int_dataplane_initial_resync_time_seconds",
            "From the start to the first complete apply.",
        )
        self.problems = gauge("felix_int_dataplane_problems", "What cannot be programmed now.")
        self.kernel_writes = gauge("felix_kernel_writes", "Changes that the kernel carried out.")
        self.flows_ended = counter(
            "felix_conntrack_flows_ended", "Flows that lost their permission and were ended."
        )
        self.status_pending = gauge("felix_status_writes_pending", "Statuses not written yet.")
        gauge("felix_logs_dropped", "Log lines dropped.").set_function(dropped_lines)
        gauge("felix_log_errors", "Log lines that could not be written.").set_function(failed_lines)
