"""Runs resynchronisations: at start and at an interval."""

from __future__ import annotations

import random
import time

from oslo_log import log

from calico_openstack.neutron.background import BackgroundService
from calico_openstack.neutron.markers import comparison, comparison_path, why_compare
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.resync import Resync
from calico_openstack.neutron.sync import make_synchroniser

LOG = log.getLogger(__name__)

_RETRY_SECONDS = 5.0
# Several servers need not compare at the same moment.
_SPREAD = 0.1


class ResyncService(BackgroundService):
    """Resynchronises at an interval, and at its start where that is needed.

    What requests could not write is in the journal and needs no comparison.
    """

    name = "calico-resync"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._resync = Resync(make_synchroniser(self.client, settings))
        self._marker = comparison_path(settings.region_string)

    def run(self) -> None:
        """Resynchronise when it is due."""
        compare = self.settings.startup_resync == "always"
        while not self.stopping.is_set():
            done = self._run_once(compare)
            compare = compare or done
            if done and not self.settings.resync_interval:
                self.stopping.wait()
            else:
                self.stopping.wait(self._interval() if done else _RETRY_SECONDS)

    def _run_once(self, compare: bool) -> bool:
        """Compare everything if need be; return whether nothing remains to be tried again."""
        try:
            if compare or self._must_compare():
                return self._compare()
            self._resync.provide_cluster()
        except Exception:
            # etcd failed; the next run begins anew, and until then nothing was made worse.
            LOG.exception("The resynchronisation failed, and is tried again")
            return False
        return True

    def _must_compare(self) -> bool:
        if self.settings.startup_resync == "never":
            return False
        now = comparison(self.settings, self.client.status())
        reason = why_compare(self.client.get(self._marker), now)
        if not reason and not self._resync.is_cluster_provided():
            reason = "etcd has lost what it was provided with"
        if reason:
            LOG.info("Everything is compared: %s", reason)
        return bool(reason)

    def _compare(self) -> bool:
        began = time.monotonic()
        before = comparison(self.settings, self.client.status())
        report = self._resync.run(stopping=self.stopping.is_set)
        if report.error is not None:
            return False
        if self.stopping.is_set() or report.contested:
            return True
        # Nothing is written where the last one's word still holds.
        if why_compare(self.client.get(self._marker), before):
            self.client.put(self._marker, before.encode())
            LOG.info("Everything was compared in %.1f s", time.monotonic() - began)
        return True

    def _interval(self) -> float:
        return self.settings.resync_interval * random.uniform(1 - _SPREAD, 1 + _SPREAD)
