"""The health of etcd itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from calico_openstack.calicoctl.doctor.findings import Finding, critical, warning
from calico_openstack.etcd.records import Status

# etcd's own recommendation for requests between members and disks; clients feel it from here on.
_SLOW: Final = 0.1  # seconds
_VERY_SLOW: Final = 1.0
# The default of --quota-backend-bytes, for members that do not tell theirs.
_QUOTA: Final = 2 << 30
_NEARLY_FULL: Final = 0.8
_SPARSE: Final = 0.5
_WORTH_DEFRAGMENTING: Final = 512 << 20
_LAGGING: Final = 5000


class Member(Struct, frozen=True):
    """What a member said about itself and how long it took, or why it said nothing."""

    endpoint: str
    status: Status | None = None
    seconds: float = 0.0
    error: str = ""


def judge(members: Sequence[Member]) -> Iterator[Finding]:
    """Yield what is wrong with the members of an etcd cluster."""
    answered = [each.status for each in members if each.status is not None]
    newest = max((each.raft_applied_index for each in answered), default=0)
    for member in members:
        subject = f"etcd {member.endpoint}"
        if member.status is None:
            lost = len(answered) * 2 <= len(members)
            tell = critical if lost else warning
            remedy = "see whether it runs there, and its log: journalctl -u etcd"
            yield tell(subject, f"does not answer ({member.error})", remedy)
            continue
        yield from _health(subject, member.status)
        yield from _space(subject, member.status)
        if member.seconds > _SLOW:
            tell = critical if member.seconds > _VERY_SLOW else warning
            remedy = "see the latency of its disk (etcd_disk_wal_fsync_duration_seconds) and load"
            yield tell(subject, f"answers after {member.seconds:.2f} s", remedy)
        if newest - member.status.raft_applied_index > _LAGGING:
            behind = newest - member.status.raft_applied_index
            remedy = "see its log and the network between the members"
            yield warning(subject, f"is {behind} entries behind the others", remedy)
    clusters = {each.cluster_id for each in answered}
    if len(clusters) > 1:
        remedy = "configure the endpoints of one cluster only, in every agent's file too"
        yield critical("etcd", f"the endpoints belong to {len(clusters)} clusters", remedy)
    versions = sorted({each.version for each in answered})
    if len(versions) > 1:
        yield warning("etcd", f"members run {', '.join(versions)}", "finish the upgrade")


def _health(subject: str, status: Status) -> Iterator[Finding]:
    if not status.leader:
        remedy = "see whether a majority of the members runs: etcdctl endpoint health --cluster"
        yield critical(subject, "sees no leader: nothing can be written", remedy)
    for error in status.errors:
        if "NOSPACE" in error:
            remedy = "etcdctl compact and etcdctl defrag, then etcdctl alarm disarm"
            yield critical(subject, "is out of space and refuses writes", remedy)
        elif "CORRUPT" in error:
            remedy = "restore this member from the others (etcd's disaster recovery guide)"
            yield critical(subject, "has found its data corrupt", remedy)
        else:
            yield warning(subject, f"reports: {error}", "see etcd's log")


def _space(subject: str, status: Status) -> Iterator[Finding]:
    quota = status.db_size_quota or _QUOTA
    used = status.db_size / quota
    assumed = "" if status.db_size_quota else " (the default, as it does not tell its own)"
    size = f"{status.db_size >> 20} MiB of {quota >> 20} MiB{assumed}"
    if used > _NEARLY_FULL:
        remedy = "etcdctl compact and etcdctl defrag, or a larger --quota-backend-bytes"
        yield warning(subject, f"its database is nearly full: {size}", remedy)
    in_use = status.db_size_in_use
    if in_use and status.db_size > _WORTH_DEFRAGMENTING and in_use < status.db_size * _SPARSE:
        remedy = "etcdctl defrag, one member after the other"
        text = f"uses {in_use >> 20} MiB of the {status.db_size >> 20} MiB that it occupies"
        yield warning(subject, text, remedy)
