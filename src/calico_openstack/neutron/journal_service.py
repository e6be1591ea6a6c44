"""Settles what requests have left in the journal."""

from __future__ import annotations

import threading

from oslo_log import log

from calico_openstack.etcd import EtcdClient
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.sync import make_synchroniser

LOG = log.getLogger(__name__)

_POLL_SECONDS = 2.0
_RETRY_SECONDS = 5.0
# A request may still be at work on what it recorded, as long as one operation of etcd may take
# and a little more. To settle it twice would do no harm but work.
_GRACE_SECONDS = 5.0


class JournalService:
    """A thread that settles old records, from `start` to `stop`.

    At its start it settles all of them: whoever wrote them may have been killed just now. Any
    number of these services may run.
    """

    def __init__(self, settings: Settings) -> None:
        self._grace = settings.etcd.timeout + _GRACE_SECONDS
        self._client = EtcdClient(settings.etcd)
        synchroniser = make_synchroniser(self._client, settings)
        self._journal = Journal(lambda: synchroniser)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="calico-journal", daemon=True)

    def start(self) -> None:
        """Start the thread; call it in the process that it belongs to."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; what is being written is finished."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        min_age = 0.0
        while not self._stopping.is_set():
            settled = False
            try:
                settled = self._journal.settle_all(min_age, self._stopping.is_set)
            except Exception:
                # The database failed; the records wait in it.
                LOG.exception("The journal cannot be read, and is tried again")
            if settled:
                min_age = self._grace
            self._stopping.wait(_POLL_SECONDS if settled else _RETRY_SECONDS)
