"""Felix's metrics, by the names of the specification (section 6.1) where it has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from calico_openstack.agent.log import dropped_lines, failed_lines
from calico_openstack.agent.metrics import (
    DeferredRegistry,
    PlainCounter,
    PlainGauge,
    QuantileSummary,
    family,
)
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    NetworkSet,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from calico_openstack.felix.calc import HostDelta
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.render.dataplane import DataplaneDelta
from calico_openstack.felix.render.nft import Family

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

# Values of felix_resync_state.
WAIT_FOR_DATASTORE, RESYNC_IN_PROGRESS, IN_SYNC = 1, 2, 3


class FelixMetrics:
    """All metrics; they get a registry of their own when somebody asks for it."""

    def __init__(self, host: str, *, process: bool = True) -> None:
        self._process = process
        self._registry = registry = DeferredRegistry()
        PlainGauge("felix_host", "This host.", registry, {"host": host}).set(1)

        def gauge(name: str, text: str) -> PlainGauge:
            return PlainGauge(name, text, registry)

        def counter(name: str, text: str, *labels: str) -> PlainCounter:
            return PlainCounter(name, text, registry, labels)

        self.resync_state = gauge("felix_resync_state", "1 waiting, 2 resync, 3 in sync.")
        self.resync_state.set(WAIT_FOR_DATASTORE)
        self.resyncs_started = counter("felix_resyncs_started", "Resynchronisations begun.")
        self.updates = counter(
            "felix_calc_graph_updates_processed", "Datastore updates by kind.", "type"
        )
        self._outputs = counter(
            "felix_calc_graph_output_events", "Changes of this host's policy state."
        )
        self._messages = counter(
            "felix_int_dataplane_messages", "Changed objects to be programmed, by type.", "type"
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
        self.interface_batch_size = QuantileSummary(
            "felix_int_dataplane_iface_msg_batch_size",
            "Interfaces of which the kernel told at once.",
            registry,
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

    def registry(self) -> CollectorRegistry:
        """Return a registry of the client library with all of them; call it once."""
        registry = self._registry.made()
        if self._process:
            from prometheus_client import PlatformCollector, ProcessCollector  # noqa: PLC0415

            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        return registry

    def note_changes(self, calculated: HostDelta, programmed: DataplaneDelta) -> None:
        """Count what one pass changed."""
        outputs = (
            calculated.endpoints,
            calculated.host_endpoints,
            calculated.blocks,
            calculated.sets,
            calculated.new_sets,
            calculated.gone_sets,
        )
        if number := sum(map(len, outputs)):
            self._outputs.inc(number)
        tables = programmed.tables.values()
        for kind, number in (
            ("chain", sum(len(table.chains) for table in tables)),
            ("set", sum(len(table.sets) for table in tables)),
            ("element", sum(len(names) for table in tables for names in table.elements.values())),
            ("route", len(programmed.routes)),
            ("neighbour", len(programmed.neighbours)),
            ("interface", len(programmed.interfaces)),
            ("shaping", len(programmed.shaping)),
        ):
            if number:
                self._messages.inc(number, kind)

    def show_cluster(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        """Show how many objects the cluster has; *sizes* says how many keys each prefix has."""

        def number(*kinds: str) -> Callable[[], float]:
            prefixes = tuple(map(prefix_of, kinds))

            def count() -> float:
                known = sizes()
                return sum(known.get(prefix, 0) for prefix in prefixes)

            return count

        for name, text, kinds in _CLUSTER:
            PlainGauge(name, text, self._registry).set_function(number(*kinds))

    def show_kernel(self, dataplane: Dataplane) -> None:
        """Show what the drivers of the kernel did, and what they have made."""
        self._registry.register(KernelCollector(dataplane))
        resyncs = QuantileSummary(
            "felix_route_table_resync_seconds", "Reading all routes back.", self._registry
        )
        dataplane.observe_route_resyncs(resyncs.observe)


_CLUSTER = (
    ("felix_cluster_num_host_endpoints", "Host endpoints.", (HostEndpoint.KIND,)),
    ("felix_cluster_num_workload_endpoints", "Workload endpoints.", (WorkloadEndpoint.KIND,)),
    ("felix_cluster_num_tiers", "Tiers.", (Tier.KIND,)),
    (
        "felix_cluster_num_policies",
        "Policies, staged ones included.",
        (
            NetworkPolicy.KIND,
            GlobalNetworkPolicy.KIND,
            StagedNetworkPolicy.KIND,
            StagedGlobalNetworkPolicy.KIND,
        ),
    ),
    ("felix_cluster_num_profiles", "Profiles.", (Profile.KIND,)),
    (
        "felix_label_index_num_endpoints",
        "Objects that selectors choose from.",
        (WorkloadEndpoint.KIND, HostEndpoint.KIND, NetworkSet.KIND, GlobalNetworkSet.KIND),
    ),
)
_VERSIONS = {Family.IP: "4", Family.IP6: "6"}


class KernelCollector:
    """Figures of the drivers, read when they are asked for."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics for a scrape."""
        nft = self._dataplane.nft
        done = nft.statistics
        for name, text, value in (
            ("felix_nft_calls", "Transactions of nftables.", done.calls),
            ("felix_nft_errors", "Transactions that the kernel refused.", done.errors),
            ("felix_nft_list_calls", "Listings of a table.", done.list_calls),
            ("felix_nft_list_errors", "Listings that failed.", done.list_errors),
        ):
            metric = family(name, text, "unknown")
            metric.add_sample(name, {}, value)
            yield metric
        sizes = {
            version: nft.size(table)
            for table in nft.tables
            if (version := _VERSIONS.get(table.family))
        }
        for kind in ("chains", "rules", "maps", "sets"):
            name = f"felix_nft_{kind}"
            metric = family(name, f"The {kind} in our table.", "gauge")
            for version, size in sizes.items():
                metric.add_sample(name, {"ip_version": version}, getattr(size, kind))
            yield metric
        for name, text, value in zip(
            ("felix_route_table_num_routes", "felix_route_table_num_ifaces"),
            ("Our routes in the kernel.", "Interfaces over which routes are wanted."),
            self._dataplane.routes_size,
            strict=True,
        ):
            metric = family(name, text, "gauge")
            metric.add_sample(name, {"table": "main"}, value)
            yield metric
