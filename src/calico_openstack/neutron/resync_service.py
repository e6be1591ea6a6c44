"""Runs resynchronisations: at start, at an interval, and when etcd has come back."""

from __future__ import annotations

import random
import threading
import time

from oslo_log import log

from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.etcd import Batch, EtcdClient, SnapshotWatch
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.resync import Resync
from calico_openstack.neutron.sync import Synchroniser

LOG = log.getLogger(__name__)

_RETRY_SECONDS = 5.0
# Several servers need not compare at the same moment.
_SPREAD = 0.1


class ResyncService:
    """A thread that resynchronises, from `start` to `stop`.

    It watches a few keys in order to notice that etcd was away: requests that failed in the
    meantime wrote nothing. Some may fail a little later than etcd comes back, hence another
    resynchronisation follows after the time that a request may take.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        client = EtcdClient(settings.etcd)
        self._client = client
        self._resync = Resync(Synchroniser(client, settings.namespace, settings.region_string))
        self._watch = SnapshotWatch(client, [prefix_of("ClusterInformation")], self._noticed)
        self._was_away = False
        self._stopping = threading.Event()
        self._condition = threading.Condition()
        now = time.monotonic()
        self._due: list[float] = [now] if settings.resync_at_start else []
        self._thread = threading.Thread(target=self._run, name="calico-resync", daemon=True)

    def start(self) -> None:
        """Start the threads; call it in the process that they belong to."""
        self._watch.start()
        self._thread.start()

    def stop(self) -> None:
        """Ask the threads to end; the object that is being synchronised is finished."""
        self._stopping.set()
        self._watch.stop()
        with self._condition:
            self._condition.notify()

    def join(self) -> None:
        """Wait for the end of the threads."""
        self._thread.join()
        self._watch.join()
        self._client.close()

    def _noticed(self, batch: Batch) -> None:
        if not batch.connected:
            self._was_away = True
        elif self._was_away:
            self._was_away = False
            LOG.info("etcd is back: what was missed is written now")
            self._schedule(0.0)
            self._schedule(self._settings.etcd.timeout + 1.0)

    def _schedule(self, seconds: float) -> None:
        with self._condition:
            self._due.append(time.monotonic() + seconds)
            self._condition.notify()

    def _run(self) -> None:
        if self._settings.resync_interval:
            self._schedule(self._interval())
        while self._wait():
            try:
                self._resync.run(self._stopping.is_set)
            except Exception:
                # etcd or the database failed, or an object was too strange to be compared; the
                # next run begins anew, and until then nothing was made worse.
                LOG.exception("The resynchronisation failed, and is tried again")
                self._schedule(_RETRY_SECONDS)

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
