"""The driver's own keys in etcd, which no agent reads.

One puts the driver's writes in one order (see `sync`); the other says that all of etcd was once
compared with the database, by whom, and in which life of etcd. Where it still holds, a start need
not compare again: what has changed since is in the journal.
"""

from __future__ import annotations

import hashlib

import msgspec

from calico_openstack import __version__
from calico_openstack.datamodel.comparison import DRIVER_PREFIX, LastComparison
from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.etcd import KeyValue, Status
from calico_openstack.neutron.options import Settings

# How often a clean cloud is told of anew: a sign of life of the comparisons (seconds).
_WORTH_TELLING = 3600.0


def order_path(region: str) -> str:
    """Return the key by whose revisions the driver's writes for a region are in one order."""
    return f"{DRIVER_PREFIX}{region}/order"


def comparison_path(region: str) -> str:
    """Return the key of the `Comparison` of a region."""
    return f"{DRIVER_PREFIX}{region}/comparison"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """That everything was compared.

    ``translation`` stands for what the values in etcd depend on besides the database.
    ``cluster_id`` and ``surplus`` say in which life of etcd it was: a restored backup begins a new
    log at an old revision, so that the number of log entries beyond revisions shrinks.
    """

    translation: str
    cluster_id: int
    surplus: int

    def encode(self) -> bytes:
        """Return the stored value."""
        return msgspec.json.encode(self)


def comparison(settings: Settings, status: Status) -> Comparison:
    """Return what a comparison by these settings, at this moment of etcd, would say."""
    shaping = (__version__, settings.limits, settings.project_names)
    return Comparison(
        translation=hashlib.sha256(repr(shaping).encode()).hexdigest()[:16],
        cluster_id=status.cluster_id,
        surplus=status.raft_applied_index - status.revision,
    )


def why_compare(stored: KeyValue | None, now: Comparison) -> str:
    """Return why everything must be compared, empty if that was done and still holds."""
    if stored is None:
        return "etcd was never compared with Neutron's database"
    try:
        earlier = msgspec.json.decode(stored.value, type=Comparison)
    except UNREADABLE:
        return "what the last comparison has left cannot be read"
    if earlier.translation != now.translation:
        return "the driver's version or settings have changed"
    if earlier.cluster_id != now.cluster_id or earlier.surplus > now.surplus:
        return "etcd was replaced or restored"
    return ""


def is_worth_telling(earlier: LastComparison | None, now: LastComparison) -> bool:
    """Tell whether the end of a comparison is to be written: seldom, while nothing ever differs."""
    if earlier is None or not (earlier.is_clean and now.is_clean):
        return True
    changed = (earlier.version, earlier.interval) != (now.version, now.interval)
    return changed or not 0 <= now.time - earlier.time < _WORTH_TELLING
