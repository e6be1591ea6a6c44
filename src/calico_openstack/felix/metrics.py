"""Felix's metrics, by the names of the specification (section 6.1) where it has them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from calico_openstack.agent.log import dropped_lines, failed_lines
from calico_openstack.agent.metrics import (
    DeferredRegistry,
    PlainCounter,
    PlainGauge,
    QuantileSummary,
    Readings,
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
from calico_openstack.felix.calc.groups import IndexFigures
from calico_openstack.felix.calc.migration import MigrationState
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel_figures import KernelCollector, kernel_figures
from calico_openstack.felix.render.dataplane import DataplaneDelta

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

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
        self.address_batch_size = QuantileSummary(
            "felix_int_dataplane_addr_msg_batch_size",
            "Interfaces of whose addresses the kernel told at once.",
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
        self._route_resyncs = QuantileSummary(
            "felix_route_table_resync_seconds", "Reading all routes back.", registry
        )
        QuantileSummary(
            "felix_route_table_partial_resync_seconds",
            "Reading the routes of one interface back: never done, as the kernel tells of each.",
            registry,
        )
        self._conntrack_waits = QuantileSummary(
            "felix_route_table_conntrack_wait_seconds",
            "Ending the flows of addresses that left.",
            registry,
            {"table": "main"},
        )
        self._hosts = gauge("felix_cluster_num_hosts", "Hosts that have workload endpoints.")
        self._cluster = [
            (gauge(name, text), tuple(map(prefix_of, kinds))) for name, text, kinds in _CLUSTER
        ]
        self._selectors = Readings(
            "felix_label_index_num_active_selectors",
            "Selectors in use; optimized: looked at only where a label is that they require.",
            registry,
            "optimized",
            ("true", "false"),
        )
        self._evaluations = Readings(
            "felix_label_index_selector_evals",
            "How often a selector was tried on labels, by whether it matched.",
            registry,
            "result",
            ("true", "false"),
            kind="unknown",
        )
        self._strategies = Readings(
            "felix_label_index_strategy_evals",
            "How labels were found that a new selector may match.",
            registry,
            "strategy",
            _STRATEGIES,
            kind="unknown",
        )
        self._migrations = Readings(
            "felix_live_migrations",
            "Endpoints of this host that migrate, by the state of their routes.",
            registry,
            "state",
            _MIGRATION_STATES.values(),
        )
        self._kernel = KernelCollector(registry)
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

    def activity(self) -> dict[str, float]:
        """Return what was done since the start: counts, and seconds that it took."""
        calculated, batches = self.update_time.totals
        applied, applies = self.apply_time.totals
        return {
            "updates": self.updates.total,
            "batches": batches,
            "seconds of calculation": calculated,
            "applies": applies,
            "seconds of programming": applied,
            "failed applies": self.apply_failures.total,
            "flows ended": self.flows_ended.total,
            "kernel writes": self.kernel_writes.value,
        }

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
        for shown, prefixes in self._cluster:
            shown.set_function(partial(_number, sizes, prefixes))

    def show_hosts(self, keys: Callable[[str], Iterable[str]]) -> None:
        """Show how many hosts have workloads; *keys* says which keys a prefix has.

        Counted anew once a minute at most: there may be hundreds of thousands.
        """
        prefix = prefix_of(WorkloadEndpoint.KIND)
        counted = {"at": -math.inf, "hosts": 0.0}

        def count() -> float:
            now = time.monotonic()
            if now - counted["at"] > _COUNT_INTERVAL:
                counted.update(at=now, hosts=len(hosts_of(keys(prefix))))
            return counted["hosts"]

        self._hosts.set_function(count)

    def show_index(self, read: Callable[[], IndexFigures]) -> None:
        """Show what the index of labels and selectors has and did."""
        self._selectors.set_function(lambda: _by_truth(read().indexed, read().scanned))
        self._evaluations.set_function(lambda: _by_truth(read().matched, read().unmatched))

        def strategies() -> dict[str, float]:
            figures = read()
            counts = (figures.by_label, figures.all_groups, figures.nothing)
            return dict(zip(_STRATEGIES, counts, strict=True))

        self._strategies.set_function(strategies)

    def show_migrations(self, count: Callable[[], Mapping[MigrationState, int]]) -> None:
        """Show how many endpoints are in each state of a migration."""
        self._migrations.set_function(
            lambda: {_MIGRATION_STATES[state]: number for state, number in count().items()}
        )

    def show_kernel(self, dataplane: Dataplane) -> None:
        """Show what the drivers of the kernel did, and what they have made."""
        self._kernel.read = partial(kernel_figures, dataplane)
        dataplane.observe_route_resyncs(self._route_resyncs.observe)
        dataplane.observe_conntrack_wait = self._conntrack_waits.observe


def hosts_of(keys: Iterable[str]) -> set[str]:
    """Return what stands for the host in each key of a workload endpoint."""
    found = (_HOST.match(key, key.rfind("/") + 1) for key in keys)
    return {match[0] for match in found if match}


def _number(sizes: Callable[[], Mapping[str, int]], prefixes: tuple[str, ...]) -> float:
    known = sizes()
    return sum(known.get(prefix, 0) for prefix in prefixes)


def _by_truth(true: float, false: float) -> dict[str, float]:
    return {"true": true, "false": false}


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
# How a new selector's labels were found: upstream's words.
_STRATEGIES = ("endpoint-label-name", "endpoint-full-scan", "no-match")
_MIGRATION_STATES = {
    MigrationState.TARGET: "target",
    MigrationState.LIVE: "live",
    MigrationState.TIME_WAIT: "time-wait",
}
# The first part of a workload endpoint's name; dashes within a part are doubled.
_HOST = re.compile(r"(?:[^-]|--)+")
# Seconds.
_COUNT_INTERVAL = 60.0
