"""Felix's core loop: everything that came up becomes one pass from etcd to the kernel.

A pass decodes what etcd delivered, calculates, renders, programs the kernel, and tells others what
changed: the status reporter, and who ends flows that lost their permission. All of it happens in
the main thread; other threads only bring events, carry statuses away, or search.

Nothing is written to the kernel before the snapshot of etcd is complete; the interfaces were listed
when the dataplane was made. Until then, and whenever Felix does not run, the kernel keeps working
with what it has.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Final

from msgspec import Struct, field

from calico_openstack.agent.health import Health
from calico_openstack.agent.log import fields
from calico_openstack.agent.mainloop import MainLoop
from calico_openstack.datamodel.deferred import DeferredPolicy
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.datamodel.remote import RemoteEndpoint
from calico_openstack.etcd import Ahead, Batch, EtcdClient, SnapshotWatch
from calico_openstack.felix import metrics as felix_metrics
from calico_openstack.felix.calc import HostCalculation, HostDelta
from calico_openstack.felix.deletions import DeletionGuard
from calico_openstack.felix.endpoint_reports import EndpointReports, Reports
from calico_openstack.felix.flow_ending import FlowEnding
from calico_openstack.felix.host_endpoints import HostEndpointFollower
from calico_openstack.felix.inputs import Inputs
from calico_openstack.felix.introspection import Insides
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.memory import expect_growth, settle_memory
from calico_openstack.felix.metrics import FelixMetrics
from calico_openstack.felix.migrations import MigrationFollower, MigrationSettings
from calico_openstack.felix.mtu import MtuFile
from calico_openstack.felix.parameters import ParameterWatch
from calico_openstack.felix.render import Renderer
from calico_openstack.felix.render.dataplane import DataplaneDelta
from calico_openstack.felix.reporting import StatusReporter
from calico_openstack.felix.schedule import ApplySchedule
from calico_openstack.felix.startup import clean_up
from calico_openstack.felix.status_files import StatusFileWriter

_log = logging.getLogger(__name__)

RESTART: Final = 129
_PATIENCE: Final = 5.0
# How often is looked at deletions that wait.
_MOMENT: Final = 0.1

CALCULATION: Final = "CalculationGraph"
DATAPLANE: Final = "InternalDataplaneMainLoop"


class AgentSettings(Struct, frozen=True):
    """Settings of the loop itself; seconds.

    *audit_interval* is how often everything is read back from the kernel and repaired, 0 for
    never. With *policy_ends_flows* a flow ends with the permission that it alone was allowed by;
    without, as upstream, established flows live on.
    """

    host: str
    region: str
    audit_interval: float = 90.0
    policy_ends_flows: bool = True
    workload_prefixes: tuple[str, ...] = ("tap",)
    migration: MigrationSettings = field(default_factory=MigrationSettings)


class FelixAgent:
    """Owns the loop and the state; made, run once, and thrown away."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        calculation: HostCalculation,
        renderer: Renderer,
        dataplane: Dataplane,
        parameters: ParameterWatch,
        reporter: StatusReporter,
        status_files: StatusFileWriter,
        mtu_file: MtuFile,
        health: Health,
        metrics: FelixMetrics,
        started_at: float,
    ) -> None:
        self.loop: MainLoop[Batch] = MainLoop(self._pass, ready_when_running=False)
        self._settings = settings
        self._calculation = calculation
        self._renderer = renderer
        self._dataplane = dataplane
        self._parameters = parameters
        self._reporter = reporter
        self._status_files = status_files
        self._mtu_file = mtu_file
        self._deletions = DeletionGuard(lambda: parameters.settings, metrics.held_deletions.set)
        self._health = health
        self._metrics = metrics
        self._started_at = started_at
        self._host_endpoints = HostEndpointFollower(
            settings.host, settings.workload_prefixes, calculation
        )
        self._look_due = False
        self._own_interfaces_changed = False
        self._migrations = MigrationFollower(settings.migration, dataplane, self.loop)
        self._inputs = Inputs(settings.host)
        self._watch: SnapshotWatch | None = None
        self._in_sync = False
        self._complete = False  # the kernel was programmed once
        self._schedule = ApplySchedule(self.loop)
        self._flow_ending = FlowEnding(
            self.loop, dataplane, calculation.judge, metrics.flows_ended.inc
        )
        self._endpoints = EndpointReports(
            settings.region, settings.host, dataplane, renderer.floating, self._migrations.awaits
        )
        self._refused: dict[ResourceKey, str] = {}
        self._unprotected: frozenset[str] = frozenset()
        self._failures: frozenset[str] = frozenset()
        self._unreported: dict[str, str | None] = {}

    def watch(self, client: EtcdClient, prefixes: Sequence[str], ahead: Ahead | None) -> None:
        """Begin to listen to etcd, where *ahead* lists already; `run` works on what comes."""
        self._watch = watch = SnapshotWatch(client, prefixes, self._deliver, ahead=ahead)
        self._metrics.show_cluster(lambda: watch.sizes)
        self._metrics.show_hosts(watch.keys)
        self._metrics.show_index(self._calculation.index_figures)
        self._metrics.show_migrations(self._migrations.count)
        self._metrics.show_kernel(self._dataplane)
        self._watch.start()
        self._reporter.start()

    @property
    def insides(self) -> Insides:
        """What others may look at, in the loop's thread only."""
        return Insides(
            host=self._settings.host,
            state=self._calculation.state,
            desired=self._renderer.desired,
            dataplane=self._dataplane,
            invalid=self._inputs.invalid,
            settings=lambda: self._parameters.settings,
            awaits=self._migrations.awaits,
            activity=self._metrics.activity,
            queues=lambda: {
                "batches from etcd": self.loop.queued,
                "statuses to be written": self._reporter.pending,
                "deletions that are held": int(bool(self._deletions.waiting)),
            },
        )

    def close(self) -> None:
        """Stop the threads; the kernel and etcd keep what they have."""
        if self._watch is not None:
            self._watch.stop()
        self._migrations.close()
        self._flow_ending.close()
        self._status_files.close()
        self._reporter.stop()

    def run(self) -> int:
        """Run until stopped; return the exit code."""
        for descriptor in self._dataplane.filenos():
            self.loop.add_reader(descriptor, self._kernel_changed)
        if self._settings.audit_interval:
            self.loop.every(self._settings.audit_interval, self._audit)
        self._follow_interfaces(set(self._dataplane.interfaces))
        expect_growth()
        return self.loop.run()

    def _deliver(self, batch: Batch) -> None:
        """Queue a batch; called by the watch's thread. A listing waits for us, page by page."""
        if batch.in_sync or not (batch.updates or batch.prepared):
            self.loop.post(batch)
        else:
            self.loop.post_when_taken(batch, _PATIENCE)

    # --- what wakes the loop ------------------------------------------------------------------

    def _kernel_changed(self) -> None:
        now = time.monotonic()
        names = self._dataplane.read_notifications(now)
        if names:
            self._metrics.interface_batch_size.observe(len(names))
        if number := self._dataplane.readdressed:
            self._metrics.address_batch_size.observe(number)
        self._follow_interfaces(names)
        if names & self._endpoints.interfaces.keys():
            # An endpoint's interface that came must not wait behind a quarrel.
            self._schedule.now()
        elif self._dataplane.needs_apply:
            self._schedule.repair()
        else:
            # A strange route that came may stay for a while.
            self._schedule.at(self._dataplane.next_deadline(), now)

    def _audit(self) -> None:
        _log.debug("Audit the kernel")
        self._follow_interfaces(self._dataplane.audit(time.monotonic()))
        self._schedule.now()

    def _follow_interfaces(self, changed: set[str]) -> None:
        self._mtu_file.follow(changed, self._dataplane.interfaces)
        if self._host_endpoints.follow(changed, self._dataplane.interfaces):
            self._own_interfaces_changed = True

    def _look_again(self) -> None:
        self._look_due = False

    # --- the pass -----------------------------------------------------------------------------

    def _pass(self, batches: Sequence[Batch]) -> None:
        if batches or self._deletions.waiting:
            self._take(batches)
            if self._in_sync and (reason := self._parameters.reason_to_restart()):
                _log.warning("Restarting", extra=fields(reason=reason))
                self.loop.stop(RESTART)
                return
        if self._in_sync:
            self._follow_cluster()
        elif batches:
            # While the rest is listed, what is known is got ready; nothing of it goes anywhere.
            change = self._calculate()
            self._metrics.note_changes(change, self._renderer.apply(change))
        if batches:
            overrides = dict(self._parameters.settings.health_timeout_overrides)
            self._health.override_timeouts(overrides)
        self._health.report(CALCULATION, ready=self._in_sync)
        self._health.report(DATAPLANE, ready=self._complete)

    def _follow_cluster(self) -> None:
        """Bring this host up to date with what is known of the cluster."""
        delta = change = self._calculate()
        if not self._complete:
            delta = self._calculation.state.news()
        moved = self._migrations.follow(self._calculation, delta.endpoints)
        self._renderer.prioritise(moved)
        changed = self._renderer.apply(change)
        self._endpoints.note(delta.endpoints, self._calculation.state.endpoints)
        if self._settings.policy_ends_flows:
            self._flow_ending.add(delta.withdrawals)
        if changed or self._schedule.due or not self._complete:
            self._program(changed, delta)
        # From here on nobody waits for the kernel.
        self._metrics.note_changes(change, changed)
        if moved:
            self._report(self._endpoints.of(moved))
        unprotected = self._dataplane.unprotected
        if delta.host_endpoints or self._own_interfaces_changed or unprotected != self._unprotected:
            self._report_host_endpoints(unprotected)
        self._report_refusals()

    def _take(self, batches: Sequence[Batch]) -> None:
        began = time.monotonic()
        kinds: Counter[str] = Counter()
        sizes = self._watch.sizes if self._watch else {}
        remote = 0
        for endpoint in chain.from_iterable(batch.prepared for batch in batches):
            self._calculation.update_remote(endpoint)
            remote += 1
        for update in self._deletions.admit(batches, sizes, began):
            decoded = self._inputs.decode(update)
            if decoded is None:
                continue
            if isinstance(decoded, RemoteEndpoint):
                self._calculation.update_remote(decoded)
                remote += 1
                continue
            key, resource = decoded
            kinds[key.kind] += 1
            if key.kind == LiveMigration.KIND:
                self._migrations.update(key, resource)
                continue
            if not isinstance(resource, DeferredPolicy):
                self._parameters.update(key, resource)
            # Nodes may matter to both.
            self._calculation.update(key, resource)
        if remote:
            kinds[WorkloadEndpoint.KIND] += remote
        if self._deletions.waiting and not self._look_due:
            self._look_due = True
            self.loop.after(_MOMENT, self._look_again)
        for kind, number in kinds.items():
            self._metrics.updates.inc(number, kind)
        self._metrics.batch_size.observe(kinds.total())
        self._metrics.update_time.observe(time.monotonic() - began)
        self._metrics.invalid_objects.set(len(self._inputs.invalid))
        if batches:
            self._note_connection(batches[-1])

    def _note_connection(self, last: Batch) -> None:
        if last.in_sync and not self._in_sync:
            self._in_sync = True
            _log.info("The snapshot of etcd is complete")
        state = felix_metrics.RESYNC_IN_PROGRESS
        if not last.connected:
            state = felix_metrics.WAIT_FOR_DATASTORE
        elif last.in_sync:
            state = felix_metrics.IN_SYNC
        self._metrics.resync_state.set(state)

    def _calculate(self) -> HostDelta:
        delta = self._calculation.flush()
        state = self._calculation.state
        self._metrics.local_endpoints.set(len(state.endpoints))
        self._metrics.local_policies.set(len(state.blocks))
        self._metrics.local_selectors.set(len(state.sets))
        return delta

    def _program(self, changed: DataplaneDelta, delta: HostDelta) -> None:
        now = time.monotonic()
        self._schedule.due = False
        different = self._dataplane.apply(self._renderer.desired, changed, now)
        self._flow_ending.go_on()
        self._metrics.apply_time.observe(time.monotonic() - now)
        self._metrics.kernel_writes.set(self._dataplane.writes)
        self._note_failures()
        self._arrange(now)
        if not self._complete:
            self._first_time()
        else:
            externals = [external.packed for external in changed.translations]
            self._report(self._endpoints.after_apply(delta.endpoints, different, externals))
        self._status_files.apply(delta.endpoints, self._calculation.state.endpoints)

    def _first_time(self) -> None:
        self._complete = True
        self.loop.manager.ready()
        took = time.monotonic() - self._started_at
        self._metrics.initial_resync_time.set(took)
        _log.info(
            "The kernel is programmed",
            extra=fields(
                seconds=f"{took:.3f}",
                endpoints=len(self._endpoints),
                writes=self._dataplane.writes,
                problems=len(self._failures),
            ),
        )
        self._reporter.begin(self._endpoints.all())
        clean_up()
        self._inputs.settle()
        settle_memory()

    def _arrange(self, now: float) -> None:
        """Arrange the next apply where something is left to do."""
        if self._dataplane.needs_apply:
            self._metrics.apply_failures.inc()
            self._schedule.retry()
        else:
            self._schedule.succeeded()
        self._schedule.at(self._dataplane.next_deadline(), now)

    def _note_failures(self) -> None:
        """Say once what cannot be programmed, and once when it can."""
        failures = frozenset(self._dataplane.failures)
        for failure in sorted(failures - self._failures):
            _log.error("Cannot be programmed", extra=fields(reason=failure))
        for failure in sorted(self._failures - failures):
            _log.info("No longer a problem", extra=fields(reason=failure))
        self._failures = failures
        self._metrics.problems.set(len(failures))

    # --- status -------------------------------------------------------------------------------

    def _report(self, changes: Reports) -> None:
        if changes:
            self._reporter.update(changes)
        self._metrics.status_pending.set(self._reporter.pending)

    def _report_host_endpoints(self, unprotected: frozenset[str]) -> None:
        self._own_interfaces_changed = False
        self._unprotected = unprotected
        if changes := self._host_endpoints.changes(self._dataplane.interfaces, unprotected):
            self._reporter.update(changes)

    def _report_refusals(self) -> None:
        """Say once why an endpoint of this host is not programmed."""
        problems = self._calculation.state.problems
        if problems == self._refused:
            return
        for key, reason in problems.items():
            if self._refused.get(key) != reason:
                extra = fields(key=key.path, reason=reason)
                _log.warning("An endpoint of this host is not programmed", extra=extra)
        self._refused = dict(problems)
        self._metrics.refused_endpoints.set(len(problems))
