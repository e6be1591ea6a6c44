"""Takes the agents' reports from etcd to Neutron's agents and ports.

One thread of etcd's watch hands over changes, one thread decides, and a few write ports. A
round takes what has come in, up to a number of ports, and ends before the next one begins:
what is newer is decided on later and is written later.

Any number of these services may run. Each of them compares reports with the database before it
writes, so that a second one finds nothing to do.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from oslo_log import log

from calico_openstack.datamodel.keys import dhcp_status_prefix, felix_status_prefix
from calico_openstack.etcd import Batch, EtcdClient, SnapshotWatch
from calico_openstack.neutron import segments
from calico_openstack.neutron import status_database as database
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.provisioning import provisioned, target_plugged
from calico_openstack.neutron.status import (
    ACTIVE,
    Agent,
    AgentKind,
    PortState,
    ReportBook,
    floating_ip_status,
    is_target_up,
    port_status,
)
from calico_openstack.neutron.status_metrics import StatusMetrics

LOG = log.getLogger(__name__)

# Ports in one round: many enough to be read together, few enough that news do not wait long.
_PORTS_IN_A_ROUND = 64
_RETRY_SECONDS = 5.0
# All ports are compared with their reports this often, for what no report announces: that
# Neutron itself changed a status, or that a write failed.
_REVIEW_SECONDS = 60.0


class StatusService:
    """The threads that report status, from `start` to `stop`; may be started again."""

    def __init__(self, settings: Settings, heartbeat_seconds: float) -> None:
        self._settings = settings
        self._heartbeat_seconds = heartbeat_seconds
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._book = ReportBook(settings.namespace)
        self._connected = False
        self._in_sync = False
        # Ports to look at, and when they were first put here.
        self._ports: dict[str, float] = {}
        self._retry: set[str] = set()
        self._metrics = StatusMetrics()
        self._client = EtcdClient(settings.etcd)
        region = settings.region_string
        prefixes = [felix_status_prefix(region), dhcp_status_prefix(region)]
        self._watch = SnapshotWatch(self._client, prefixes, self._batches.put)
        self._thread = threading.Thread(target=self._run, name="calico-status", daemon=True)

    def start(self) -> None:
        """Start the threads; call it in the process that they belong to."""
        try:
            self._metrics.serve(self._settings.metrics_host, self._settings.metrics_port)
        except OSError as error:
            LOG.error("No metrics are served: %s", error)
        self._watch.start()
        self._thread.start()

    def stop(self) -> None:
        """End the threads; what is being written is finished."""
        self._watch.stop()
        self._batches.put(None)

    def join(self) -> None:
        """Wait for the end of the threads."""
        self._thread.join()
        self._watch.join()
        self._client.close()

    def _run(self) -> None:
        timers = [
            _Timer(self._heartbeat_seconds, self._refresh_agents),
            _Timer(_REVIEW_SECONDS, self._review),
            _Timer(_RETRY_SECONDS, self._retry_failed),
        ]
        with ThreadPoolExecutor(self._settings.status_threads, "calico-port-status") as writers:
            while True:
                now = time.monotonic()
                wait = 0.0 if self._ports else min(timer.left(now) for timer in timers)
                if not self._take_in(wait):
                    return
                for timer in timers:
                    timer.run_if_due(time.monotonic())
                self._write_ports(writers)

    def _take_in(self, wait: float) -> bool:
        """Take in what has arrived, waiting ``wait`` seconds for the first; False to end."""
        try:
            batch = self._batches.get(timeout=wait) if wait > 0 else self._batches.get_nowait()
            while True:
                if batch is None:
                    return False
                self._apply(batch)
                batch = self._batches.get_nowait()
        except queue.Empty:
            return True

    def _apply(self, batch: Batch) -> None:
        first = batch.in_sync and not self._in_sync
        self._in_sync, self._connected = batch.in_sync, batch.connected
        changes = self._book.apply(batch.updates)
        for refused in changes.refused:
            LOG.warning("A status that is none is ignored: %s", refused)
        if not self._in_sync:
            return
        if first:
            self._refresh_agents()
            self._review()
            return
        self._look_at(changes.ports)
        self._register(changes.started)
        self._expire(changes.gone)

    # --- agents -------------------------------------------------------------------------------

    def _register(self, agents: Collection[Agent], *, started: bool = True) -> None:
        for agent in sorted(agents, key=str):
            _guarded(str(agent), _register_agent, agent, started)

    def _expire(self, agents: Collection[Agent]) -> None:
        if agents:
            LOG.warning("No more sign of life of %s", ", ".join(sorted(map(str, agents))))
            _guarded("expired agents", database.expire_agents, agents)

    def _refresh_agents(self) -> None:
        """Keep agents alive whose key exists; what etcd said last is worth nothing if it is old."""
        if not (self._connected and self._in_sync):
            return
        agents = self._book.agents
        self._metrics.hosts.set(sum(agent.kind is AgentKind.FELIX for agent in agents))
        self._metrics.dhcp_agents.set(sum(agent.kind is AgentKind.DHCP for agent in agents))

        def refresh() -> None:
            strangers = database.dead_or_unknown(agents)
            database.refresh_agents(agents - strangers)
            self._register(strangers, started=False)

        _guarded("agents", refresh)

    # --- ports --------------------------------------------------------------------------------

    def _review(self) -> None:
        """Compare all ports with their reports."""
        if not (self._connected and self._in_sync):
            return

        def review() -> None:
            ports = {port.id: port for port in database.port_states(None)}
            for port in ports.values():
                if port_status(port, self._book) or is_target_up(port, self._book):
                    self._look_at({port.id})
            for floating in database.floating_ips_of_ports(None):
                if self._floating_ip_status(floating, ports):
                    self._look_at({floating.port_id})

        hosts = {agent.host for agent in self._book.agents if agent.kind is AgentKind.FELIX}
        _guarded("segments", segments.map_hosts, hosts)
        _guarded("ports", review)

    def _retry_failed(self) -> None:
        self._look_at(self._retry)
        self._retry.clear()

    def _look_at(self, ports: Iterable[str]) -> None:
        now = time.monotonic()
        for port_id in ports:
            self._ports.setdefault(port_id, now)

    def _write_ports(self, writers: ThreadPoolExecutor) -> None:
        """Write the status of the ports that came first, and wait for that."""
        ids = list(self._ports)[:_PORTS_IN_A_ROUND]
        arrived = {port_id: self._ports.pop(port_id) for port_id in ids}
        self._metrics.waiting.set(len(self._ports))
        if not ids:
            return
        threads = self._settings.status_threads
        portions = [ids[start::threads] for start in range(threads)]
        for failed in writers.map(self._write_some, filter(None, portions)):
            self._retry.update(failed)
        now = time.monotonic()
        for port_id in arrived.keys() - self._retry:
            self._metrics.lag.observe(now - arrived[port_id])
        self._metrics.failures.set(len(self._retry))

    def _write_some(self, ids: list[str]) -> list[str]:
        """Write the status of some ports; return those that must be tried again."""
        failed: list[str] = []

        def write() -> None:
            ports = {port.id: port for port in database.port_states(ids)}
            for port in ports.values():
                status = port_status(port, self._book)
                plugged = is_target_up(port, self._book)
                if not _guarded(f"port {port.id}", _write, port, status, plugged):
                    failed.append(port.id)
            for floating in database.floating_ips_of_ports(ids):
                status = self._floating_ip_status(floating, ports)
                if status is not None:
                    subject = (floating.address, floating.port_id, status)
                    LOG.info("Floating IP %s of port %s is %s", *subject)
                    database.set_floating_ip_status(floating.id, status)

        return failed if _guarded("ports", write) else ids

    def _floating_ip_status(
        self, floating: database.FloatingIpState, ports: Mapping[str, PortState]
    ) -> str | None:
        port = ports.get(floating.port_id)
        return floating_ip_status(floating.status, floating.address, port, self._book)


def _write(port: PortState, status: str | None, target_is_up: bool) -> None:
    if target_is_up:
        LOG.info("Port %s is ready where it migrates to: %s", port.id, ", ".join(port.targets))
        target_plugged(port.id)
    if status is None:
        return
    LOG.info("Port %s is %s, says host %s", port.id, status, port.host)
    if status == ACTIVE:
        provisioned(port.id, migrating=bool(port.targets))
    else:
        database.set_port_status(port.id, status, port.host)


def _register_agent(agent: Agent, started: bool) -> None:
    """Make an agent alive, and bind the ports whose binding failed because Felix was not."""
    if agent.kind is not AgentKind.FELIX:
        database.register_agent(agent, started)
        return
    # Before it counts as alive: without this a port there may get no address.
    _guarded(f"segments of {agent}", segments.map_hosts, {agent.host})
    database.register_agent(agent, started)
    for port_id in database.ports_not_bound(agent.host):
        LOG.info("Binding port %s again, now that %s is alive", port_id, agent)
        _guarded(f"port {port_id}", database.bind_port, port_id)


def _guarded(subject: str, action: Callable[..., None], *arguments: object) -> bool:
    """Do something with the database; return whether that succeeded."""
    try:
        action(*arguments)
    except Exception:
        # Whatever goes wrong between here and the database concerns this subject only, and the
        # next review repeats it.
        LOG.exception("The status of %s is not in Neutron's database", subject)
        return False
    return True


class _Timer:
    """Something that is done at an interval; the first time after one interval."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action
        self._due = time.monotonic() + seconds

    def left(self, now: float) -> float:
        return max(0.0, self._due - now)

    def run_if_due(self, now: float) -> None:
        if now >= self._due:
            self._due = now + self._seconds
            self._action()
