"""Runs resynchronisations: at start and at an interval."""

from __future__ import annotations

import random
import time

from oslo_log import log

from calico_openstack.datamodel.comparison import decode_last_comparison, last_comparison_path
from calico_openstack.neutron.background import BackgroundService
from calico_openstack.neutron.markers import (
    comparison,
    comparison_path,
    is_worth_telling,
    why_compare,
)
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.resync import Resync
from calico_openstack.neutron.resync_report import Report
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
        self._told = last_comparison_path(settings.region_string)

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
            reason = "" if compare else self._must_compare()
            if compare or reason:
                return self._compare(reason)
            self._resync.provide_cluster()
        except Exception:
            # etcd failed; the next run begins anew, and until then nothing was made worse.
            LOG.exception("The resynchronisation failed, and is tried again")
            return False
        return True

    def _must_compare(self) -> str:
        """Return why everything must be compared, "" if it need not be."""
        if self.settings.startup_resync == "never":
            return ""
        now = comparison(self.settings, self.client.status())
        reason = why_compare(self.client.get(self._marker), now)
        if not reason and not self._resync.is_cluster_provided():
            reason = "etcd has lost what it was provided with"
        if reason:
            LOG.info("Everything is compared: %s", reason)
        return reason

    def _compare(self, reason: str) -> bool:
        began = time.monotonic()
        before = comparison(self.settings, self.client.status())
        report = self._resync.run(stopping=self.stopping.is_set)
        if not self.stopping.is_set():
            self._tell(report, reason)
        if report.error is not None:
            return False
        if self.stopping.is_set() or report.contested:
            return True
        # Nothing is written where the last one's word still holds.
        if why_compare(self.client.get(self._marker), before):
            self.client.put(self._marker, before.encode())
            LOG.info("Everything was compared in %.1f s", time.monotonic() - began)
        return True

    def _tell(self, report: Report, reason: str) -> None:
        """Leave a word for operators: what differed, or that nothing does."""
        now = report.summary(self.settings.resync_interval, reason)
        stored = self.client.get(self._told)
        if is_worth_telling(decode_last_comparison(stored.value) if stored else None, now):
            self.client.put(self._told, now.encode())

    def _interval(self) -> float:
        return self.settings.resync_interval * random.uniform(1 - _SPREAD, 1 + _SPREAD)
