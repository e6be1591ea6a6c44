"""Runs resynchronisations: at start and at an interval."""

from __future__ import annotations

import random
import threading
import time

from oslo_log import log

from calico_openstack.etcd import EtcdClient
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.resync import Resync
from calico_openstack.neutron.sync import make_synchroniser

LOG = log.getLogger(__name__)

_RETRY_SECONDS = 5.0
# Several servers need not compare at the same moment.
_SPREAD = 0.1


class ResyncService:
    """A thread that resynchronises, from `start` to `stop`.

    What requests could not write is in the journal and needs no comparison. Its start makes one
    where etcd was never provided for, or if the operator wants one each time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        client = EtcdClient(settings.etcd)
        self._client = client
        self._resync = Resync(make_synchroniser(client, settings))
        self._stopping = threading.Event()
        self._condition = threading.Condition()
        now = time.monotonic()
        self._due: list[float] = [now]
        self._complete = settings.startup_resync == "always"
        self._thread = threading.Thread(target=self._run, name="calico-resync", daemon=True)

    def start(self) -> None:
        """Start the thread; call it in the process that it belongs to."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; the object that is being synchronised is finished."""
        self._stopping.set()
        with self._condition:
            self._condition.notify()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()
        self._client.close()

    def _schedule(self, seconds: float) -> None:
        with self._condition:
            self._due.append(time.monotonic() + seconds)
            self._condition.notify()

    def _run(self) -> None:
        if self._settings.resync_interval:
            self._schedule(self._interval())
        while self._wait():
            try:
                if self._complete or self._is_new():
                    report = self._resync.run(stopping=self._stopping.is_set)
                    if report.error is not None:
                        self._schedule(_RETRY_SECONDS)
                        continue
                else:
                    self._resync.provide_cluster()
                self._complete = True
            except Exception:
                # etcd failed; the next run begins anew, and until then nothing was made worse.
                LOG.exception("The resynchronisation failed, and is tried again")
                self._schedule(_RETRY_SECONDS)

    def _is_new(self) -> bool:
        """Tell whether etcd was never provided for, as when it is empty."""
        never = self._settings.startup_resync == "never"
        return not never and not self._resync.is_cluster_provided()

    def _interval(self) -> float:
        return self._settings.resync_interval * random.uniform(1 - _SPREAD, 1 + _SPREAD)

    def _wait(self) -> bool:
        """Wait until a resynchronisation is due; False when the service ends."""
        with self._condition:
            while not self._stopping.is_set():
                now = time.monotonic()
                if any(due <= now for due in self._due):
                    self._due = [due for due in self._due if due > now]
                    if self._settings.resync_interval and not self._due:
                        self._due.append(now + self._interval())
                    return True
                self._condition.wait(min(self._due) - now if self._due else None)
        return False
