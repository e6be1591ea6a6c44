"""The status of this host and its endpoints in etcd, written by a thread of its own."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from calico_openstack.agent.backoff import Backoff
from calico_openstack.datamodel.keys import (
    EndpointStatusKey,
    FelixStatusKey,
    LastReportedStatusKey,
    ResourceKey,
    endpoint_status_prefix,
    host_endpoint_status_prefix,
    parse_key,
    parse_workload_endpoint_name,
)
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.etcd import Delete, EtcdClient, EtcdError, Put
from calico_openstack.felix.status_queue import Change, StatusQueue

_log = logging.getLogger(__name__)

# etcd takes 128 operations a transaction unless told otherwise (--max-txn-ops).
_BATCH = 100
_RESYNC_DELAYS = 180
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class ReportingSettings(Struct, frozen=True):
    """What to report and how often; seconds.

    With an *interval* of 0 the host reports no sign of life. *delay* scales the period of the
    comparison of the endpoints' keys with what etcd holds.
    """

    region: str
    host: str
    interval: float = 30.0
    ttl: float = 90.0
    endpoints: bool = True
    delay: float = 1.0


def status_key(region: str, host: str, endpoint: ResourceKey) -> str | None:
    """Return the key of a workload endpoint's status, None if its name is no proper one."""
    parts = parse_workload_endpoint_name(endpoint.name)
    if parts is None:
        return None
    _, orchestrator, workload, name = parts
    workload_id = f"{endpoint.namespace}/{workload}"
    return EndpointStatusKey(region, host, orchestrator, workload_id, name).path


class StatusReporter:
    """Writes signs of life and endpoint statuses.

    Nothing is written before `begin`, which tells that the dataplane is programmed for the first
    time; what an earlier life wrote and is still right is not written again. *alive* is asked
    before every sign of life: a host whose main loop is stuck must not look healthy.
    """

    def __init__(
        self,
        client: EtcdClient,
        settings: ReportingSettings,
        alive: Callable[[], bool],
        *,
        started_at: float,
    ) -> None:
        self._client = client
        self._settings = settings
        self._alive = alive
        self._started_at = started_at
        self._condition = threading.Condition()
        self._queue = StatusQueue()
        self._begun = False
        self._stopping = False
        self._first_update = True
        self._next_life_sign = 0.0
        self._next_resync = 0.0
        self._not_before = 0.0
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self.failures = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin(self, statuses: Mapping[str, EndpointStatus]) -> None:
        """Begin to report, with the statuses of all endpoints (by key in etcd)."""
        with self._condition:
            for key, status in statuses.items():
                self._queue.want(key, _encoded(status))
            self._begun = True
            self._condition.notify()

    def update(self, changes: Mapping[str, EndpointStatus | None]) -> None:
        """Take up changed statuses; None: the endpoint is gone."""
        with self._condition:
            for key, status in changes.items():
                self._queue.want(key, None if status is None else _encoded(status))
            self._condition.notify()

    @property
    def pending(self) -> int:
        """How many writes are left to do."""
        with self._condition:
            return len(self._queue)

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread; what is not written yet is left to the next life."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join(timeout)

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._stopping and (pause := self._pause(time.monotonic())) > 0:
                    self._condition.wait(pause)
                if self._stopping:
                    return
            try:
                self._step(time.monotonic())
            except EtcdError as error:
                self.failures += 1
                pause = self._backoff.next_pause()
                self._not_before = time.monotonic() + pause
                _log.warning("Could not report status, trying again in %.1f s: %s", pause, error)
            else:
                self._backoff.reset()

    def _pause(self, now: float) -> float:
        """Return how long there is nothing to do, in seconds."""
        if not self._begun:
            return 3600.0
        due = [3600.0 + now]
        if self._settings.interval:
            due.append(self._next_life_sign)
        if self._settings.endpoints:
            due.append(self._next_resync)
            if len(self._queue):
                due.append(now)
        return max(min(due), self._not_before) - now

    def _step(self, now: float) -> None:
        settings = self._settings
        if settings.interval and now >= self._next_life_sign:
            self._report_life()
            self._next_life_sign = now + settings.interval
        if settings.endpoints:
            if now >= self._next_resync:
                self._resync()
                self._next_resync = now + _RESYNC_DELAYS * max(settings.delay, 1.0)
            self._write_endpoints()

    def _report_life(self) -> None:
        if not self._alive():
            _log.error("Not reporting this host as alive: the main loop makes no progress")
            return
        region, host = self._settings.region, self._settings.host
        moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        uptime = round(time.monotonic() - self._started_at, 3)
        status = AgentStatus(time=moment, uptime=uptime, first_update=self._first_update)
        value = status.encode()
        lease = self._client.lease_grant(max(1, round(self._settings.ttl)))
        self._client.txn(
            [],
            [
                Put(FelixStatusKey(region, host).path, value, lease),
                Put(LastReportedStatusKey(region, host).path, value),
            ],
        )
        self._first_update = False

    def _resync(self) -> None:
        """Compare all keys of this host with what they should be."""
        region, host = self._settings.region, self._settings.host
        found = {}
        for prefix in (endpoint_status_prefix(region, host), host_endpoint_status_prefix(host)):
            for kv in self._client.get_prefix(prefix).kvs:
                # Something unreadable is wrong in any case, and is corrected or removed.
                found[kv.key] = kv.value.decode("utf-8", "replace")
        with self._condition:
            wanted = self._queue.wanted
            self._queue.resync(
                {
                    key: value
                    for key, value in found.items()
                    if key in wanted or parse_key(key) is not None
                }
            )

    def _write_endpoints(self) -> None:
        while True:
            with self._condition:
                batch = self._queue.next_batch(_BATCH)
            if not batch or self._stopping:
                return
            self._client.txn([], [_operation(change) for change in batch])
            with self._condition:
                self._queue.written(batch)


def _encoded(status: EndpointStatus) -> str:
    return status.encode().decode()


def _operation(change: Change) -> Put | Delete:
    key, value = change
    return Delete(key) if value is None else Put(key, value.encode())
