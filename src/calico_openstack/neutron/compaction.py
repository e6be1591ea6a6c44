"""Lets etcd forget old revisions, by the scheme and with the keys of upstream's driver.

The keys are shared by all regions and all servers. One of them is there for one period and
keeps everybody from compacting; the other holds the revision of the latest compaction, and was
itself written when history was last looked at: what was new then is kept for another period, so
that a watch that was away for a while can resume.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from oslo_log import log

from calico_openstack.etcd import EtcdClient, EtcdError
from calico_openstack.neutron.background import BackgroundService

LOG = log.getLogger(__name__)

TRIGGER = "/calico/compaction/v1/trigger"
LAST = "/calico/compaction/v1/last"

_POLL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class History:
    """What etcd says: revisions, and the state of the trigger.

    ``last`` is None where nobody has compacted yet; ``checked`` is the revision at which that
    was written.
    """

    current: int
    is_triggered: bool = False
    is_leased: bool = False
    last: int | None = None
    checked: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write as the latest compaction, and the revision at which to compact, if any."""

    last: int
    compact_at: int | None = None


def plan(history: History, min_revisions: int) -> Plan | None:
    """Return what to do, None while it is not time."""
    if history.is_triggered:
        # Without a lease the trigger would be there for ever.
        return None if history.is_leased else Plan(0)
    if history.last is None or history.last > history.current:
        return Plan(0)
    keep = max(min_revisions, history.current - history.checked)
    target = history.current - keep
    if target <= history.last:
        return Plan(history.last)
    return Plan(target, target)


class CompactionService(BackgroundService):
    """Compacts etcd once in a period."""

    name = "calico-compaction"

    def run(self) -> None:
        """Compact when it is time."""
        settings = self.settings
        while settings.compaction_period and not self.stopping.is_set():
            try:
                compact(self.client, settings.compaction_period, settings.compaction_min_revisions)
            except EtcdError as error:
                LOG.warning("etcd's history is not looked at for now: %s", error)
            self.stopping.wait(_POLL_SECONDS)


def compact(client: EtcdClient, period: int, min_revisions: int) -> None:
    """Compact etcd if it is time; ``period`` is in seconds. Raises `EtcdError`."""
    what = plan(_history(client), min_revisions)
    if what is None:
        return
    last = what.last
    if what.compact_at is not None:
        try:
            client.compact(what.compact_at)
            LOG.info("etcd has forgotten what was before revision %d", what.compact_at)
        except EtcdError as error:
            LOG.info("etcd refuses to compact at %d: %s", what.compact_at, error)
            last = client.status().revision
    client.put(LAST, str(last).encode())
    client.put(TRIGGER, str(os.getpid()).encode(), client.lease_grant(period))


def _history(client: EtcdClient) -> History:
    trigger, last = client.get(TRIGGER), client.get(LAST)
    number = last.value.decode(errors="replace") if last else ""
    return History(
        current=client.status().revision,
        is_triggered=trigger is not None,
        is_leased=trigger is not None and trigger.lease != 0,
        last=int(number) if number.isdecimal() and number.isascii() else None,
        checked=last.mod_revision if last else 0,
    )
