"""The BGP agent: its threads, its loop, and what happens in a pass.

Two threads feed the loop: etcd's watch, and the one that keeps the Node registered. All decisions
and everything that touches BIRD happen in the loop, but for the scans that BIRD 3 needs at once.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from calico_openstack.agent.backoff import Backoff
from calico_openstack.agent.health import Health
from calico_openstack.agent.health_server import HealthServer
from calico_openstack.agent.introspection.server import IntrospectionServer
from calico_openstack.agent.mainloop import MainLoop, Timer
from calico_openstack.agent.metrics import serve
from calico_openstack.bgp.connectivity import Connectivity
from calico_openstack.bgp.debounce import Debounce
from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.introspection import PROGRAM, tables_of
from calico_openstack.bgp.isolation import render_accepted
from calico_openstack.bgp.metrics import BgpMetrics
from calico_openstack.bgp.nodestatus import reasons_of
from calico_openstack.bgp.options import AgentOptions
from calico_openstack.bgp.origination import affine_block, affinity_prefix, affinity_state
from calico_openstack.bgp.passwords import Passwords, read_passwords
from calico_openstack.bgp.peering_address import hold
from calico_openstack.bgp.registration import RegistrationError, register
from calico_openstack.bgp.render import (
    Rendered,
    render,
    render_without_sessions,
    secrets_of,
)
from calico_openstack.bgp.reporter import NodeStatusReporter
from calico_openstack.bgp.rescans import Rescans
from calico_openstack.bgp.safeguard import reason_to_wait
from calico_openstack.bgp.service import BirdPaths, BirdService
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import WATCHED_TYPES, RefusedError, StateStore
from calico_openstack.bgp.status import (
    AgentReport,
    BirdReport,
    SessionLog,
    as_document,
    write_document,
)
from calico_openstack.bgp.version import OLDEST_SUPPORTED
from calico_openstack.datamodel.codec import decode_at
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import (
    DHCP_PREFIX,
    DhcpSubnetKey,
    ResourceKey,
    openstack_namespace,
    parse_key,
    prefix_of,
    workload_endpoint_prefix,
)
from calico_openstack.datamodel.resource import Resource
from calico_openstack.etcd import Batch, EtcdClient, EtcdError, SnapshotWatch, Update

_log = logging.getLogger(__name__)

QUIET: Final = 0.2
LONGEST_DELAY: Final = 2.0
_RECONCILE_INTERVAL: Final = 1.0
_REPORT_INTERVAL: Final = 2.0
# While BIRD is not yet where it should be, steps follow each other quickly.
_STEP: Final = 0.2
_RETRY: Final = 5.0
_HEALTH_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Registered:
    """What came of an attempt to register the Node."""

    faults: tuple[str, ...]


Event = Batch | Registered


class BgpAgent:
    """One host's BGP, from etcd to BIRD."""

    def __init__(self, options: AgentOptions) -> None:
        self._options = options
        self._loop: MainLoop[Event] = MainLoop(self._pass, idle_interval=_RECONCILE_INTERVAL)
        self._host_options = HostOptions(
            router_id=options.router_id,
            log_file=options.bird_log,
            service_interface=options.service_interface,
            like_kubernetes=options.like_kubernetes,
        )
        self._service = bird_service(options, self._host_options)
        self._store = StateStore()
        self._passwords = Passwords()
        self._rendered: Rendered | None = None
        self._reported: dict[str, Any] = {}
        self._refusal = ""
        self._in_sync = False
        self._connected = False
        self._faults: tuple[str, ...] = ()
        self._debounce = Debounce(QUIET, LONGEST_DELAY)
        self._wake: Timer | None = None
        self._metrics = BgpMetrics()
        self._sessions = SessionLog(lambda name: self._metrics.flaps.labels(name).inc())
        self._connectivity = Connectivity()
        self._isolated: frozenset[Family] = frozenset()
        self._registrar = Registrar(options, self._loop)
        self._reporter = NodeStatusReporter(
            options.etcd, options.host, options.control_socket, options.status_period
        )
        self._rescans = Rescans(options.control_socket)
        if not self._follow_version():
            _log.error("%s is not supported, BIRD %s is", options.bird, OLDEST_SUPPORTED)
        self._health = Health()
        self._health.register("bgp-agent", timeout=_HEALTH_TIMEOUT)

    def run(self) -> int:
        """Run until a signal says otherwise; return the exit code. BIRD stays."""
        options = self._options
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.on_signal(number, self._loop.stop)
        client = EtcdClient(options.etcd)
        prefixes = [prefix_of(kind.KIND) for kind in WATCHED_TYPES]
        namespace = openstack_namespace(options.region)
        prefixes += [
            DHCP_PREFIX,
            affinity_prefix(options.host),
            workload_endpoint_prefix(namespace, options.host),
        ]
        watch = SnapshotWatch(client, prefixes, self._loop.post)
        with contextlib.ExitStack() as stack:
            if options.health_port:
                server = HealthServer(self._health, options.health_host, options.health_port)
                stack.callback(server.close)
            if options.metrics_port:
                serve(self._metrics.registry, options.metrics_host, options.metrics_port)
            stack.callback(self._service.close)
            self._service.adopt()
            watch.start()
            stack.callback(watch.stop)
            self._registrar.start()
            stack.callback(self._registrar.stop)
            self._reporter.start()
            stack.callback(self._reporter.stop)
            self._rescans.start()
            stack.callback(self._rescans.stop)
            self._loop.every(_REPORT_INTERVAL, self._report)
            tables = tables_of(lambda: self._reported)
            inside = IntrospectionServer(PROGRAM, options.host, tables, self._loop.call)
            stack.callback(inside.close)
            return self._loop.run()

    def _pass(self, events: Sequence[Event]) -> None:
        now = time.monotonic()
        for event in events:
            if isinstance(event, Batch):
                self._take(event, now)
            else:
                self._faults = event.faults
        written_for = self._host_options
        if not self._service.running:
            # One of another version starts with what is written for it: it would begin anew with
            # the host's own routes when it got that afterwards.
            self._follow_version()
        changed = self._host_options is not written_for
        if self._in_sync and (self._debounce.take(now) or changed):
            self._render()
        try:
            self._service.reconcile()
        except OSError as error:
            _log.error("BIRD cannot be brought to its configuration: %s", error)
        self._schedule()
        self._health.report("bgp-agent", ready=self._in_sync and not self._alarm)

    def _take(self, batch: Batch, now: float) -> None:
        self._connected = batch.connected
        matter = [self._take_update(update) for update in batch.updates]
        if any(matter) or batch.in_sync != self._in_sync:
            self._debounce.touch(now)
        self._in_sync = batch.in_sync

    def _take_update(self, update: Update) -> bool:
        """Note a change; return whether it may matter to the configuration."""
        block = affine_block(update.key)
        if block is not None:
            state = None if update.value is None else affinity_state(update.value)
            self._store.apply_affinity(block, state)
            return True
        key = parse_key(update.key)
        if key is None:
            return False
        value = None if update.value is None else decode_at(update.key, key, update.value)
        if isinstance(key, ResourceKey) and key.kind == WorkloadEndpoint.KIND:
            usable = value if isinstance(value, WorkloadEndpoint) else None
            self._store.apply_workload(f"{key.namespace}/{key.name}", usable)
            return self._store.workloads_matter
        if isinstance(value, Invalid):
            _log.warning("Left out: %s", value)
        if isinstance(key, DhcpSubnetKey):
            if value is None or isinstance(value, Invalid | DhcpSubnet):
                self._store.apply_subnet(f"{key.region}/{key.subnet_id}", value)
        elif isinstance(key, ResourceKey) and (
            value is None or isinstance(value, Invalid | Resource)
        ):
            self._store.apply(key.kind, key.name, value)
        return True

    def _render(self) -> None:
        state = self._store.state()
        passwords = read_passwords(self._options.secrets_directory, secrets_of(state))
        if passwords.faults != self._passwords.faults:
            for secret, fault in passwords.faults.items():
                _log.warning("No password %s/%s: %s", secret.name, secret.key, fault)
        self._passwords = passwords
        begun = time.monotonic()
        try:
            rendered = render_accepted(
                lambda excluded: render(
                    state,
                    self._options.host,
                    passwords.found,
                    self._host_options,
                    excluded,
                    isolated=self._isolated,
                ),
                self._service.fault_of,
            )
        except RefusedError as error:
            self._refuse(str(error))
            return
        except OSError as error:
            _log.error("No configuration can be checked: %s", error)
            self._loop.after(_RETRY, lambda: self._debounce.touch(time.monotonic()))
            return
        self._metrics.render_time.observe(time.monotonic() - begun)
        reason = reason_to_wait(self._service.wanted or "", rendered)
        if reason:
            self._refuse(reason)
            return
        before = self._rendered.problems if self._rendered else ()
        for problem in rendered.problems:
            if problem not in before:
                _log.warning("Left out: %s", problem)
        self._refusal = ""
        self._rendered = rendered
        self._service.want(rendered.text)
        try:
            hold(rendered.peering_addresses)
        except OSError as error:
            _log.error("Workloads cannot find this host: %s", error)

    def _refuse(self, reason: str) -> None:
        if reason != self._refusal:
            _log.error("The configuration stays as it is: %s", reason)
        self._refusal = reason
        if not self._service.configured:
            self._service.want(render_without_sessions(self._options.host, self._host_options).text)

    def _report(self) -> None:
        bird = self._service.report()
        if bird is not None:
            self._sessions.take(bird.protocols)
            self._look_at_connectivity(bird)
        self._follow_version()
        report = AgentReport(
            host=self._options.host,
            rendered=self._rendered,
            in_sync=self._in_sync,
            connected=self._connected,
            alarm=self._alarm,
            faults=self._faults,
            isolated=self._isolated,
            reloads=self._service.reloads,
        )
        document = as_document(report, bird, datetime.now(UTC))
        self._reported = document
        self._metrics.take(document)
        self._reporter.tell(reasons_of(document))
        try:
            write_document(self._options.status_file, document)
        except OSError as error:
            _log.warning("Cannot write the status file: %s", error)
        self._look_at_passwords()

    def _look_at_connectivity(self, bird: BirdReport) -> None:
        """Render again when this host has come to be alone, or is so no longer."""
        established = {p.name for p in bird.protocols.values() if p.established}
        sessions = self._rendered.sessions if self._rendered else ()
        now = time.monotonic()
        isolated = self._connectivity.isolated(sessions, established, now)
        if isolated != self._isolated:
            _log.warning("Families without a session in the AS: %s", sorted(isolated) or "none")
            self._isolated = isolated
            self._debounce.touch(now)

    def _follow_version(self) -> bool:
        """Write for the BIRD that is there; return whether it is supported."""
        version = self._service.version
        if version is not None and version != self._host_options.version:
            _log.info("Configurations are written for BIRD %s", version)
            self._host_options = replace(self._host_options, version=version)
            self._debounce.touch(time.monotonic())
        return version is not None and version.supported

    def _look_at_passwords(self) -> None:
        """Render again when a password's file has changed."""
        wanted = self._rendered.secrets if self._rendered else ()
        current = read_passwords(self._options.secrets_directory, wanted).found
        if any(current.get(secret) != self._passwords.found.get(secret) for secret in wanted):
            self._debounce.touch(time.monotonic())

    @property
    def _alarm(self) -> str:
        return self._refusal or self._service.alarm

    def _schedule(self) -> None:
        """Make sure of a pass when there is something to do before the next regular one."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        due = self._debounce.due_at if self._in_sync else None
        if due is not None:
            self._wake = self._loop.after(max(0.0, due - time.monotonic()), _nothing)
        elif self._service.configured and not self._service.settled:
            self._wake = self._loop.after(_STEP, _nothing)


class Registrar:
    """The thread that keeps the Node registered: at the start, then at intervals."""

    def __init__(self, options: AgentOptions, loop: MainLoop[Event]) -> None:
        self._options = options
        self._loop = loop
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for, since etcd may keep it."""
        self._stopping.set()

    def _run(self) -> None:
        interval = self._options.registration_interval
        backoff = Backoff(1.0, interval)
        last: tuple[str, ...] = ()
        with EtcdClient(self._options.etcd) as client:
            while not self._stopping.is_set():
                try:
                    faults = register(client, self._options.registration)
                    backoff.reset()
                    pause = interval
                except (RegistrationError, EtcdError, OSError) as error:
                    faults = (str(error),)
                    pause = backoff.next_pause()
                if faults != last:
                    for fault in faults:
                        _log.warning("Registration of this host's Node: %s", fault)
                    self._loop.post(Registered(faults))
                    last = faults
                self._stopping.wait(pause)


def bird_service(options: AgentOptions, host_options: HostOptions) -> BirdService:
    """Return the service that runs BIRD as the options say."""
    paths = BirdPaths(
        configuration=options.configuration_file,
        control=options.control_socket,
        pid=options.bird_pid_file,
        process=options.process_file,
        log=Path(options.bird_log) if options.bird_log else None,
    )
    sessionless = render_without_sessions(options.host, host_options).text
    return BirdService(paths, options.bird, options.bird_group, sessionless)


def _nothing() -> None:
    """A timer's callback where only the pass that follows matters."""
