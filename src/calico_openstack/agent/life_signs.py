"""An agent's sign of life in etcd, written by a thread of its own; it expires without successor."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from calico_openstack.agent.backoff import Backoff
from calico_openstack.datamodel.status import AgentStatus
from calico_openstack.etcd import EtcdClient, EtcdError

_log = logging.getLogger(__name__)

# As Felix does by default (ReportingIntervalSecs, ReportingTTLSecs): two in a row may fail.
INTERVAL: Final = 30.0
TIME_TO_LIVE: Final = 90
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class LifeSigns:
    """Writes signs of life under *key*, from `start` to `stop`.

    *alive* is asked before each: an agent whose main loop is stuck must not look healthy.
    """

    def __init__(
        self,
        client: EtcdClient,
        key: str,
        alive: Callable[[], bool],
        *,
        interval: float = INTERVAL,
        time_to_live: int = TIME_TO_LIVE,
    ) -> None:
        self._client = client
        self._key = key
        self._alive = alive
        self._interval = interval
        self._time_to_live = time_to_live
        self._began = time.monotonic()
        self._first = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="life-signs", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for, since etcd may keep it."""
        self._stopping.set()

    def _run(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while not self._stopping.is_set():
            pause = self._interval
            try:
                self._write()
                backoff.reset()
            except EtcdError as error:
                pause = backoff.next_pause()
                _log.warning("Cannot say that this agent is alive: %s", error)
            self._stopping.wait(pause)

    def _write(self) -> None:
        if not self._alive():
            _log.error("Not reporting this agent as alive: the main loop makes no progress")
            return
        status = AgentStatus(
            time=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            uptime=round(time.monotonic() - self._began, 3),
            first_update=self._first,
        )
        lease = self._client.lease_grant(self._time_to_live)
        self._client.put(self._key, status.encode(), lease)
        self._first = False
