"""Settles what requests have left in the journal."""

from __future__ import annotations

from oslo_log import log

from calico_openstack.neutron.background import BackgroundService
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.sync import make_synchroniser

LOG = log.getLogger(__name__)

_POLL_SECONDS = 2.0
_RETRY_SECONDS = 5.0
# A request may still be at work on what it recorded, as long as one operation of etcd may take
# and a little more. To settle it twice would do no harm but work.
_GRACE_SECONDS = 5.0


class JournalService(BackgroundService):
    """Settles old records.

    At its start it settles all of them: whoever wrote them may have been killed just now. Any
    number of these services may run.
    """

    name = "calico-journal"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._grace = settings.etcd.timeout + _GRACE_SECONDS
        synchroniser = make_synchroniser(self.client, settings)
        self._journal = Journal(lambda: synchroniser)

    def run(self) -> None:
        """Settle what is old enough, again and again."""
        min_age = 0.0
        while not self.stopping.is_set():
            settled = False
            try:
                settled = self._journal.settle_all(min_age, self.stopping.is_set)
            except Exception:
                # The database failed; the records wait in it.
                LOG.exception("The journal cannot be read, and is tried again")
            if settled:
                min_age = self._grace
            self.stopping.wait(_POLL_SECONDS if settled else _RETRY_SECONDS)
